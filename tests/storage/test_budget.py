"""The shares of all tables together stay within the budget, and are fair by bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sedp.storage.ram.budget import NOTHING, divide
from sedp.storage.ram.line import LINE_BYTES, WAYS
from sedp.storage.ram.tier import bytes_per_set

tables = st.lists(st.tuples(st.integers(0, 10**9), st.sampled_from([4, 8, 68, 32768])), max_size=9)


@given(st.integers(0, 1 << 40), tables)
def test_shares_fit_the_budget(ram_bytes: int, sizes: list[tuple[int, int]]) -> None:
    shares = divide(ram_bytes, sizes)
    taken = sum(
        share.row_sets * bytes_per_set(row_bytes, share.is_whole)
        + share.absent_sets * bytes_per_set(0)
        + (0 if share == NOTHING else 5 * LINE_BYTES)
        for share, (_, row_bytes) in zip(shares, sizes, strict=True)
    )
    assert taken <= ram_bytes


@given(st.integers(0, 1 << 40), tables)
def test_whole_shares_have_two_places_a_row_and_others_less(
    ram_bytes: int, sizes: list[tuple[int, int]]
) -> None:
    for share, (rows, _) in zip(divide(ram_bytes, sizes), sizes, strict=True):
        places = share.row_sets * WAYS
        if share.is_whole:
            assert 2 * rows <= places < 2 * rows + WAYS
            assert share.absent_sets == 0
        else:
            assert places < 2 * rows + WAYS


def test_small_tables_are_whole_and_the_large_one_takes_the_rest() -> None:
    sizes = [(1_000_000, 64), (1000, 64), (5000, 8)]
    large, *small = divide(1 << 20, sizes)
    assert [share.is_whole for share in (large, *small)] == [False, True, True]
    taken = sum(
        share.row_sets * bytes_per_set(row_bytes, share.is_whole)
        for share, (_, row_bytes) in zip(small, sizes[1:], strict=True)
    )
    assert large.row_sets * bytes_per_set(64) > ((1 << 20) - taken) * 6 // 8


def test_table_is_not_whole_at_the_cost_of_smaller_ones() -> None:
    """3 MiB would hold the first, but an even part of them would not."""
    assert not any(share.is_whole for share in divide(3 << 20, [(8000, 68)] * 3))
    assert divide(3 << 20, [(8000, 68)])[0].is_whole


def test_tables_of_equal_bytes_get_equal_shares() -> None:
    first, second = divide(1 << 20, [(1 << 20, 64), (1 << 20, 64)])
    assert first == second
    assert first.row_sets * bytes_per_set(64) > (1 << 19) * 6 // 8
