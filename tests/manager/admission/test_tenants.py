"""Parts of tenants among those let in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.manager.admission.tenants import (
    SHARE_MIN,
    SHARE_MIN_CALM,
    WINDOW_EVENTS,
    TenantShares,
)


def shares_after(parts: dict[int, int], rounds: int = 20) -> TenantShares:
    shares = TenantShares()
    for _ in range(rounds):
        for tenant, events in parts.items():
            for _ in range(events):
                shares.entered(tenant, 10)
    return shares


def test_who_is_alone_is_never_greedy() -> None:
    assert shares_after({7: 50}).limit(7, overloaded=True) == 1.0


def test_equal_tenants_are_not_limited() -> None:
    shares = shares_after({0: 1, 1: 1, 2: 1, 3: 1})
    assert all(shares.limit(tenant, overloaded=True) > 0.95 for tenant in range(4))


def test_tenant_with_ten_times_as_much_is_limited_and_the_others_are_not() -> None:
    shares = shares_after({0: 10, 1: 1, 2: 1})
    assert shares.limit(0, overloaded=True) == SHARE_MIN
    assert shares.limit(0, overloaded=False) == SHARE_MIN_CALM
    assert shares.limit(1, overloaded=True) == 1.0
    assert shares.limit(2, overloaded=True) == 1.0


def test_tenant_with_ten_times_as_much_is_greedy_and_the_others_are_not() -> None:
    shares = shares_after({0: 10, **dict.fromkeys(range(1, 10), 1)})
    assert [tenant for tenant in range(11) if shares.is_greedy(tenant)] == [0]


def test_nobody_is_greedy_alone() -> None:
    assert not shares_after({7: 50}).is_greedy(7)


@pytest.mark.parametrize("tenants", [2, 10, 100])
def test_nobody_is_greedy_by_chance(tenants: int) -> None:
    shares, rng = TenantShares(), np.random.default_rng(1)
    greedy = 0
    for tenant in rng.integers(0, tenants, 20_000).tolist():
        shares.entered(tenant, 10)
        greedy += shares.is_greedy(tenant)
    assert greedy <= 40  # of 20,000


def test_rows_count_and_not_events() -> None:
    shares = TenantShares()
    for _ in range(10):
        shares.entered(1, 1000)
        for _ in range(5):
            shares.entered(2, 1)
    assert shares.limit(1, overloaded=True) == SHARE_MIN
    assert shares.limit(2, overloaded=True) == 1.0


def test_newcomer_is_not_limited() -> None:
    assert shares_after({0: 10, 1: 1}).limit(9, overloaded=True) == 1.0


def test_window_that_just_ended_still_counts() -> None:
    shares = TenantShares()
    for number in range(WINDOW_EVENTS + 2):
        shares.entered(number % 8 == 7, 10)
    assert shares.limit(0, overloaded=True) < 0.1 + SHARE_MIN


def test_tenant_is_forgotten_two_windows_after_its_last_event() -> None:
    shares = shares_after({0: 10, 1: 1}, rounds=1)
    for _ in range(2 * WINDOW_EVENTS):
        shares.entered(5, 10)
    assert shares.count == 1
    assert shares.limit(5, overloaded=True) == 1.0


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 100)), max_size=3000))
def test_map_is_bounded_by_two_windows(entries: list[tuple[int, int]]) -> None:
    shares = TenantShares()
    for tenant, rows in entries:
        shares.entered(tenant, rows)
        assert 0 < shares.limit(tenant, overloaded=True) <= 1.0
        assert len(shares._now) + len(shares._before) <= 2 * WINDOW_EVENTS
