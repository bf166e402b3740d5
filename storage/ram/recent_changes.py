"""Which keys were changed lately: what a RAM tier must not take from a look-up that began before.

A look-up that found nothing in RAM reads a row below; meanwhile the row is replaced there, and in
RAM, where it is not yet. Were the look-up to put what it read into RAM, the old row would be served
for ever. So it notes how many changes there had been, and what changed since is left out.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from sedp.storage.tier import Keys, Mask

RECENT_KEYS = 1 << 16  # half a second of 100,000 updates a second; slower look-ups put nothing


class RecentChanges:
    """The last 65,536 changed keys, in a ring; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ring: NDArray[np.uint64] = np.empty(RECENT_KEYS, dtype=np.uint64)
        self.count = 0  # of all changes ever

    def add(self, keys: Keys) -> None:
        """These change now."""
        recent = keys[-RECENT_KEYS:]
        with self._lock:
            self.count += len(keys)
            self._ring[_places(self.count - len(recent), self.count)] = recent

    def add_all(self) -> None:
        """Every key there is may have changed."""
        with self._lock:
            self.count += RECENT_KEYS + 1

    def mask_since(self, count: int, keys: Keys) -> Mask:
        """Which of these changed after so many changes; all of them if that is not known."""
        with self._lock:
            if self.count - count > RECENT_KEYS:
                return np.ones(len(keys), dtype=np.bool_)
            changed = self._ring[_places(count, self.count)]
        return np.isin(keys, changed)


def _places(start: int, stop: int) -> NDArray[np.int64]:
    return np.arange(start, stop) % RECENT_KEYS
