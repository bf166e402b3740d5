"""What every controller owes the engine: under random traffic and random trouble."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.engine.admission import Admission
from sedp.engine.events import (
    AnyStimulus,
    Arrived,
    BatchFinished,
    Cancelled,
    Finish,
    Outcome,
    PlanChanged,
    RunBatch,
)
from sedp.engine.graph import StagePlan
from sedp.engine.scheduler import Scheduler
from sedp.manager.admission.registry import ADMISSIONS, make_admission
from tests.manager.admission.overload import MS, SECOND, TARGET
from tests.simulator.plain_graph import chain

NAMES = sorted(set(ADMISSIONS) - {"counters"})
LEVELS = 3

ARRIVALS = st.tuples(
    st.just("arrive"),
    st.integers(1, 500),
    st.integers(-MS, 2 * TARGET),
    st.tuples(st.integers(1, LEVELS), st.integers(0, 127), st.integers(0, 5)),
)
STEPS = st.one_of(
    ARRIVALS,
    ARRIVALS,
    st.tuples(st.just("end"), st.booleans()),
    st.tuples(st.just("leave"), st.integers(0, 200)),
    st.tuples(st.just("plan"), st.integers(0, 2), st.integers(1, 4)),
    st.tuples(st.just("ask")),
    st.tuples(st.just("wait"), st.integers(0, SECOND)),
)


class Play:
    """A scheduler and its driver in one; runs end when the play says so."""

    def __init__(self, admission: Admission) -> None:
        self.scheduler = Scheduler(chain(3, StagePlan(2, 300, 0, 2000)), [admission])
        self.outcomes: dict[int, Outcome] = {}
        self._runs: list[int] = []
        self._now_ns = 0
        self._events = 0

    def step(self, step: tuple) -> None:
        self._now_ns += MS // 10
        match step:
            case ("arrive", rows, left_ns, (level, user, tenant)):
                self._arrive(rows, left_ns, level, user, tenant)
            case ("end", failed) if self._runs:
                self._feed(BatchFinished(self._runs.pop(0), failed))
            case ("leave", event):
                self._feed(Cancelled(event))
            case ("plan", stage, concurrency):
                self._feed(PlanChanged(stage, StagePlan(concurrency, 300, 0, 2000)))
            case ("ask",):
                self.scheduler.refuse(self._now_ns, 0)
            case ("wait", wait_ns):
                self._now_ns += wait_ns

    def empty(self) -> None:
        while self._runs:
            self.step(("end", False))

    def arrive_alone(self) -> Outcome | None:
        """How an event ends that comes to an idle pipeline, a millisecond a run."""
        event = self._events
        self._now_ns += 100 * MS
        self._arrive(10, TARGET, 1, 0, 0)
        while self._runs:
            self._now_ns += MS
            self.step(("end", False))
        return self.outcomes.get(event)

    def _arrive(self, rows: int, left_ns: int, level: int, user: int, tenant: int) -> None:
        self._events += 1
        self._feed(
            Arrived(
                self._events - 1,
                0,
                rows,
                due_ns=self._now_ns + left_ns,
                level=level,
                user=user,
                tenant=tenant,
            )
        )

    def _feed(self, stimulus: AnyStimulus) -> None:
        for command in self.scheduler.handle(self._now_ns, stimulus):
            match command:
                case RunBatch():
                    self._runs.append(command.batch)
                case Finish():
                    for event in command.events:
                        assert event not in self.outcomes
                        self.outcomes[event] = command.outcome


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=30, deadline=None)
@given(steps=st.lists(STEPS, max_size=150))
def test_whatever_happens_nothing_is_raised_and_an_idle_door_opens(
    name: str, steps: list[tuple]
) -> None:
    admission = make_admission(name, TARGET, LEVELS)
    assert admission is not None
    play = Play(admission)
    for step in steps:
        play.step(step)
        state = play.scheduler._flow.pipelines[0]
        assert admission.pressure(play._now_ns, state) >= 0
        assert admission.wait_limit_ns(play._now_ns, 0) >= 0
    play.empty()
    assert play.scheduler.in_flight == 0
    assert admission.pressure(play._now_ns, play.scheduler._flow.pipelines[0]) == 0
    ends = [play.arrive_alone() for _ in range(400)]
    assert Outcome.ANSWERED in ends
    assert set(ends) <= {Outcome.ANSWERED, Outcome.SHED}


@pytest.mark.parametrize("name", NAMES)
def test_memory_is_bounded_by_what_is_inside(name: str) -> None:
    admission = make_admission(name, TARGET, LEVELS)
    assert admission is not None
    play = Play(admission)

    def live_through(rounds: int) -> int:
        for number in range(rounds):
            for _ in range(3):
                play._arrive(100, TARGET, 1 + number % 3, number % 128, number)
            play.step(("end", False))
            play.step(("end", False))
        play.empty()
        play.outcomes.clear()
        return _total_bytes(admission)

    before = live_through(1000)
    assert live_through(3000) <= 1.5 * before + 4096


def _total_bytes(thing: object, seen: set[int] | None = None) -> int:
    """Of an object and all it holds, short of the engine's own state."""
    seen = set() if seen is None else seen
    if id(thing) in seen or type(thing).__module__.startswith("sedp.engine"):
        return 0
    seen.add(id(thing))
    inside: list[object] = []
    if isinstance(thing, dict):
        inside = [*thing.keys(), *thing.values()]
    elif isinstance(thing, (list, tuple, set, frozenset)):
        inside = list(thing)
    slots = getattr(type(thing), "__slots__", ())
    inside += [getattr(thing, name) for name in slots if hasattr(thing, name)]
    inside += list(getattr(thing, "__dict__", {}).values())
    return sys.getsizeof(thing) + sum(_total_bytes(each, seen) for each in inside)
