"""When requests count from: an idle loop's from when they are read, a busy loop's from earlier."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sedp.daemon.http import turn_clock
from sedp.daemon.http.turn_clock import UNSEEN_TURNS, TurnClock

BUSY_NS = 3_000


class FakeLoop:
    """Time passes when told to; what is called soon is called in the next turn."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000
        self.calls: list[Callable[[], object]] = []

    def call_soon(self, call: Callable[[], object]) -> None:
        self.calls.append(call)

    def monotonic_ns(self) -> int:
        return self.now_ns

    def turn(self) -> None:
        """One turn without reading sockets."""
        due, self.calls = self.calls, []
        for call in due:
            call()


class FakeTime:
    """In the place of the module."""

    def __init__(self, loop: FakeLoop) -> None:
        self.monotonic_ns = loop.monotonic_ns


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> FakeLoop:
    made = FakeLoop()
    monkeypatch.setattr(turn_clock, "time", FakeTime(made))
    monkeypatch.setattr(turn_clock.asyncio, "get_running_loop", lambda: made)
    return made


@pytest.fixture
def clock() -> TurnClock:
    made = TurnClock()
    made.is_on = True
    return made


def read(loop: FakeLoop, clock: TurnClock, requests: int, each_ns: int) -> list[int]:
    """The sockets' part of a turn: when its requests count from."""
    found = []
    for _ in range(requests):
        found.append(clock.arrival_ns())
        loop.now_ns += each_ns
    return found


def busy_turn(loop: FakeLoop, clock: TurnClock, work_ns: int) -> list[int]:
    """A turn as asyncio has it: what was called soon before goes first, then sockets, then work."""
    loop.turn()
    found = read(loop, clock, 2, 500)
    loop.now_ns += work_ns
    return found


def test_while_off_requests_count_from_when_they_are_read(loop: FakeLoop) -> None:
    clock = TurnClock()
    for _ in range(3):
        assert read(loop, clock, 2, 500) == [loop.now_ns - 1_000, loop.now_ns - 500]
        loop.now_ns += BUSY_NS
        loop.turn()
    assert not loop.calls  # and turns cost nothing


def test_first_requests_of_an_idle_loop_count_from_when_they_are_read(
    loop: FakeLoop, clock: TurnClock
) -> None:
    assert clock.arrival_ns() == loop.now_ns


def test_requests_of_one_turn_count_from_the_same_moment(loop: FakeLoop, clock: TurnClock) -> None:
    start_ns = loop.now_ns
    assert read(loop, clock, 3, 500) == [start_ns] * 3


def test_on_a_busy_loop_requests_count_from_two_turns_earlier(
    loop: FakeLoop, clock: TurnClock
) -> None:
    busy_turn(loop, clock, BUSY_NS - 1_000)
    for _ in range(3):
        loop.turn()  # reading is over; what it set off follows in the next turn
        start_ns = loop.now_ns
        found = read(loop, clock, 2, 500)
        assert found == [start_ns - UNSEEN_TURNS * BUSY_NS] * 2
        loop.now_ns += BUSY_NS - 1_000


def test_the_longer_the_turn_before_the_earlier_requests_count_from(
    loop: FakeLoop, clock: TurnClock
) -> None:
    for before_ns, work_ns in ((0, 9_000), (10_000, 0), (1_000, 4_000), (5_000, 0)):
        loop.turn()
        assert clock.arrival_ns() == loop.now_ns - UNSEEN_TURNS * before_ns
        loop.now_ns += 1_000 + work_ns


def test_time_that_the_loop_waits_is_not_counted_as_busy(loop: FakeLoop, clock: TurnClock) -> None:
    read(loop, clock, 1, 500)
    loop.turn()  # reading is over
    loop.now_ns += 1_500  # its answers are made
    loop.turn()
    loop.now_ns += 1_000_000_000  # nothing comes
    assert clock.arrival_ns() == loop.now_ns - UNSEEN_TURNS * 2_000


def test_a_long_turn_is_forgotten_after_a_short_one(loop: FakeLoop, clock: TurnClock) -> None:
    for work_ns in (50_000_000, 1_000):
        clock.arrival_ns()
        loop.now_ns += work_ns
        loop.turn()
        loop.turn()
        loop.now_ns += 1_000_000
    assert clock.arrival_ns() == loop.now_ns - UNSEEN_TURNS * 1_000


def test_switching_it_off_and_on_leaves_no_turn_open(loop: FakeLoop, clock: TurnClock) -> None:
    clock.arrival_ns()
    clock.is_on = False
    loop.now_ns += 2_000
    assert clock.arrival_ns() == loop.now_ns
    loop.turn()
    loop.turn()
    clock.is_on = True
    loop.now_ns += 1_000_000
    assert clock.arrival_ns() == loop.now_ns - UNSEEN_TURNS * 2_000
    loop.turn()
    loop.turn()
    assert not loop.calls


@pytest.mark.parametrize(
    ("place", "fault", "seen_by"),
    [
        ("TurnClock._end", lambda self: None, test_time_that_the_loop_waits_is_not_counted_as_busy),
        ("TurnClock._end", lambda self: None, test_a_long_turn_is_forgotten_after_a_short_one),
        (
            "TurnClock._stop_reading",
            lambda self: None,
            test_on_a_busy_loop_requests_count_from_two_turns_earlier,
        ),
        ("UNSEEN_TURNS", 1, test_on_a_busy_loop_requests_count_from_two_turns_earlier),
    ],
)
def test_planted_faults_are_seen(
    loop: FakeLoop,
    clock: TurnClock,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    fault: object,
    seen_by: Callable[[FakeLoop, TurnClock], None],
) -> None:
    monkeypatch.setattr(f"{turn_clock.__name__}.{place}", fault)
    with pytest.raises(AssertionError):
        seen_by(loop, clock)
