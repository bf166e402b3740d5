"""Single looks into a column family, where the library's iterators do not tell enough."""

from __future__ import annotations

from typing import Any

from sedp.storage.rocksdb.options import scan_options


def last_key(family: Any, below: int) -> int | None:
    """The highest key under a bound; None if there is none."""
    bound = below.to_bytes(8, "big")
    for key in family.keys(backwards=True, from_key=bound, read_opt=scan_options()):
        if key < bound:
            return int.from_bytes(key, "big")
    return None


def is_damaged_behind(family: Any, key: bytes | None) -> bool:
    """Whether what comes after a key, or at the very first, cannot be read."""
    cursor = family.iter(scan_options())
    if key is None:
        cursor.seek_to_first()
    else:
        cursor.seek(key)
        if cursor.valid():
            cursor.next()
    try:
        cursor.status()
    except Exception:  # the library raises nothing more special
        return True
    return False
