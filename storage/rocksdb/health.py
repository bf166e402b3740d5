"""Remembers how writing failed, because the next write may not act as if nothing had happened.

After a failed write or fsync nobody knows what is on disk: the kernel may have thrown the pages
away, and a second fsync that succeeds proves nothing. So writing ends until the store is opened
again, which reads the log anew. A full disk is the exception: it mends, and the database opens its
own files again once there is room.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sedp.errors import StoreError
from sedp.storage.rocksdb.opening import FULL

FREE_BYTES_MIN = 4 << 20  # beside the log, whose rows become a file when it is replayed
# Whoever met that error has noted it. After a full disk the log may fail in any way.
_CONSEQUENCE = "Writer has previous error"


class WriteHealth:
    """Of the database under `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failure = ""
        self.is_full = False  # the disk, at the last write

    @property
    def is_sound(self) -> bool:
        """No write failed since the files were opened."""
        return not (self._failure or self.is_full)

    def check(self) -> None:
        """Raises a StoreError if writing has ended."""
        if self._failure:
            raise StoreError(
                f"store {self._path.parent}: writing ended with a failure of the disk "
                f"({self._failure}); see to the disk, then close the store and open it again"
            )

    def check_room(self) -> None:
        """Raises a StoreError if the files would not fit on the disk when opened again."""
        free = shutil.disk_usage(self._path).free
        needed = FREE_BYTES_MIN + sum(log.stat().st_size for log in self._path.glob("*.log"))
        if free < needed:
            raise StoreError(
                f"store {self._path.parent}: its disk was full, and has {free >> 10:,} KiB free; "
                f"to go on writing takes {needed >> 10:,}; free some space"
            )

    @contextmanager
    def noting(self, *, ends_writing: bool = True) -> Iterator[None]:
        """Remember what the library raises inside: a full disk, or that writing has ended."""
        try:
            yield
        except Exception as err:
            what = str(err)
            if FULL in what:
                self.is_full = True
            elif ends_writing and not self.is_full and _CONSEQUENCE not in what:
                self._failure = what
            raise
