"""A cache under a virtual clock: the RAM tier itself, fed a stream, and moved as a daemon would."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sedp.manager.cache_bytes import CacheBytes, CacheSeen, Counts
from sedp.manager.moves import Move, MoveLog
from sedp.manager.observation import SECOND_NS
from sedp.storage.advice.access_log import AccessLog
from sedp.storage.advice.hit_curve import hit_curve
from sedp.storage.ram.line import WAYS
from sedp.storage.ram.tier import RamTier, bytes_per_set

IDS = 200_000
ROW_BYTES = 64
BATCH_KEYS = 2000
BATCHES_S = 5
LMDB_NS = 150.0
GIB = 1 << 30

Stream = Callable[[np.random.Generator, int], NDArray[np.uint64]]


def zipf(alpha: float, ids: int) -> Stream:
    """Draws of ids, of which some are hot."""
    cumulative = np.cumsum(np.arange(1, ids + 1) ** -alpha)
    cumulative /= cumulative[-1]
    order = np.random.default_rng(3).permutation(IDS).astype(np.uint64)
    return lambda rng, count: order[np.searchsorted(cumulative, rng.random(count))]


class CachePlant:
    """`serve` it streams; `log` tells its moves.

    Args:
        ram_bytes: to begin with.
        miss_ns: what a key costs below.
    """

    def __init__(
        self,
        decider: CacheBytes,
        ram_bytes: int,
        miss_ns: float = LMDB_NS,
        room_bytes: int = GIB,
        seed: int = 1,
    ) -> None:
        self.decider = decider
        self.log = MoveLog()
        self.ram_bytes = ram_bytes
        self.room_bytes = room_bytes
        self.now_ns = 0
        self.sizes: list[int] = []  # of each second
        self.hits: list[float] = []
        self.tier = RamTier("ram", 0, self._sets(ram_bytes))
        self._miss_ns = miss_ns
        self._rng = np.random.default_rng(seed)
        self._lookups = self._hits = 0
        self._log = AccessLog("user", IDS, ROW_BYTES, 1 << 17, 1 << 13)

    def serve(self, stream: Stream, seconds: int) -> list[Move]:
        """Some seconds of it; returns the moves that were made."""
        before = self.log.total
        for _ in range(seconds):
            hits = self._hits
            for _ in range(BATCHES_S):
                self._look_up(stream(self._rng, BATCH_KEYS))
            self.hits.append((self._hits - hits) / (BATCHES_S * BATCH_KEYS))
            self.sizes.append(self.ram_bytes)
            self.now_ns += SECOND_NS
            self._look()
        return list(self.log)[len(self.log) - (self.log.total - before) :]

    def _look_up(self, keys: NDArray[np.uint64]) -> None:
        rows, missing = np.empty((len(keys), 0), np.uint8), np.empty(len(keys), np.bool_)
        count = self.tier.get_many(keys, rows, missing)
        self._log.record(keys)
        self._lookups += len(keys)
        self._hits += len(keys) - count
        unknown = np.unique(keys[missing])
        self.tier.put_many(unknown, rows[: len(unknown)])

    def _look(self) -> None:
        below_ns = (self._lookups - self._hits) * self._miss_ns
        counts = Counts(self._lookups, self._hits, below_ns, self.tier.sets * WAYS)
        if not self.decider.is_due(self.now_ns, counts):
            return
        sizes = self.decider.sizes(self.ram_bytes)
        curve = hit_curve(self._log.drain(), [self._sets(size) * WAYS for size in sizes])
        ratios = {size: curve.ratio_at(size) for size in sizes}
        seen = CacheSeen(self.now_ns, self.ram_bytes, ratios, self.room_bytes)
        move = self.decider.step(seen, self.log)
        if move is not None:
            self.ram_bytes = int(move.after)
            self.tier.resize(self._sets(self.ram_bytes))

    @staticmethod
    def _sets(ram_bytes: int) -> int:
        return ram_bytes // bytes_per_set(ROW_BYTES)
