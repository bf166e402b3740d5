"""The update log: what each commit to the warm tier changed, so that every process can follow.

It lies in the warm tier itself, under rising numbers, and is committed with the rows it speaks of.
Whoever holds rows in RAM reads the entries between two snapshots and forgets those keys. Only the
last entries are kept: a reader that was left behind forgets everything.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sedp.storage.lmdb.warm_version import sign, unsign
from sedp.storage.tier import Keys

ENTRIES_MAX = 1024
ALL_KEYS: Keys = np.empty(0, dtype=np.uint64)  # of a version: any of its rows may have changed
_HEADER = struct.Struct("<HI")  # bytes of the version's name, keys


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened between two snapshots.

    Args:
        keys: rows that changed, by version; of a version with none any row may have.
        has_gap: more happened than the log remembers: every row may have changed.
        catalogue: the versions themselves may have changed.
    """

    keys: Mapping[str, Keys] = field(default_factory=dict)
    has_gap: bool = False
    catalogue: bool = False


ALL_CHANGED = Changes(has_gap=True, catalogue=True)


def encode_entry(keys: Mapping[str, Keys]) -> bytes:
    """One entry; of no keys at all if the catalogue changed."""
    parts = list[bytes]()
    for name, changed in keys.items():
        encoded = name.encode()
        parts += [_HEADER.pack(len(encoded), len(changed)), encoded, changed.tobytes()]
    return sign(b"".join(parts))


def _decode_entry(entry: bytes) -> Iterator[tuple[str, Keys]]:
    at = 0
    while at < len(entry):
        name_bytes, count = _HEADER.unpack_from(entry, at)
        at += _HEADER.size
        name = entry[at : at + name_bytes].decode()
        at += name_bytes
        yield name, np.frombuffer(entry, dtype=np.uint64, count=count, offset=at)
        at += 8 * count


def collect(entries: Iterable[bytes]) -> Changes:
    """All that these entries speak of."""
    keys: dict[str, list[Keys]] = {}
    catalogue = False
    for signed in entries:
        entry = unsign(signed)
        if entry is None:
            return ALL_CHANGED
        catalogue |= not entry
        try:
            for name, changed in _decode_entry(entry):
                keys.setdefault(name, []).append(changed)
        except (ValueError, struct.error):
            return ALL_CHANGED
    return Changes({name: _merged(parts) for name, parts in keys.items()}, catalogue=catalogue)


def _merged(parts: Sequence[Keys]) -> Keys:
    return np.unique(np.concatenate(parts)) if all(map(len, parts)) else ALL_KEYS
