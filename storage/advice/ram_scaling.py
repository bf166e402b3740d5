"""The budget of RAM of an open store, moved while it serves, and what other budgets would bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sedp.errors import StoreError
from sedp.storage.advice.access_log import AccessSample
from sedp.storage.advice.division import TierCosts
from sedp.storage.advice.hit_curve import hit_curve
from sedp.storage.ram.line import WAYS
from sedp.storage.ram.state import bytes_per_set
from sedp.storage.tables.versions import TableVersions

COSTS = TierCosts()


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """Of all tables that are not whole in RAM; `places` is a level, the rest counts from opening.

    Args:
        lookups: keys.
        hits: of them, answered by RAM.
        below_ns: what the tiers below RAM take for the others, by their usual costs.
        places: rows that RAM has room for.
    """

    lookups: int = 0
    hits: int = 0
    below_ns: float = 0.0
    places: int = 0


class RamScaling:
    """Safe for threads, but `ratios`, which one at a time may call."""

    def __init__(self, versions: TableVersions) -> None:
        self._versions = versions
        self._seen: dict[str, int] = {}

    @property
    def bytes(self) -> int:
        """The budget in force, of all processes that share it."""
        return self._versions.ram_bytes

    def scale(self, ram_bytes: int, keeps_rows: bool = True) -> None:
        """Change what caches have of the budget; tables that are whole in RAM stay so.

        Look-ups go on meanwhile.

        Args:
            ram_bytes: all of the budget, ≥ 0.
            keeps_rows: those worth most; until they are copied a table's memory is there twice.

        Raises:
            MemoryError: there is no memory for a copy; the budget is what it was.
        """
        self._versions.scale_caches(ram_bytes, keeps_rows)

    def counts(self) -> CacheCounts:
        """Of the current versions."""
        total = CacheCounts()
        for version, share in self._versions.caches(self.bytes):
            tiers = {tier.tier: tier for tier in version.statistics().tiers}
            asked = {name: tier.lookups for name, tier in tiers.items()}
            below_ns = asked.get("lmdb", 0) * COSTS.lmdb_ns + asked["rocksdb"] * COSTS.rocksdb_ns
            total = CacheCounts(
                total.lookups + asked["ram"],
                total.hits + tiers["ram"].hits,
                total.below_ns + below_ns,
                total.places + share.row_sets * WAYS,
            )
        return total

    def ratios(self, samples: Sequence[AccessSample], budgets: Sequence[int]) -> list[float] | None:
        """The share of look-ups that RAM would have answered with each of these budgets, 0..1.

        Args:
            samples: what was asked for lately; of it counts what came since the last call.

        Returns:
            None if there is too little to tell.
        """
        ratios, lookups = np.zeros(len(budgets)), 0
        recent = {sample.table: self._recent(sample) for sample in samples}
        shares = [self._versions.caches(budget) for budget in budgets]
        for same in zip(*shares, strict=True):
            sample = recent.get(same[0][0].spec.name)
            if sample is None:
                continue
            sets = np.array([share.row_sets for _, share in same])
            try:
                curve = hit_curve(sample, [int(rows) for rows in sets * WAYS if rows])
            except StoreError:
                continue
            asked = sample.seen - sample.first_time
            found = [curve.ratio_at(rows) for rows in sets * bytes_per_set(sample.row_bytes)]
            ratios, lookups = ratios + asked * np.array(found), lookups + asked
        return [float(ratio) for ratio in ratios / lookups] if lookups else None

    def _recent(self, sample: AccessSample) -> AccessSample:
        """From the last call on: what was asked for before may not be any more."""
        start = int(np.searchsorted(sample.times, self._seen.get(sample.table, 0)))
        self._seen[sample.table] = sample.seen
        if not start:
            return sample
        keys, times = sample.keys[start:], sample.times[start:]
        dropped = sample.dropped + start if len(keys) else 0
        return replace(sample, keys=keys, times=times, dropped=dropped)
