"""A table version's rows in RAM that another process keeps: when they are read, and when no more.

Look-ups that end in RAM and those that end in LMDB follow the writer at different times. So that
none gets an older row than one before it, rows in RAM are read only once they are as new as LMDB's
are here; and after they were left nobody looks into LMDB before it is as new as they can have been.
The owner shows nothing that is not committed, so it takes one look at what is.

Should they come back while one looks below, it looks again, in RAM first; after a few times they
are kept away until it is done.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sedp.errors import SedpError, StoreError
from sedp.storage.catalogue import Entry
from sedp.storage.ram.shared_ram import Region, SharedRam
from sedp.storage.ram.tier import RamTier

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
        self._region: Region | None = None  # kept when it is left, for it is costly to map
        self._said = ""
        self._away = 0  # look-ups that want it so
        self._left = self._caught_up = 0  # times
        self.attached = 0  # times; who reads below meanwhile may get newer rows than are here

    def attach(self) -> bool:
        """Read them from now on, and whether they are there; they must be as new as those below."""
        region = self._find()
        with self._lock:
            if region is None or self._away:
                return False
            self.attached += 1
            self._ram.attach(region, self._entry.rows, self._shared.readers)
            return True

    def _find(self) -> Region | None:
        if self._region is None or not self._region.is_shown:
            self._region = None
            try:
                self._region = self._shared.find(self._entry.seed)
                self._said = ""
            except StoreError as err:
                if str(err) != self._said:
                    _log.warning("table %r is read in LMDB: %s", self._entry.spec.name, err)
                self._said = str(err)
        return self._region

    @contextmanager
    def away(self) -> Iterator[None]:
        """They are not attached meanwhile."""
        with self._lock:
            self._away += 1
        try:
            yield
        finally:
            with self._lock:
                self._away -= 1

    def leave(self) -> None:
        """Read them no more, and give up their memory."""
        self._leave()
        self._region = None

    def _leave(self) -> None:
        with self._lock:
            if self._ram.is_followed:
                self._ram.resize(0)
                self._left += 1

    def look_below(self) -> None:
        """To be called before tiers below are read, if RAM had no final answer."""
        self._leave()
        with self._lock:
            left = self._left
        if left == self._caught_up:
            return
        try:
            self._refresh()
        except SedpError as err:
            _log.warning("look-ups may get older rows than before: %s", err)
        self._caught_up = left
