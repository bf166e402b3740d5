"""Our controller at the door: who comes in, on states set by hand."""

from __future__ import annotations

import timeit
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.engine.events import Arrived, Outcome
from sedp.engine.stage_state import PipelineState
from sedp.manager.admission.predicted_wait import PredictedWait
from sedp.manager.admission.ranks import RankShares
from sedp.manager.admission.strain import WINDOW_TARGETS
from tests.manager.admission.overload import MS, TARGET
from tests.manager.admission.states import chain_of, event_of, load, newcomer, pace

ROW_NS = 10_000.0


def backlog_of(rows: int) -> PipelineState:
    """One stage, 10 µs a row and 2 ms a run, behind `rows` rows: 18 ms are left for waiting."""
    pipeline = chain_of(1)
    pace(pipeline, 0, ROW_NS, 2.0 * MS)
    load(pipeline, 0, queued=rows)
    return pipeline


def is_let_in(rows_before: int, arrived: Arrived, levels: int = 1) -> bool:
    admission = PredictedWait(TARGET, levels)
    return admission.refusal(0, arrived, backlog_of(rows_before)) is None


def test_newcomer_enters_while_what_is_before_it_leaves_time_for_its_own_run() -> None:
    asking = newcomer(rows=100, due_ns=TARGET)
    assert is_let_in(1800, asking)
    assert not is_let_in(1801, asking)


def test_refusal_is_called_shed() -> None:
    admission = PredictedWait(TARGET, 1)
    assert admission.refusal(0, newcomer(due_ns=TARGET), backlog_of(9000)) is Outcome.SHED


def test_less_time_left_needs_less_backlog() -> None:
    assert is_let_in(1000, newcomer(due_ns=13 * MS))
    assert not is_let_in(1000, newcomer(due_ns=11 * MS))


def test_newcomer_without_due_time_is_given_the_target() -> None:
    assert is_let_in(1800, newcomer())
    assert not is_let_in(1801, newcomer())


def test_newcomer_whose_time_is_over_is_refused_even_when_idle() -> None:
    admission = PredictedWait(TARGET, 1)
    assert admission.refusal(5, newcomer(due_ns=5), chain_of(1)) is Outcome.SHED


def test_who_comes_alone_enters_even_if_the_path_takes_longer_than_the_target() -> None:
    pipeline = chain_of(1)
    pace(pipeline, 0, ROW_NS, 3.0 * TARGET)
    assert PredictedWait(TARGET, 1).refusal(0, newcomer(due_ns=TARGET), pipeline) is None


@pytest.mark.parametrize(("level", "user"), [(1, 0), (1, 127), (2, 0), (2, 127), (3, 0), (3, 127)])
def test_a_rank_has_its_share_of_the_budget(level: int, user: int) -> None:
    rows = int(1800 * RankShares(3).share(level, user))
    assert is_let_in(rows - 1, newcomer(level=level, user=user), levels=3)
    assert not is_let_in(rows + 1, newcomer(level=level, user=user), levels=3)


def test_newcomer_too_large_for_a_usual_run_needs_more_time_of_its_own() -> None:
    assert is_let_in(1600, newcomer(rows=400))
    assert not is_let_in(1601, newcomer(rows=400))


def test_small_newcomers_leave_room_for_the_large_ones_seen_of_late() -> None:
    admission, pipeline = PredictedWait(TARGET, 1), backlog_of(1700)
    assert admission.refusal(0, newcomer(1, rows=1, due_ns=TARGET), pipeline) is None
    assert admission.refusal(0, newcomer(2, rows=400, due_ns=TARGET), pipeline) is Outcome.SHED
    assert admission.refusal(0, newcomer(3, rows=1, due_ns=TARGET), pipeline) is Outcome.SHED


def test_question_whether_anybody_could_pass_leaves_no_trace() -> None:
    admission, pipeline = PredictedWait(TARGET, 1), backlog_of(1000)
    for _ in range(10_000):
        assert admission.refusal(0, newcomer(-1), pipeline) is None
    assert admission._inside == {}
    assert admission._tenants.count == 0


def test_every_event_is_forgotten_when_it_ends() -> None:
    admission, pipeline = PredictedWait(TARGET, 1), backlog_of(0)
    for number, outcome in enumerate(Outcome):
        arrived = newcomer(number)
        assert admission.refusal(0, arrived, pipeline) is None
        admission.ended(MS, event_of(arrived), outcome)
    assert admission._inside == {}


def test_run_that_hangs_does_not_shut_an_empty_pipeline() -> None:
    pipeline = backlog_of(0)
    pipeline.stages[0].running_rows = 10_000
    pipeline.in_flight = 0  # its events have ended
    assert PredictedWait(TARGET, 1).refusal(0, newcomer(), pipeline) is None


def greedy_is_let_in(rows_before: int, *, isolates: bool, tenant: int = 7) -> bool:
    """Tenant 7 had fifty times what each of the others had; a usual run takes 2 ms."""
    admission = PredictedWait(TARGET, 1, isolates=isolates)
    for number in range(500):
        admission._tenants.entered(number % 10 if number % 5 == 0 else 7, 10)
    asking = newcomer(rows=10, tenant=tenant)
    return admission.refusal(0, asking, backlog_of(rows_before)) is None


def test_isolated_greedy_tenant_is_let_in_beside_less_than_a_run_of_work() -> None:
    assert greedy_is_let_in(139, isolates=True)
    assert not greedy_is_let_in(141, isolates=True)
    assert greedy_is_let_in(260, isolates=False)


def test_isolation_refuses_nobody_else() -> None:
    assert greedy_is_let_in(1800, isolates=True, tenant=1)
    assert greedy_is_let_in(1800, isolates=True, tenant=99)


