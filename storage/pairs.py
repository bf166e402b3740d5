"""Keys and records as the libraries of the cold tiers take and give them: pairs of `bytes`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from sedp.storage.tier import Keys, Rows

KEY_BYTES = 8
SLICE_ROWS = 1 << 12  # pairs held as Python objects at once: more only feeds the collector

Pair = tuple[bytes, bytes]


def as_key_list(keys: Keys) -> list[bytes]:
    """Eight big-endian bytes a key, so that byte order is number order."""
    listed: list[bytes] = keys.astype(">u8").view(f"V{KEY_BYTES}").tolist()
    return listed


def as_record_list(records: Rows) -> list[bytes]:
    """One `bytes` a record."""
    listed: list[bytes] = records.view(f"V{records.shape[1]}").ravel().tolist()
    return listed


def as_pairs(keys: Keys, records: Rows) -> Iterator[Pair]:
    """One pair a record, made a slice at a time."""
    for start in range(0, len(keys), SLICE_ROWS):
        part = slice(start, start + SLICE_ROWS)
        yield from zip(as_key_list(keys[part]), as_record_list(records[part]), strict=True)


def join(pairs: Sequence[Pair], record_bytes: int) -> tuple[Keys, bytes, int]:
    """The keys, the records end to end, and how many pairs were left out as misshapen."""
    shapely = [pair for pair in pairs if len(pair[1]) == record_bytes and len(pair[0]) == KEY_BYTES]
    keys, records = zip(*shapely, strict=True) if shapely else ((), ())
    numbers = np.frombuffer(b"".join(keys), dtype=">u8").astype(np.uint64)
    return numbers, b"".join(records), len(pairs) - len(shapely)


def join_slices(pairs: Iterator[Pair], record_bytes: int) -> Iterator[tuple[Keys, bytes, int]]:
    """`join`, a slice at a time."""
    while part := list(islice(pairs, SLICE_ROWS)):
        yield join(part, record_bytes)
