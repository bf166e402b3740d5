"""Shares of the budget by rank."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.manager.admission.ranks import FALL, FALL_LONE, FIRST, GAP, GAP_MAX, USERS, RankShares

LOADS = st.floats(0, 1e6)


def shares_at(levels: int, load: float, first_load: float = 0.0) -> list[float]:
    """Of all ranks, in order."""
    shares = RankShares(levels)
    shares.follow(load, first_load)
    return [shares.share(level + 1, user) for level in range(levels) for user in range(USERS)]


@given(st.sampled_from([1, 2, 3, 8, 100]), LOADS, LOADS)
def test_shares_never_rise_and_are_never_nothing(
    levels: int, load: float, first_load: float
) -> None:
    shares = shares_at(levels, load, first_load)
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == (1.0 if levels == 1 else FIRST)
    assert shares[-1] > 0.2


def test_the_first_of_several_levels_tells_no_users_apart_and_stands_apart() -> None:
    shares = shares_at(3, 2.0)
    assert set(shares[:USERS]) == {FIRST}
    assert shares[USERS] == pytest.approx(1 - GAP)
    assert shares[USERS] > shares[2 * USERS - 1] > shares[2 * USERS]


def test_a_single_level_tells_its_users_apart() -> None:
    shares = shares_at(1, 2.0)
    assert len(set(shares)) == USERS
    assert shares[0] == 1.0


def test_the_more_the_first_level_asks_for_the_more_room_is_kept_for_it() -> None:
    seconds = [shares_at(3, 10.0, first)[USERS] for first in (0.05, 0.2, 0.5, 1.0, 5.0)]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[2] < 1 - GAP - 0.2
    assert seconds[-1] == pytest.approx(1 - GAP_MAX)


@pytest.mark.parametrize("levels", [1, 3])
def test_the_last_rank_has_nearly_as_much_as_the_others_until_there_is_an_overload(
    levels: int,
) -> None:
    calm, overloaded = shares_at(levels, 0.9), shares_at(levels, 2.0)
    first = USERS if levels > 1 else 0
    assert calm[first] == overloaded[first]
    assert calm[first] - calm[-1] == pytest.approx(0.05)
    assert overloaded[first] - overloaded[-1] == pytest.approx(FALL if levels > 1 else FALL_LONE)
