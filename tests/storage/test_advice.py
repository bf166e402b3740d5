"""What is advised is what the store will do with a budget, and what its files will take."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.storage.advice.division import DOUBLING_GAIN_MIN, TierCosts, advise, rows_in_lmdb
from sedp.storage.advice.hit_curve import HitCurve
from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.ram.budget import divide
from sedp.storage.ram.line import WAYS
from sedp.storage.rows.bucket import BucketShape
from sedp.storage.store import ParameterStore
from tests.storage.warm_tables import WarmTable, fill

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
def any_curves(draw: st.DrawFn) -> HitCurve:
    ratios = sorted(draw(st.lists(st.floats(0, 1), max_size=6)))
    return curve_of(ratios, draw(st.integers(0, 50)), len(ratios) + draw(st.integers(1, 5)))


@given(st.lists(any_curves(), min_size=1, max_size=4), st.integers(0, 40 * UNIT))
def test_division_is_that_of_the_store(curves: list[HitCurve], budget: int) -> None:
    division = advise(curves, budget).division
    given_sets = divide(budget, [(curve.table_rows, curve.row_bytes) for curve in curves])
    assert sum(share.ram_bytes for share in division.shares) <= budget
    for share, sets, curve in zip(division.shares, given_sets, curves, strict=True):
        assert share.is_whole == sets.is_whole
        expected = 1.0 if sets.is_whole else curve.ratio_of(sets.row_sets * WAYS)
        assert share.ram_ratio == expected


def test_cost_is_of_every_tier_asked() -> None:
    costs, curve = TierCosts(ram_ns=1, lmdb_ns=10, rocksdb_ns=100), curve_of([0.5, 0.8], whole=50)
    half = BucketShape.for_rows(64, "hashed", 14).disk_bytes  # one bucket, of more than 28 slots

    def ns(ram: int, lmdb: int | None) -> float:
        return advise([curve], ram * UNIT, lmdb_bytes=lmdb, costs=costs).division.ns_per_key

    assert ns(0, None) == pytest.approx(1 + 10)
    assert ns(0, 0) == pytest.approx(1 + 100)
    assert ns(0, half) == pytest.approx(1 + 10 + 0.2 * 100)
    assert ns(60, None) == ns(60, 0) == pytest.approx(1)
    ratio = advise([curve], 2 * UNIT).division.ram_ratio
    assert 0 < ratio < 0.8
    assert ns(2, None) == pytest.approx(1 + (1 - ratio) * 10)


def test_lmdb_is_limited_for_each_table() -> None:
    curves = [curve_of([0.5], name=name) for name in ("user", "item")]
    one = advise(curves[:1], 0, lmdb_bytes=10**6).division.shares
    assert advise(curves, 0, lmdb_bytes=10**6).division.shares[:1] == one


@pytest.mark.parametrize(("dim", "rows"), [(16, 150_000), (4, 300_000), (300, 6000)])
def test_rows_in_lmdb_take_what_a_real_file_takes(tmp_path: Path, dim: int, rows: int) -> None:
    table = WarmTable("user", dim, "hashed", rows)
    database = LmdbDatabase(tmp_path / "lmdb", read_only=False)
    fill(database, table)
    database.close()
    held, size = rows_in_lmdb(rows, 4 * dim, None)
    assert held == rows
    assert size == pytest.approx((tmp_path / "lmdb" / "data.mdb").stat().st_size, rel=0.03)
    assert rows_in_lmdb(rows, 4 * dim, size) == (rows, size)


def test_lmdb_without_room_for_all_rows_holds_what_an_import_leaves_there(tmp_path: Path) -> None:
    table, limit = WarmTable("user", 16, "hashed", 20_000), 1 << 20
    with ParameterStore.open(tmp_path / "s", lmdb_bytes=limit, create=True) as store:
        rows = np.zeros((table.rows, 16), np.float32)
        store.import_table(table.entry.spec, [(table.keys, rows)])
        lmdb = store.statistics().tables[0].tiers[1]
    assert rows_in_lmdb(20_000, 64, limit) == (pytest.approx(lmdb.rows, rel=0.03), lmdb.bytes)
    assert rows_in_lmdb(20_000, 64, 0) == (0, 0)


@given(st.lists(any_curves(), min_size=1, max_size=4), st.one_of(st.none(), st.integers(0, 99999)))
def test_budgets_double_until_all_is_whole(curves: list[HitCurve], lmdb_bytes: int | None) -> None:
    budgets = advise([scaled(c) for c in curves], 0, lmdb_bytes=lmdb_bytes).budgets
    assert budgets[0].ram_bytes == 1 << 20
    for smaller, larger in itertools.pairwise(budgets):
        assert larger.ram_bytes == 2 * smaller.ram_bytes
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
