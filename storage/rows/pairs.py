"""Keys and records as the libraries of the cold tiers take and give them: pairs of `bytes`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice, repeat
from operator import is_not
from typing import cast

import numpy as np

from sedp.storage.tier import Keys, Mask, Rows

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


def join(pairs: Sequence[Pair], record_bytes: int) -> tuple[Keys, Rows, int]:
    """Keys, records (uint8[n, record_bytes]), and how many pairs were left out as misshapen.

    Lengths are looked at one by one only where their sum is wrong. Should two wrong ones make up
    for each other, the records between them are askew, and none passes its checksum.
    """
    size = KEY_BYTES + record_bytes
    joined = b"".join(chain.from_iterable(pairs))
    if len(joined) != size * len(pairs):
        lengths = [KEY_BYTES, record_bytes]
        joined = b"".join(chain(*(pair for pair in pairs if [*map(len, pair)] == lengths)))
    table = np.frombuffer(joined, dtype=np.uint8).reshape(-1, size)
    keys = table[:, :KEY_BYTES].copy().view(">u8").ravel().astype(np.uint64)
    return keys, table[:, KEY_BYTES:].copy(), len(pairs) - len(table)


def join_found(records: Sequence[bytes | None], record_bytes: int) -> tuple[Mask, bytes, int]:
    """Which records are there, those end to end, and how many were left out as misshapen.

    Lengths are looked at as in `join`.
    """
    found = np.ones(len(records), dtype=np.bool_)
    try:
        joined = b"".join(cast("Sequence[bytes]", records))
        if len(joined) == record_bytes * len(records):
            return found, joined, 0
    except TypeError:  # a None, told at no cost where all are there
        found = np.fromiter(map(is_not, records, repeat(None)), np.bool_, len(records))
        joined = b"".join(filter(None, records))
    count = int(np.count_nonzero(found))
    if len(joined) == record_bytes * count:
        return found, joined, 0
    whole = [record if record and len(record) == record_bytes else None for record in records]
    found, joined, _ = join_found(whole, record_bytes)
    return found, joined, count - int(np.count_nonzero(found))


def join_slices(pairs: Iterator[Pair], record_bytes: int) -> Iterator[tuple[Keys, Rows, int]]:
    """`join`, a slice at a time."""
    while part := list(islice(pairs, SLICE_ROWS)):
        yield join(part, record_bytes)
