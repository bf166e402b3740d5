"""Waits between deaths: none after a life that was long enough, doubling after short ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.supervisor.backoff import FIRST_NS, LONGEST_NS, STABLE_NS, Backoff


@pytest.mark.parametrize(
    ("deaths", "wait_ns"),
    [(1, FIRST_NS), (2, 2 * FIRST_NS), (3, 4 * FIRST_NS), (9, 256 * FIRST_NS), (10, LONGEST_NS)],
)
def test_waits_double_up_to_the_longest(deaths: int, wait_ns: int) -> None:
    backoff = Backoff()
    for _ in range(deaths):
        last = backoff.died(0, dice=1)
    assert last == wait_ns


def test_who_served_long_enough_is_replaced_at_once_and_starts_afresh() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.died(STABLE_NS - 1, dice=0)
    assert backoff.died(STABLE_NS, dice=0.5) == 0
    assert backoff.died(0, dice=0) == FIRST_NS // 2


@given(st.lists(st.tuples(st.integers(0, 2 * STABLE_NS), st.floats(0, 1, exclude_max=True))))
def test_a_wait_is_never_above_the_longest_nor_below_half_the_first(
    lives: list[tuple[int, float]],
) -> None:
    backoff = Backoff()
    for served_ns, dice in lives:
        wait_ns = backoff.died(served_ns, dice)
        if served_ns >= STABLE_NS:
            assert wait_ns == 0
        else:
            assert FIRST_NS // 2 <= wait_ns <= LONGEST_NS
