"""The division is the best there is where curves are concave, and within its budget everywhere."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.storage.advice.division import DOUBLING_GAIN_MIN, TierCosts, advise, divide_bytes
from sedp.storage.advice.hit_curve import HitCurve

UNIT = 1 << 10


def curve_of(
    ratios: list[float], lookups: int = 1, whole: int = 10**6, name: str = "user"
) -> HitCurve:
    """Ratios at 1, 2, … units; whole at `whole` units. Rows of 64 bytes, 14 a unit."""
    units = np.arange(1, len(ratios) + 1)
    sizes, rows = units * UNIT, units * 14
    return HitCurve(
        name, whole * 7, 64, lookups, rows, sizes, np.array(ratios, np.float64), whole * UNIT
    )


@st.composite
def concave_curves(draw: st.DrawFn) -> HitCurve:
    steps = sorted(draw(st.lists(st.floats(0, 1), min_size=1, max_size=5)), reverse=True)
    ratios = np.cumsum(steps) / max(1.0, sum(steps))
    return curve_of(np.minimum(ratios, 1).tolist(), draw(st.integers(1, 50)))


@st.composite
def any_curves(draw: st.DrawFn) -> HitCurve:
    ratios = sorted(draw(st.lists(st.floats(0, 1), max_size=6)))
    return curve_of(ratios, draw(st.integers(0, 50)), len(ratios) + draw(st.integers(1, 5)))


def hits(curves: list[HitCurve], given_bytes: list[int]) -> float:
    return sum(c.lookups * c.ratio_at(b) for c, b in zip(curves, given_bytes, strict=True))


@settings(max_examples=150)
@given(st.lists(concave_curves(), min_size=1, max_size=3), st.integers(0, 8))
def test_no_division_of_concave_curves_is_better(curves: list[HitCurve], units: int) -> None:
    ours = hits(curves, divide_bytes(curves, units * UNIT))
    for others in itertools.product(range(units + 1), repeat=len(curves)):
        if sum(others) <= units:
            assert hits(curves, [other * UNIT for other in others]) <= ours + 1e-9


@given(st.lists(any_curves(), min_size=1, max_size=4), st.integers(0, 40 * UNIT))
def test_shares_fit_the_budget(curves: list[HitCurve], budget: int) -> None:
    given_bytes = divide_bytes(curves, budget)
    assert min(given_bytes) >= 0
    assert sum(given_bytes) <= budget
    for curve, share in zip(curves, given_bytes, strict=True):
        assert share <= curve.whole_bytes


@given(st.lists(any_curves(), min_size=1, max_size=3), st.integers(0, 30))
def test_no_division_of_any_curves_is_much_better(curves: list[HitCurve], units: int) -> None:
    """What a piece that does not fit may cost: less than the one table's look-ups."""
    ours = hits(curves, divide_bytes(curves, units * UNIT))
    best = max(
        hits(curves, [other * UNIT for other in others])
        for others in itertools.product(range(min(units, 11) + 1), repeat=len(curves))
        if sum(others) <= units
    )
    assert best <= ours + max(curve.lookups for curve in curves) + 1e-9


def test_last_step_that_does_not_fit_leaves_its_bytes_to_others() -> None:
    large, small = curve_of([0.1], 100, whole=10), curve_of([0.2, 0.3], 10, whole=4)
    assert divide_bytes([large, small], 9 * UNIT) == [UNIT, 4 * UNIT]
    assert divide_bytes([large, small], 10 * UNIT) == [10 * UNIT, 0]
    assert divide_bytes([large, small], 14 * UNIT) == [10 * UNIT, 4 * UNIT]


def test_table_asked_for_more_often_comes_first() -> None:
    rare, often = curve_of([0.5, 0.6], 1, name="rare"), curve_of([0.5, 0.6], 9, name="often")
    division = advise([rare, often], 2 * UNIT).division
    assert [(share.table, share.ram_bytes) for share in division.shares] == [
        ("rare", 0),
        ("often", 2 * UNIT),
    ]
    assert division.ram_ratio == pytest.approx(0.9 * 0.6)
    assert [share.is_whole for share in division.shares] == [False, False]


def test_cost_is_of_every_tier_asked() -> None:
    costs, curve = TierCosts(ram_ns=1, lmdb_ns=10, rocksdb_ns=100), curve_of([0.5, 0.8], whole=5)
    disk_unit = 14 * (64 + 20)

    def ns(ram: int, lmdb: int | None) -> float:
        return advise([curve], ram * UNIT, lmdb_bytes=lmdb, costs=costs).division.ns_per_key

    assert ns(1, None) == pytest.approx(1 + 0.5 * 10)
    assert ns(1, 0) == pytest.approx(1 + 0.5 * 100)
    assert ns(1, 2 * disk_unit) == pytest.approx(1 + 0.5 * 10 + 0.2 * 100)
    assert ns(5, None) == ns(5, 0) == pytest.approx(1)
    assert ns(0, None) == pytest.approx(11)


def test_rows_in_lmdb_need_no_spare_places() -> None:
    curve = curve_of([0.5], whole=5)
    share = advise([curve], 0, lmdb_bytes=35 * (64 + 20)).division.shares[0]
    assert (share.lmdb_ratio, share.ram_ratio) == (1.0, 0.0)
    assert advise([curve], 0, lmdb_bytes=34 * (64 + 20)).division.shares[0].lmdb_ratio == 0.5


@given(st.lists(any_curves(), min_size=1, max_size=4), st.one_of(st.none(), st.integers(0, 99999)))
def test_more_ram_is_never_worse(curves: list[HitCurve], lmdb_bytes: int | None) -> None:
    budgets = advise([scaled(c) for c in curves], 0, lmdb_bytes=lmdb_bytes).budgets
    assert budgets[0].ram_bytes == 1 << 20
    for smaller, larger in itertools.pairwise(budgets):
        assert larger.ram_bytes == 2 * smaller.ram_bytes
        assert larger.ram_ratio >= smaller.ram_ratio - 1e-9
    if any(curve.lookups for curve in curves):
        assert budgets[-1].ram_ratio == pytest.approx(1)


@given(st.lists(any_curves(), min_size=1, max_size=4))
def test_from_the_recommended_budget_on_no_doubling_gains_a_point(curves: list[HitCurve]) -> None:
    advice = advise([scaled(curve) for curve in curves], 0)
    ratios = [division.ram_ratio for division in advice.budgets]
    at = [division.ram_bytes for division in advice.budgets].index(advice.recommended_bytes)
    assert all(
        later - ratio < DOUBLING_GAIN_MIN for ratio, later in itertools.pairwise(ratios[at:])
    )
    assert at == 0 or ratios[at] - ratios[at - 1] >= DOUBLING_GAIN_MIN


def scaled(curve: HitCurve) -> HitCurve:
    """The same in MiB, so that budgets of 1 MiB and more divide it."""
    return HitCurve(
        curve.table,
        curve.table_rows << 10,
        curve.row_bytes,
        curve.lookups,
        curve.rows << 10,
        curve.bytes << 10,
        curve.ratios,
        curve.whole_bytes << 10,
    )


def test_advice_needs_tables_and_budgets() -> None:
    with pytest.raises(ValueError, match="0 tables"):
        advise([], 1)
    with pytest.raises(ValueError, match="ram_bytes -1"):
        advise([curve_of([0.5])], -1)
    with pytest.raises(ValueError, match="lmdb_bytes -1"):
        advise([curve_of([0.5])], 1, lmdb_bytes=-1)
