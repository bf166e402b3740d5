"""Quotas on a virtual clock, of one process and of several."""

from __future__ import annotations

import fcntl
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.config.security_settings import TenantSettings
from sedp.daemon.access.quota import SECOND, Bucket, Place, Use
from sedp.daemon.access.shared_use import PLACES, SharedUse
from sedp.errors import ConfigError

START_NS = 12_345_678_901_234


def let_in(bucket: Bucket, now_ns: int) -> bool:
    if bucket.wait_ns(1, now_ns):
        return False
    bucket.take(1, now_ns)
    return True


@pytest.mark.parametrize("rate", [1, 3, 7, 10, 1_000, 4_097])
def test_a_second_of_requests_may_come_at_once_and_not_one_more(rate: int) -> None:
    bucket = Bucket(rate, Place(), 0)
    came = [let_in(bucket, START_NS) for _ in range(rate + 1)]
    assert came == [True] * rate + [False]


@pytest.mark.parametrize("rate", [0.01, 0.5, 1])
def test_slow_rates_let_one_in_and_the_next_when_its_time_has_come(rate: float) -> None:
    bucket = Bucket(rate, Place(), 0)
    gap_ns = int(SECOND / rate)
    assert let_in(bucket, START_NS)
    assert not let_in(bucket, START_NS + gap_ns - 1)
    assert bucket.wait_ns(1, START_NS) == gap_ns
    assert let_in(bucket, START_NS + gap_ns)


@given(
    rate=st.integers(1, 500),
    gaps_ns=st.lists(st.integers(0, SECOND // 5), min_size=1, max_size=300),
)
def test_a_bucket_agrees_with_a_plain_one(rate: int, gaps_ns: list[int]) -> None:
    """The plain one counts tokens: full at `rate`, refilled as time goes by."""
    bucket = Bucket(rate, Place(), 0)
    tokens, now_ns = rate * SECOND, START_NS
    for gap_ns in gaps_ns:
        now_ns += gap_ns
        tokens = min(rate * SECOND, tokens + gap_ns * rate)
        if abs(tokens - SECOND) < rate * len(gaps_ns):  # rounding of a nanosecond each
            return
        assert let_in(bucket, now_ns) == (tokens >= SECOND)
        tokens -= SECOND * (tokens >= SECOND)


def test_a_body_larger_than_what_is_left_is_let_in_and_paid_for_later() -> None:
    use = Use(TenantSettings(bytes_per_second=1024))
    use.enter(1023, START_NS)
    assert use.why_not(START_NS) is None
    use.enter(10 * 1024, START_NS)
    refused = use.why_not(START_NS)
    assert refused is not None
    assert refused.reason == "bytes"
    assert 9.9 * SECOND < refused.wait_ns < 10.1 * SECOND
    assert use.why_not(START_NS + refused.wait_ns) is None
    assert use.why_not(START_NS + refused.wait_ns - 2 * SECOND) is not None


@pytest.mark.parametrize(("used", "is_open"), [(1023, True), (1024, False), (1025, False)])
def test_bytes_are_used_up_when_a_second_of_them_came_at_once(used: int, is_open: bool) -> None:
    use = Use(TenantSettings(bytes_per_second=1024))
    use.enter(used, START_NS)
    assert (use.why_not(START_NS) is None) == is_open


@pytest.mark.parametrize("most", [1, 2, 5])
def test_so_many_may_be_inside_at_once(most: int) -> None:
    use = Use(TenantSettings(in_flight_max=most))
    for _ in range(most):
        assert use.why_not(START_NS) is None
        use.enter(0, START_NS)
    refused = use.why_not(START_NS)
    assert refused is not None
    assert refused.reason == "in_flight"
    use.leave()
    assert use.why_not(START_NS) is None


def test_new_limits_hold_at_once_for_what_was_used_before() -> None:
    use = Use()
    for _ in range(100):
        use.enter(0, START_NS)
    use.limit(TenantSettings(requests_per_second=50))
    assert use.why_not(START_NS) is None  # without a limit nothing was counted against one
    for _ in range(50):
        use.enter(0, START_NS)
    use.limit(TenantSettings(requests_per_second=50, weight=2))
    refused = use.why_not(START_NS)
    assert refused is not None
    assert refused.reason == "requests"


def test_two_workers_keep_one_quota_together() -> None:
    limits = TenantSettings(requests_per_second=100, in_flight_max=5)
    fd = SharedUse.create(2)
    places = [SharedUse(fd, slot).place("acme") for slot in range(2)]
    first, second = (Use(limits, place) for place in places)
    came = 0
    for turn in range(300):
        use = (first, second)[turn % 2]
        if use.why_not(START_NS) is None:
            use.enter(0, START_NS)
            use.leave()
            came += 1
    assert came == 100
    later_ns = START_NS + 10 * SECOND
    for _ in range(3):
        first.enter(0, later_ns)
    for _ in range(2):
        assert second.why_not(later_ns) is None
        second.enter(0, later_ns)
    for use in (first, second):
        refused = use.why_not(later_ns)
        assert refused is not None
        assert refused.reason == "in_flight"


def test_a_worker_that_starts_anew_forgets_what_the_dead_one_had_inside() -> None:
    fd = SharedUse.create(2)
    dead, other = (SharedUse(fd, slot).place("acme") for slot in range(2))
    dead.hold(7)
    assert other.elsewhere() == 7
    SharedUse(fd, 0)
    assert other.elsewhere() == 0


def test_every_tenant_has_a_place_of_its_own_and_all_workers_find_it() -> None:
    fd = SharedUse.create(1)
    here, there = SharedUse(fd, 0), SharedUse(fd, 0)
    names = [f"tenant-{number}" for number in range(PLACES)]
    for number, name in enumerate(names[:3_000]):
        here.place(name).full_ns[0] = number
    for number, name in reversed(list(enumerate(names[:3_000]))):
        assert there.place(name).full_ns[0] == number
    for name in names[3_000:]:
        here.place(name)
    with pytest.raises(ConfigError, match=f"more than {PLACES} tenants"):
        here.place("one more")


def test_places_are_claimed_by_one_process_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that start together hardly ever meet, so the lock is watched instead."""
    memory, locks = SharedUse(SharedUse.create(1), 0), []

    def watch(fd: int, operation: int) -> None:
        locks.append((operation, sum(tag != 0 for tag in memory._tags)))

    monkeypatch.setattr(fcntl, "lockf", watch)
    memory.place("acme")
    assert locks == [(fcntl.LOCK_EX, 0), (fcntl.LOCK_UN, 1)]


CLAIM = """
import sys
from sedp.daemon.access.shared_use import SharedUse
memory = SharedUse(int(sys.argv[1]), 0)
for number in range(int(sys.argv[2]), 500, 4):
    memory.place(f"tenant-{number}").full_ns[0] += 1 + int(sys.argv[2])
"""


def test_workers_that_start_together_do_not_take_each_others_places() -> None:
    fd = SharedUse.create(1)
    workers = [
        subprocess.Popen([sys.executable, "-c", CLAIM, str(fd), str(part)], pass_fds=[fd])
        for part in range(4)
    ]
    assert [worker.wait() for worker in workers] == [0] * 4
    memory = SharedUse(fd, 0)
    found = [memory.place(f"tenant-{number}").full_ns[0] for number in range(500)]
    assert found == [1, 2, 3, 4] * 125
