"""A group of processes with a limit of memory, file pages included; only root may make one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOTS = (  # of the memory controller, version 1 and 2, and the file of its limit
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max"),
)


@contextmanager
def confined(limit_bytes: int) -> Iterator[Path | None]:
    """The file to write a process's number to; None where no group can be made.

    The processes must have ended when this does.
    """
    group = _make(limit_bytes)
    try:
        yield None if group is None else group / "cgroup.procs"
    finally:
        if group is not None:
            group.rmdir()


def _make(limit_bytes: int) -> Path | None:
    for root, limit in ROOTS:
        group = root / f"sedp-bench-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            with (group / limit).open("r+") as file:  # which is not to be made where it is not
                file.write(str(limit_bytes))
        except OSError:
            group.rmdir()
        else:
            return group
    return None
