"""What the last updates are known as, so that one that is sent again is not applied again."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from sedp.storage.rocksdb.database import RocksDatabase

IDS_MAX = 1 << 16  # remembered
_NUMBER = struct.Struct("<Q")


class Ids:
    """What the last updates are known as, and their epochs, in a ring of fixed size in RocksDB."""

    def __init__(self, truth: RocksDatabase) -> None:
        self._epochs: dict[str, int] = {}
        self._slots: dict[int, str] = {}
        self._next = 0
        for slot in range(IDS_MAX):
            data = truth.get_meta(_slot_key(slot))
            if data is None:
                break
            self._keep(slot, data[_NUMBER.size * 2 :].decode(), _NUMBER.unpack_from(data)[0])
            order = _NUMBER.unpack_from(data, _NUMBER.size)[0]
            self._next = max(self._next, order + 1)

    def epoch_of(self, name: str) -> int | None:
        """The epoch an id was committed in, None if it is not remembered."""
        return self._epochs.get(name) if name else None

    def records(self, names: Sequence[str], epoch: int) -> list[tuple[bytes, bytes]]:
        """What to write to RocksDB so that these ids are remembered for ever."""
        return [
            (
                _slot_key(number % IDS_MAX),
                _NUMBER.pack(epoch) + _NUMBER.pack(number) + name.encode(),
            )
            for number, name in enumerate(names, self._next)
        ]

    def remember(self, names: Sequence[str], epoch: int) -> None:
        """Know these ids, whose records are written, from now on."""
        for name in names:
            self._keep(self._next % IDS_MAX, name, epoch)
            self._next += 1

    def _keep(self, slot: int, name: str, epoch: int) -> None:
        self._epochs.pop(self._slots.get(slot, ""), None)
        self._slots[slot], self._epochs[name] = name, epoch


def _slot_key(slot: int) -> bytes:
    return b"update/%05d" % slot
