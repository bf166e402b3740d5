"""How many cores this process may really use: the scarcer of its cpuset and its CFS quota.

`os.cpu_count()` counts the machine's cores; in a container that may use two of sixty-four it makes
every thread pool far too wide, and the kernel then stops the whole process for most of each period.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

SWITCH_S = 0.0005  # instead of Python's 5 ms, longer than many a request takes


def hand_on_sooner() -> None:
    """Let threads of this process have the interpreter in turn often enough for an event loop."""
    sys.setswitchinterval(SWITCH_S)


def usable_cores(root: Path = Path("/")) -> int:
    """Cores by affinity, or fewer when a control group's quota is lower, rounded down; ≥ 1.

    Rounded up, threads that are all busy would use up the quota before each period ends, and the
    kernel would stop the whole process for the rest of it; what is left over is used by the loop.

    Args:
        root: where `proc` and `sys` are found.
    """
    affinity = len(os.sched_getaffinity(0))
    return min([affinity, *(max(1, math.floor(cores)) for cores in _quotas(root))])


def control_groups(controller: str, root: Path) -> Iterator[Path]:
    """Folders of all groups that this process is in and that may bound it, of both versions.

    A container may see only the top of the path.
    """
    mount = root / "sys/fs/cgroup"
    for line in read_text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:  # version 2: one tree for everything
            yield from _groups(mount, path)
        elif controller in controllers.split(","):
            yield from _groups(mount / controller, path)


def _quotas(root: Path) -> Iterator[float]:
    """The quotas, in cores and > 0, of all control groups that this process is in."""
    for group in control_groups("cpu", root):
        yield from _ratio(read_text(group / "cpu.max"))
        quota, period = group / "cpu.cfs_quota_us", group / "cpu.cfs_period_us"
        yield from _ratio(f"{read_text(quota)} {read_text(period)}")


def _groups(mount: Path, path: str) -> Iterator[Path]:
    """The process's group and all above it."""
    inside = [part for part in path.split("/") if part not in ("", ".", "..")]
    for depth in range(len(inside), -1, -1):
        yield mount.joinpath(*inside[:depth])


def _ratio(text: str) -> Iterator[float]:
    """Quota over period; nothing for `max`, -1, or whatever else is no limit."""
    words = text.split()
    if len(words) == 2 and all(word.isdecimal() and int(word) > 0 for word in words):
        yield int(words[0]) / int(words[1])


def read_text(path: Path) -> str:
    """Of a file of the kernel's; "" if it cannot be read."""
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return ""
