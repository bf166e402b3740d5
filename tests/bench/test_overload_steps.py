"""What is made of an open loop's latencies, on latencies that are known."""

from __future__ import annotations

import numpy as np
import pytest

from bench.overload_steps import Sent, Step, burst_figures, left_by_refusals, possible, step_figures
from bench.slo import LIMIT_S

RATE = 1_000  # a second, from 0 s to 4 s
DUE_S = np.arange(4 * RATE) / RATE


def sent(late_from_s: float, late_to_s: float) -> Sent:
    """Everything takes a quarter of the limit, but for some time half more than it."""
    late = (late_from_s <= DUE_S) & (late_to_s > DUE_S)
    latencies = np.where(late, 1.5 * LIMIT_S, LIMIT_S / 4)
    return Sent(DUE_S, latencies, np.arange(len(DUE_S)) % 2)


def test_a_step_is_what_fell_due_while_it_lasted() -> None:
    step = Step.of(sent(1.0, 1.5), 1.0, 2.0)
    assert step.offered == RATE
    assert step.in_time == pytest.approx(0.75 * RATE)
    assert step.p99 == pytest.approx(1.5 * LIMIT_S)
    assert step.p99_settled == pytest.approx(LIMIT_S / 4)
    assert step.recovery_s == 0
    assert step.top == pytest.approx(0.75)


def test_recovery_counts_from_relief_to_the_last_bad_window() -> None:
    assert Step.of(sent(1.0, 3.1), 1.0, 2.0).recovery_s == pytest.approx(0.1)


def test_what_was_not_answered_is_neither_in_time_nor_in_the_percentile() -> None:
    lost = Sent(DUE_S, np.where(np.arange(len(DUE_S)) % 2, np.inf, 0.001), np.zeros(len(DUE_S)))
    step = Step.of(lost, 1.0, 2.0)
    assert (step.in_time, step.p99) == (RATE / 2, 0.001)


def test_goals_count_only_where_the_client_sent_what_was_wanted() -> None:
    steps = [Step.of(sent(0, 0), 1.0, 2.0)]
    assert any(figure.goal for figure in step_figures(2.0, RATE / 2, 0.01, steps))
    assert not any(figure.goal for figure in step_figures(3.0, RATE / 2, 0.01, steps))


def test_what_refusals_leave_is_judged_from_five_times_the_load_on() -> None:
    steps = [Step.of(sent(0, 0), 1.0, 2.0)]
    names = [figure.name for figure in step_figures(10.0, RATE / 10, 0.01, steps)]
    assert "step to 10 × the goodput: in time / what refusals leave" in names
    assert len(step_figures(3.0, RATE / 3, 0.01, steps)) == len(names) - 1


@pytest.mark.parametrize(
    ("times", "refusal", "left"),
    [
        (0.5, 0.1, 1.0),
        (1.0, 0.1, 1.0),
        (10.0, 0.01, 0.9 / 0.99),
        (10.0, 0.1, 0.0),
        (20.0, 0.1, 0.0),
    ],
)
def test_refusals_leave_what_they_do_not_take(times: float, refusal: float, left: float) -> None:
    assert left_by_refusals(times, refusal) == pytest.approx(left)


@pytest.mark.parametrize(("times", "share"), [(0.5, 1.0), (1.0, 1.0), (2.0, 0.5), (4.0, 0.25)])
def test_possible_is_what_a_server_of_that_rate_can_do(times: float, share: float) -> None:
    assert possible(DUE_S, RATE / times) == pytest.approx(share * len(DUE_S), rel=0.02)


def test_a_burst_as_long_as_the_limit_can_be_answered_whole() -> None:
    at_once = np.zeros(10)
    assert possible(at_once, 10.01 / LIMIT_S) == 10
    assert possible(at_once, 4.01 / LIMIT_S) == 4


def test_bursts_are_judged_by_what_is_possible() -> None:
    [of_possible, in_time, *_] = burst_figures("x", RATE / 2, sent(0.0, 2.0))
    assert in_time.value == pytest.approx(0.5)
    assert of_possible.value == pytest.approx(1.0, rel=0.02)
