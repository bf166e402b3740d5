"""Fair shares on a virtual clock: what a flood of one tenant does to the others."""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.config.security_settings import TenantSettings
from sedp.daemon.access.fair_share import ACTIVE_NS, NOTE_NS, FairShare
from sedp.daemon.access.quota import SECOND, Use

START_NS = 12_345_678_901_234


def test_while_there_is_room_a_tenant_alone_leaves_an_eighth_for_newcomers() -> None:
    share = FairShare(64)
    assert sum(share.enter("a", 1, START_NS) for _ in range(100)) == 56
    assert share.enter("b", 1, START_NS)


def test_shares_go_by_weight_among_the_active() -> None:
    share = FairShare(120)
    entered: Counter[str] = Counter()
    for _ in range(120):
        for tenant, weight in (("a", 1), ("b", 2), ("c", 3)):
            entered[tenant] += share.enter(tenant, weight, START_NS)
    assert entered == {"a": 20, "b": 40, "c": 60}


def test_a_tenant_that_is_silent_and_outside_has_no_share() -> None:
    share = FairShare(16)
    assert share.enter("b", 1, START_NS)
    assert sum(share.enter("a", 1, START_NS + 1) for _ in range(16)) == 8
    share.leave("b")
    assert not share.enter("a", 1, START_NS + ACTIVE_NS)
    assert sum(share.enter("a", 1, START_NS + ACTIVE_NS + NOTE_NS) for _ in range(16)) == 6


def test_a_tenant_that_is_silent_but_inside_keeps_its_share() -> None:
    share = FairShare(16)
    assert share.enter("b", 1, START_NS)
    assert sum(share.enter("a", 1, START_NS + 10 * ACTIVE_NS) for _ in range(16)) == 8


def test_every_tenant_may_hold_one_however_many_there_are() -> None:
    share = FairShare(8)
    assert all(share.enter(f"t{number}", 1, START_NS) for number in range(50))


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.integers(0, ACTIVE_NS))))
def test_what_is_held_is_what_came_less_what_left(steps: list[tuple[str, bool, int]]) -> None:
    share, held, now_ns = FairShare(6), Counter[str](), START_NS
    for tenant, comes, gap_ns in steps:
        now_ns += gap_ns
        if comes:
            held[tenant] += share.enter(tenant, 1 + ord(tenant) % 3, now_ns)
        elif held[tenant]:
            share.leave(tenant)
            held[tenant] -= 1
        assert share.held == +held
    assert len(share._seen) <= 4
    assert share._weights == pytest.approx(sum(weight for _, weight in share._seen.values()))


@dataclass
class Simulation:
    """One server that takes events in turn, behind the door that the guard keeps.

    Args:
        service_ns: of one event.
        deadline_ns: an event that ends later has failed.
    """

    service_ns: int
    deadline_ns: int
    in_flight_max: int
    limits: Mapping[str, TenantSettings]
    is_shared: bool = True
    asked: Counter[str] = field(default_factory=Counter)
    succeeded: Counter[str] = field(default_factory=Counter)
    waits_ns: dict[str, list[int]] = field(default_factory=dict)

    def run(self, rates: Mapping[str, float], seconds: float, seed: int = 7) -> None:
        """Poisson arrivals at `rates` a second."""
        rng = random.Random(seed)
        uses = {tenant: Use(self.limits.get(tenant, TenantSettings())) for tenant in rates}
        share, inside = FairShare(self.in_flight_max), deque[tuple[int, str]]()
        end_ns = START_NS + int(seconds * SECOND)
        coming = [(START_NS + int(rng.expovariate(r) * SECOND), t) for t, r in rates.items()]
        heapq.heapify(coming)
        free_ns = START_NS
        while coming[0][0] < end_ns:
            now_ns, tenant = coming[0]
            heapq.heapreplace(
                coming, (now_ns + int(rng.expovariate(rates[tenant]) * SECOND), tenant)
            )
            while inside and inside[0][0] <= now_ns:
                gone = inside.popleft()[1]
                uses[gone].leave()
                share.leave(gone)
            self.asked[tenant] += 1
            if uses[tenant].why_not(now_ns) is not None:
                continue
            if not share.enter(tenant, uses[tenant].limits.weight, now_ns) and self.is_shared:
                continue
            if len(inside) >= self.in_flight_max:  # the pipeline refuses
                if share.held[tenant]:
                    share.leave(tenant)
                continue
            uses[tenant].enter(0, now_ns)
            free_ns = max(free_ns, now_ns) + self.service_ns
            inside.append((free_ns, tenant))
            self.waits_ns.setdefault(tenant, []).append(free_ns - now_ns)
            self.succeeded[tenant] += free_ns - now_ns <= self.deadline_ns

    def success(self, tenant: str) -> float:
        return self.succeeded[tenant] / self.asked[tenant]


RATES = {"loud": 10 * 400.0, "quiet": 300.0, "small": 20.0}


def simulate(limits: Mapping[str, TenantSettings], *, is_shared: bool = True) -> Simulation:
    """A server of 1,000 events a second, one tenant far over what it may."""
    simulation = Simulation(SECOND // 1_000, SECOND, 256, limits, is_shared)
    simulation.run(RATES, seconds=30)
    return simulation


def test_ten_times_its_quota_by_one_tenant_moves_no_others_success() -> None:
    simulation = simulate({"loud": TenantSettings(requests_per_second=400)})
    assert simulation.success("quiet") >= 0.999
    assert simulation.success("small") >= 0.999
    assert simulation.success("loud") == pytest.approx(0.1, abs=0.01)


def test_a_flood_without_any_quota_fills_its_own_share_only() -> None:
    """The flood alone is four times what the server can do."""
    simulation = simulate({})
    assert simulation.success("quiet") >= 0.999
    assert simulation.success("small") >= 0.999


def test_without_shares_the_same_flood_would_push_the_others_out() -> None:
    """The control: the two tests above can fail."""
    simulation = simulate({}, is_shared=False)
    assert simulation.success("quiet") < 0.5
    assert simulation.success("small") < 0.5
