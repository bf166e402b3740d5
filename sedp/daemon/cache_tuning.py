"""The store's RAM, moved while serving: looks, asks the manager, and makes its move.

Every process moves what its own caches have; rows that all workers share stay where they are. What
the manager goes by is a sample of the look-ups, see `sedp.storage.advice.access_log`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import astuple

from sedp.manager.cache_bytes import CacheBytes, CacheSeen, Counts
from sedp.manager.moves import Move, MoveLog
from sedp.memory_room import memory_room
from sedp.storage.access_recording import RecordedStore
from sedp.storage.store import ParameterStore

log = logging.getLogger(__name__)


class CacheTuning:
    """Of one store.

    Args:
        recorded: the same, as its look-ups are recorded.
        least, most: bytes between which its budget of RAM may move.
    """

    def __init__(
        self, store: ParameterStore, recorded: RecordedStore, least: int, most: int
    ) -> None:
        self._ram = store.ram
        self._recorded = recorded
        self._bounds = least, most
        self._decider = CacheBytes(least, most)
        if not store.ram.counts().places:
            log.info("store.ram_bounds: there is nothing to move, no table is in RAM in part")

    @property
    def ram_bytes(self) -> int:
        """In force."""
        return self._ram.bytes

    async def begin_with(self, ram_bytes: int) -> None:
        """Take what was learned, within the bounds and as far as there is room; 0 is nothing."""
        wanted = min(max(ram_bytes, self._bounds[0]), self._bounds[1])
        if not ram_bytes or not self._ram.counts().places:
            return
        wanted = min(wanted, self._ram.bytes + memory_room())
        try:
            await asyncio.to_thread(self._ram.scale, wanted, keeps_rows=False)
        except MemoryError:
            log.warning("store.ram begins with %d: there is no memory for more", self._ram.bytes)

    async def step(self, moves: MoveLog, frozen: bool) -> Move | None:
        """Take a look if one is due, and make the move that follows from it, if any."""
        if frozen:
            self._decider.abandon()
            return None
        now_ns = time.monotonic_ns()
        counts = Counts(*astuple(self._ram.counts()))
        if not counts.places or not self._decider.is_due(now_ns, counts):
            return None
        sizes = self._decider.sizes(self._ram.bytes)
        samples = await asyncio.to_thread(self._recorded.samples)
        ratios = await asyncio.to_thread(self._ram.ratios, samples, sizes)
        found = dict(zip(sizes, ratios or (), strict=False))
        room_bytes = memory_room()
        seen = CacheSeen(now_ns, self._ram.bytes, found, room_bytes)
        move = self._decider.step(seen, moves)
        return await self._make(move, room_bytes, moves) if move else None

    async def _make(self, move: Move, room_bytes: int, moves: MoveLog) -> Move | None:
        after = int(move.after)
        try:
            await asyncio.to_thread(self._ram.scale, after, keeps_rows=room_bytes >= after)
        except MemoryError:
            log.warning("store.ram stays %d: no memory for a copy of its rows", self._ram.bytes)
            self._decider.refuse(move, moves)
            return None
        return move
