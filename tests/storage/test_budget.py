"""The shares of all tables together stay within the budget, and are fair by bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sedp.storage.budget import NOTHING, divide
from sedp.storage.ram_kernels import LINE_BYTES, WAYS
from sedp.storage.ram_tier import bytes_per_set

tables = st.lists(st.tuples(st.integers(0, 10**9), st.sampled_from([4, 8, 68, 32768])), max_size=9)


@given(st.integers(0, 1 << 40), tables)
def test_shares_fit_the_budget(ram_bytes: int, sizes: list[tuple[int, int]]) -> None:
    shares = divide(ram_bytes, sizes)
    taken = sum(
        share.row_sets * bytes_per_set(row_bytes)
        + share.absent_sets * bytes_per_set(0)
        + (0 if share == NOTHING else 4 * LINE_BYTES)
        for share, (_, row_bytes) in zip(shares, sizes, strict=True)
    )
    assert taken <= ram_bytes


def test_small_tables_take_no_more_than_three_places_a_row() -> None:
    share = divide(1 << 30, [(1000, 64)])[0]
    assert 3000 <= share.row_sets * WAYS < 3000 + WAYS
    assert share.absent_sets == share.row_sets


def test_tables_of_equal_bytes_get_equal_shares() -> None:
    first, second = divide(1 << 20, [(1 << 20, 64), (1 << 20, 64)])
    assert first == second
    assert first.row_sets * bytes_per_set(64) > (1 << 19) * 6 // 8
