"""Processor sharing against a model that moves every run, at every end, by exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.engine.events import NEVER_NS, AnyStimulus, BatchFinished
from sedp.simulator.cores import Cores

Tasks = list[tuple[int, int, bool]]  # (time_ns, work_ns, whether it is the door's), by time

some_tasks = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 60), st.booleans()), max_size=30
).map(sorted)


def ends_by_plain_model(tasks: Tasks, count: int) -> dict[int, int]:
    """When each run ends: whole nanoseconds, the first in which its work is done."""
    left: dict[int, Fraction] = {}
    ends: dict[int, int] = {}
    now_ns = door_until_ns = 0
    coming = list(enumerate(tasks))
    while left or coming:
        cores = count - (now_ns < door_until_ns)
        pace = min(Fraction(1), Fraction(cores, len(left))) if left else Fraction(0)
        steps = [door_until_ns] if now_ns < door_until_ns else []
        steps += [now_ns + math.ceil(min(left.values()) / pace)] if pace else []
        steps += [coming[0][1][0]] if coming else []
        passed_ns, now_ns = min(steps) - now_ns, min(steps)
        for run in left:
            left[run] -= passed_ns * pace
        for run in [run for run, work in left.items() if work <= 0]:
            ends[run] = now_ns
            del left[run]
        while coming and coming[0][1][0] == now_ns:
            number, (_, work_ns, is_door) = coming.pop(0)
            if is_door:
                door_until_ns = max(door_until_ns, now_ns) + work_ns
            else:
                left[number] = Fraction(work_ns)
    return ends


def ends_by_cores(tasks: Tasks, count: int) -> dict[int, int]:
    cores, ends = Cores(count), {}

    def pass_until(time_ns: int) -> None:
        while (due_ns := cores.due_ns()) <= time_ns and due_ns < NEVER_NS:
            for end in cores.ended(due_ns):
                assert isinstance(end, BatchFinished)
                ends[end.batch] = due_ns

    for number, (time_ns, work_ns, is_door) in enumerate(tasks):
        pass_until(time_ns)
        if is_door:
            cores.charge(time_ns, work_ns)
        else:
            cores.start(time_ns, work_ns, BatchFinished(number))
    pass_until(NEVER_NS)
    return ends


@given(tasks=some_tasks, count=st.integers(1, 5))
def test_every_run_ends_when_its_work_is_done(tasks: Tasks, count: int) -> None:
    assert ends_by_cores(tasks, count) == ends_by_plain_model(tasks, count)


@given(tasks=some_tasks)
def test_with_a_core_each_a_run_takes_its_own_work(tasks: Tasks) -> None:
    ends = ends_by_cores(tasks, 31)
    assert ends == {
        number: start + work for number, (start, work, is_door) in enumerate(tasks) if not is_door
    }


@given(tasks=some_tasks, count=st.integers(1, 3))
def test_machine_does_not_more_than_its_cores_can(tasks: Tasks, count: int) -> None:
    runs = [task for task in tasks if not task[2]]
    ends = ends_by_cores(tasks, count)
    if runs:
        time_ns = max(ends.values()) - min(time for time, _, _ in runs)
        assert sum(work for _, work, _ in runs) <= count * time_ns


@pytest.mark.parametrize("runs", [5, 32, 33, 1000])
def test_no_work_is_lost_while_all_cores_are_busy(runs: int) -> None:
    work_ns = 1_000_003
    ends = ends_by_cores([(7, work_ns, False)] * runs, 2)
    assert set(ends.values()) == {7 + math.ceil(runs * work_ns / 2)}


def test_runs_that_end_together_end_in_the_order_they_began() -> None:
    cores = Cores(2)
    began: list[AnyStimulus] = [BatchFinished(number) for number in (4, 1, 3)]
    for end in began:
        cores.start(10, 20, end)
    assert cores.due_ns() == 40
    assert cores.ended(39) == []
    assert cores.ended(40) == began
    assert cores.due_ns() == NEVER_NS


def test_run_that_is_over_is_due_now_whatever_starts_before_it_is_taken_away() -> None:
    cores = Cores(1)
    cores.start(0, 2, BatchFinished(0))
    cores.start(0, 10, BatchFinished(1))
    cores.start(1, 10, BatchFinished(2))
    assert cores.due_ns() == 6  # half way through that nanosecond
    for number in (3, 4, 5):
        cores.start(6, 10, BatchFinished(number))
        assert cores.due_ns() == 6
    assert cores.ended(6) == [BatchFinished(0)]


def test_door_goes_first_and_takes_one_core() -> None:
    cores = Cores(2)
    cores.start(0, 100, BatchFinished(0))
    cores.start(0, 150, BatchFinished(1))
    cores.charge(0, 30)
    cores.charge(10, 30)  # the door works from 0 to 60: one core is left for two runs
    assert cores.due_ns() == 60 + (100 - 30)
    assert cores.ended(130) == [BatchFinished(0)]
    cores.charge(140, 40)  # nobody suffers: one run, and a core for it
    assert cores.due_ns() == 130 + 50
    assert cores.ended(180) == [BatchFinished(1)]


def test_door_of_a_single_core_holds_up_everybody() -> None:
    cores = Cores(1)
    cores.start(0, 100, BatchFinished(0))
    cores.charge(20, 30)
    assert cores.due_ns() == 130
