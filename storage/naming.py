"""What the parts of a table version are called in the cold tiers."""

from __future__ import annotations


def entry_name(table: str, version: int, seed: int) -> str:
    """The same in both; unique for ever, thanks to the seed."""
    return f"{table}@{version}-{seed:016x}"
