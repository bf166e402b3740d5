"""A table version's rows in RAM that another process keeps: when they are read, and when no more.

Look-ups that end in RAM and those that end in LMDB follow the writer at different times. So that
none gets an older row than one before it, rows in RAM are read only once they are as new as LMDB's
are here; and after they were left nobody looks into LMDB before it is as new as they can have been.
The owner shows nothing that is not committed, so it takes one look at what is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sedp.errors import SedpError
from sedp.storage.catalogue import Entry
from sedp.storage.ram_tier import RamTier
from sedp.storage.shared_ram import SharedRam

_log = logging.getLogger(__name__)


class SharedRows:
    """Of one version; safe for threads.

    Args:
        shared: the end of a reader.
        ram: of the version; it is attached, or empty.
        refresh: sees what was committed.
    """

    def __init__(
        self, shared: SharedRam, entry: Entry, ram: RamTier, refresh: Callable[[], None]
    ) -> None:
        self._shared = shared
        self._entry = entry
        self._ram = ram
        self._refresh = refresh
        self._lock = threading.Lock()
        self._left = self._caught_up = 0  # times
        self.attached = 0  # times; who reads below meanwhile may get newer rows than are here

    def attach(self) -> bool:
        """Read them from now on, and whether they are there; they must be as new as those below."""
        region = self._shared.find(self._entry.seed)
        if region is not None:
            self.attached += 1
            self._ram.attach(region, self._entry.rows, self._shared.readers)
        return region is not None

    def leave(self) -> None:
        """Read them no more."""
        with self._lock:
            if self._ram.is_followed:
                self._ram.resize(0)
                self._left += 1

    def look_below(self) -> None:
        """To be called before tiers below are read, if RAM had no final answer."""
        self.leave()
        with self._lock:
            left = self._left
        if left == self._caught_up:
            return
        try:
            self._refresh()
        except SedpError as err:
            _log.warning("look-ups may get older rows than before: %s", err)
        self._caught_up = left