def test_correction_of_two_doubles_the_wait_and_the_service() -> None:
    for rows, is_in in ((800, True), (801, False)):
        admission = PredictedWait(TARGET, 1)
        admission._correction.factor = 2.0
        assert (admission.refusal(0, newcomer(), backlog_of(rows)) is None) is is_in


def test_started_batch_and_ended_event_are_seen_by_the_next_newcomer() -> None:
    admission, pipeline = PredictedWait(TARGET, 1), backlog_of(9000)
    assert admission.refusal(0, newcomer(1), pipeline) is Outcome.SHED
    load(pipeline, 0, queued=1000)
    admission.waited(0, 0, 1)
    assert admission.refusal(0, newcomer(2), pipeline) is None
    load(pipeline, 0, queued=9000)
    assert admission.refusal(0, newcomer(3), pipeline) is Outcome.SHED
    load(pipeline, 0, queued=1000)
    admission.ended(0, event_of(newcomer(2)), Outcome.ANSWERED)
    assert admission.refusal(0, newcomer(4), pipeline) is None


def test_waits_beyond_what_leaves_time_for_a_run_are_dropped() -> None:
    admission = PredictedWait(TARGET, 1)
    admission.pressure(0, backlog_of(100))
    assert admission.wait_limit_ns(0, TARGET) == TARGET - 2 * MS


def test_pressure_is_0_when_idle_and_1000_where_the_last_level_is_refused() -> None:
    admission = PredictedWait(TARGET, 3)
    assert admission.pressure(0, chain_of(1)) == 0
    last = 1800 * RankShares(3).share(3, 0)
    assert admission.pressure(0, backlog_of(int(last / 2))) == pytest.approx(500, abs=2)
    assert admission.pressure(0, backlog_of(int(last))) == pytest.approx(1000, abs=2)


def test_pressure_is_that_of_newcomers_with_the_time_they_have_left() -> None:
    admission, pipeline = PredictedWait(TARGET, 1), backlog_of(500)
    told = [admission.pressure(0, pipeline)]
    for left_ns in (15 * MS, 10 * MS, 1, -1):  # what was lost before they were read
        admission.refusal(0, newcomer(due_ns=left_ns), pipeline)
        told.append(admission.pressure(0, pipeline))
    assert told == sorted(told)
    assert told[0] < 1000 * admission._shares.share(1, 0) < told[-1]


@pytest.mark.parametrize("event", [0, -1], ids=["read", "refused by its head"])
def test_refusals_press_on_though_the_queues_are_short_now(event: int) -> None:
    admission, short, long = PredictedWait(TARGET, 1), backlog_of(10), backlog_of(9000)
    assert admission.pressure(0, short) < 10
    admission.waited(0, 0, 1)  # the queue is another one now
    for millisecond in range(3 * WINDOW_TARGETS * TARGET // MS):
        arrived = msgspec.structs.replace(newcomer(), event=event)
        assert admission.refusal(millisecond * MS, arrived, long) is Outcome.SHED
    assert admission.pressure(TARGET, short) > 400


class Door(NamedTuple):
    """What a decision is made from."""

    queued: int
    running: int
    row_ns: float
    batch_ns: float
    rows: int
    left_ns: int

    def decide(self, level: int, user: int, more_rows: int = 0) -> bool:
        pipeline = chain_of(2)
        load(pipeline, 0, queued=self.queued + more_rows)
        load(pipeline, 1, running=self.running)
        pace(pipeline, 1, self.row_ns, self.batch_ns)
        arrived = newcomer(rows=self.rows, due_ns=self.left_ns, level=level, user=user)
        return PredictedWait(TARGET, 3).refusal(0, arrived, pipeline) is None


DOORS = st.builds(
    Door,
    st.integers(0, 20_000),
    st.integers(0, 2000),
    st.floats(0, 1e6),
    st.floats(0, 1e9),
    st.integers(1, 5000),
    st.integers(-TARGET, 2 * TARGET),
)


@given(DOORS, st.integers(1, 3), st.integers(0, 127), st.integers(0, 10_000))
def test_more_backlog_never_lets_in_who_was_refused(
    door: Door, level: int, user: int, more_rows: int
) -> None:
    assert door.decide(level, user) or not door.decide(level, user, more_rows)


@given(DOORS, st.integers(0, 127), st.integers(0, 127))
def test_level_1_is_never_refused_where_level_3_enters(door: Door, one: int, other: int) -> None:
    assert door.decide(1, one) or not door.decide(3, other)


@given(DOORS, st.integers(1, 3), st.integers(0, 126))
def test_lower_user_value_is_never_refused_where_a_higher_one_enters(
    door: Door, level: int, user: int
) -> None:
    assert door.decide(level, user) or not door.decide(level, user + 1)


class Nothing:
    """The cheapest door there is."""

    def refusal(self, now_ns: int, newcomer: Arrived, pipeline: PipelineState) -> Outcome | None:
        return None


def test_decision_at_five_stages_costs_at_most_10_microseconds_more_than_an_empty_call() -> None:
    pipeline = chain_of(5)
    for number in range(5):
        load(pipeline, number, queued=300, running=400)
        pace(pipeline, number, 10_000.0, 1.0 * MS)
    asking, calls = newcomer(rows=100, due_ns=TARGET), 500
    ours, nothing = PredictedWait(TARGET, 3), Nothing()

    def decide_anew() -> None:
        ours.waited(0, 0, 1)
        ours.refusal(0, asking, pipeline)

    anew_s = min(timeit.repeat(decide_anew, number=calls, repeat=20))
    empty_s = min(
        timeit.repeat(lambda: nothing.refusal(0, asking, pipeline), number=calls, repeat=20)
    )
    assert (anew_s - empty_s) / calls < 10e-6
