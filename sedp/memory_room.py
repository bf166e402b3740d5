"""How much memory this process may still take: what the machine and its groups have left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sedp.cores import control_groups, read_text

_FILES = (  # of one group: limit, usage, and what of the usage is given back when it is asked for
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def memory_room(root: Path = Path("/")) -> int:
    """Bytes, ≥ 0: the least of what the machine has available and any group below its limit.

    Args:
        root: where `proc` and `sys` are found.
    """
    return max(0, min([_available(root), *_rooms(root)]))


def _available(root: Path) -> int:
    counts = _table(read_text(root / "proc/meminfo").replace(":", " "))
    return counts.get("MemAvailable", 0) << 10


def _rooms(root: Path) -> Iterator[int]:
    for group in control_groups("memory", root):
        for limit_name, usage_name, idle_name in _FILES:
            limit, usage = (read_text(group / name).strip() for name in (limit_name, usage_name))
            if limit.isdecimal() and usage.isdecimal():
                idle = _table(read_text(group / "memory.stat")).get(idle_name, 0)
                yield int(limit) - int(usage) + idle


def _table(text: str) -> dict[str, int]:
    lines = (line.split() for line in text.splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}
