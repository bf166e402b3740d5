"""The search for the SLO goodput, on servers that are formulas and machines that stall."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.slo import LIMIT_S, Search, find_goodputs, keeps_limit

STEPS = 12
CLOSED = 1_000.0  # the greatest rate of everybody's closed loop
STALL_S = 0.04


class Server:
    """A queue that is served at `capacity`; every step may be hit by a stall of the machine.

    Args:
        stalls: whether the n-th step of all is hit.
    """

    def __init__(self, capacity: float, stalls: NDArray[np.bool_] | None = None) -> None:
        self._gap_s = 1 / capacity
        self._stalls = stalls
        self.asked: list[tuple[float, float]] = []

    def offer(self, rate: float, seconds: float) -> NDArray[np.float64]:
        """Requests at even gaps: each is served after the one before it, and after the stall."""
        number = len(self.asked)
        self.asked.append((rate, seconds))
        due_s = np.arange(int(rate * seconds)) / rate
        stalled = self._stalls is not None and bool(self._stalls[number % len(self._stalls)])
        free_s = np.where(due_s >= seconds / 2, seconds / 2 + STALL_S, 0.0) if stalled else 0.0
        ready_s = np.maximum(due_s, free_s)
        places = np.arange(len(due_s))
        # The n-th ends when it, and all that had to wait before it, have been served in a row.
        ended_s = np.maximum.accumulate(ready_s - places * self._gap_s) + (places + 1) * self._gap_s
        latencies: NDArray[np.float64] = ended_s - due_s
        return latencies


def search_of(server: Server) -> Search:
    return Search.below(CLOSED, server.offer)


def test_it_finds_each_servers_own_rate() -> None:
    found = find_goodputs([search_of(Server(613.0)), search_of(Server(890.0))], STEPS, 1.0)
    assert found == pytest.approx([613.0, 890.0], rel=0.04)


def test_a_server_that_can_do_all_has_the_greatest_rate() -> None:
    [found] = find_goodputs([search_of(Server(5 * CLOSED))], STEPS, 1.0)
    assert found == pytest.approx(CLOSED, rel=0.02)


def test_a_stall_alone_breaks_the_limit_of_a_step() -> None:
    """Else nothing below would be shown."""
    stalled = Server(900.0, np.ones(1, np.bool_))
    assert keeps_limit(Server(900.0).offer(600.0, 1.0))
    assert not keeps_limit(stalled.offer(600.0, 1.0))


@pytest.mark.parametrize("hit", range(STEPS))
def test_one_stall_at_any_step_changes_nothing(hit: int) -> None:
    stalls = np.arange(100) == hit
    [found] = find_goodputs([search_of(Server(890.0, stalls))], STEPS, 1.0)
    assert found == pytest.approx(890.0, rel=0.04)


def test_stalls_in_every_seventh_step_do_not_send_it_down_for_good() -> None:
    misses = []
    for seed in range(40):
        dice = np.random.default_rng(seed)
        capacity = dice.uniform(400, 950)
        stalls = dice.random(100) < 1 / 7
        [found] = find_goodputs([search_of(Server(capacity, stalls))], STEPS, 1.0)
        assert found <= 1.04 * capacity
        misses.append(found < 0.9 * capacity)
    assert np.mean(misses) <= 0.05


def test_every_server_is_asked_as_often_and_as_long_as_the_others() -> None:
    slow, fast = Server(300.0, np.arange(7) == 3), Server(990.0)
    searches = [search_of(slow), search_of(fast)]
    for _ in range(STEPS):
        for search in searches:
            search.step(1.5)
    assert [seconds for _, seconds in slow.asked] == [seconds for _, seconds in fast.asked]


def test_a_rate_that_holds_only_for_a_while_is_lowered() -> None:
    def offer(rate: float, seconds: float) -> NDArray[np.float64]:
        holds = rate <= (700.0 if seconds < 2 else 600.0)
        return np.full(100, 0.0 if holds else np.inf)

    [found] = find_goodputs([Search.below(CLOSED, offer)], STEPS, 1.0)
    assert 0.9 * 600 < found <= 600


def test_one_stall_while_it_is_confirmed_lowers_nothing() -> None:
    free, hit = Server(700.0), Server(700.0, np.arange(100) == STEPS)
    found = find_goodputs([search_of(free), search_of(hit)], STEPS, 1.0)
    assert found[0] == found[1]


def test_a_server_that_never_keeps_the_limit_has_none() -> None:
    def offer(rate: float, seconds: float) -> NDArray[np.float64]:
        return np.full(100, 2 * LIMIT_S)

    assert find_goodputs([Search.below(CLOSED, offer)], 4, 1.0) == [0.0]


def test_one_lost_answer_in_fifty_breaks_the_limit() -> None:
    latencies = np.zeros(100)
    latencies[0] = np.inf
    assert keeps_limit(latencies)
    latencies[1] = np.inf
    assert not keeps_limit(latencies)
