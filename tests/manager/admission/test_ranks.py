"""Shares of the budget by rank."""

from __future__ import annotations

import pytest

from sedp.manager.admission.ranks import LAST_SHARE, USERS, rank_shares


@pytest.mark.parametrize("levels", [1, 2, 3, 8, 100])
def test_shares_never_rise_and_end_at_the_last(levels: int) -> None:
    shares = rank_shares(levels)
    assert len(shares) == levels * USERS
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1.0
    assert shares[-1] == pytest.approx(LAST_SHARE)


def test_the_first_of_several_levels_tells_no_users_apart_and_stands_apart() -> None:
    shares = rank_shares(3)
    assert set(shares[:USERS]) == {1.0}
    assert shares[USERS] < 0.9
    assert shares[USERS] > shares[2 * USERS - 1] > shares[2 * USERS]


def test_a_single_level_tells_its_users_apart() -> None:
    assert len(set(rank_shares(1))) == USERS
