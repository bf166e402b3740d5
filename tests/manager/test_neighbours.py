"""Steps stay near, and within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.engine.graph import StagePlan
from sedp.errors import ConfigError
from sedp.manager.bounds import Bounds, default_bounds
from sedp.manager.neighbours import steps

BOUNDS = Bounds((1, 8), (64, 4096), (0, 2_000_000), (256, 65_536))
ROWS_MAX = "batch_rows_max"
PLANS = st.builds(
    StagePlan,
    st.integers(1, 256),
    st.integers(1, 1 << 20),
    st.integers(0, 10**9),
    st.just(1024),
)


@given(PLANS)
def test_a_step_stays_within_bounds_or_comes_nearer(plan: StagePlan) -> None:
    for step in steps(plan, "auto", BOUNDS):
        name = step.knob.removesuffix("_max")
        low, high = getattr(BOUNDS, name)
        assert isinstance(step.before, int)
        assert isinstance(step.after, int)
        assert low <= step.after <= high or (
            step.after < step.before if step.before > high else step.after > step.before
        )


@given(PLANS)
def test_a_step_at_most_doubles_or_halves_and_batches_grow_fourfold(plan: StagePlan) -> None:
    for step in steps(plan, "auto", BOUNDS):
        assert isinstance(step.before, int)
        assert isinstance(step.after, int)
        from_nothing = step.knob == "batch_wait_ns" and step.before < 200_000
        most = 4 if step.knob == ROWS_MAX else 2
        assert step.after <= most * step.before or from_nothing
        assert step.after >= step.before // 2 or from_nothing


def test_a_limit_below_one_event_steps_to_several() -> None:
    rows = [s.after for s in steps(StagePlan(1, 1), "auto", Bounds(), 10.0) if s.knob == ROWS_MAX]
    assert rows == [15, 20, 40]


def test_executor_is_moved_only_where_bounds_name_it() -> None:
    plan = StagePlan()
    free = Bounds(executors=("inline", "thread"))
    assert "executor" in {step.knob for step in steps(plan, "inline", free)}
    assert "executor" not in {step.knob for step in steps(plan, "auto", free)}
    assert "executor" not in {step.knob for step in steps(plan, "inline", Bounds())}


@pytest.mark.parametrize("wrong", [(4, 2), (0, 2)])
def test_wrong_bounds_are_refused(wrong: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=r"concurrency \[\d, 2\] must be ascending"):
        Bounds(concurrency=wrong)


def test_defaults_grow_with_cores_and_target() -> None:
    assert default_bounds(2, 20_000_000).concurrency == (1, 16)
    assert default_bounds(64, 20_000_000).concurrency == (1, 64)
    assert default_bounds(2, 20_000_000).batch_wait_ns == (0, 5_000_000)


def test_clamped_plan_is_the_nearest_within_bounds() -> None:
    assert BOUNDS.clamp(StagePlan(99, 1, 10**9, 1000)) == StagePlan(8, 64, 2_000_000, 1000)
