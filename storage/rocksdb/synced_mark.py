"""How far the writes go that are on disk: what is opened later must reach as far.

Of a log or a list of files that was cut short or damaged RocksDB takes what comes before for all
there is (it has to: so ends a log after a power cut), and would serve older rows without a word. So
the number of the last write that was synced stands in a file beside its own. That file is written
after the sync, and not synced itself: after a power cut it may name an earlier write, never one
that is not there.
"""

from __future__ import annotations

import logging
import os
import struct
import zlib
from pathlib import Path

FILE = "synced"  # in RocksDB's folder, which leaves alone what it does not know
_NUMBER, _CHECKSUM = struct.Struct("<Q"), struct.Struct("<L")

_log = logging.getLogger(__name__)


class SyncedMark:
    """Of the database in `folder`; numbers are RocksDB's sequence numbers."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE

    def read(self) -> int:
        """Of the last write that was noted; 0 if none was, or what is there is damaged."""
        try:
            data = self.file.read_bytes()
        except FileNotFoundError:
            return 0
        except OSError as err:
            _log.warning("%s is not read, so lost writes may go unnoticed: %s", self.file, err)
            return 0
        number = data[: _NUMBER.size]
        if len(number) < _NUMBER.size or data[_NUMBER.size :] != _checksum(number):
            _log.warning("%s is damaged, so lost writes may go unnoticed", self.file)
            return 0
        return int(_NUMBER.unpack(number)[0])

    def put(self, number: int) -> None:
        """This write is on disk; 0 is none. Where it is not noted, its loss would go unnoticed."""
        if not number:
            return
        data = _NUMBER.pack(number)
        try:
            file = os.open(self.file, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                os.pwrite(file, data + _checksum(data), 0)
            finally:
                os.close(file)
        except OSError as err:
            _log.warning("%s is not written, so lost writes may go unnoticed: %s", self.file, err)


def _checksum(number: bytes) -> bytes:
    return _CHECKSUM.pack(zlib.crc32(number))
