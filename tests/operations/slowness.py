"""Starts slow clients beside a test, and waits for their end."""

from __future__ import annotations

import select
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from .operated import HERE, Operated


class SlowClients:
    """All connected and under way.

    Args:
        kinds: how many of each; see `slow_clients.py`.
    """

    def __init__(self, process: subprocess.Popen[str], kinds: Mapping[str, int]) -> None:
        self._process = process
        self._kinds = kinds

    def wait_until_cut(self) -> dict[str, list[float]]:
        """By kind, the seconds until each was cut off."""
        after: dict[str, list[float]] = defaultdict(list)
        assert self._process.stdout is not None
        for _ in range(sum(self._kinds.values())):
            kind, seconds = self._process.stdout.readline().split()
            after[kind].append(float(seconds))
        return after

    def one_is_cut(self, within_s: float) -> bool:
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], within_s)[0])


@contextmanager
def slow_clients(daemon: Operated, kinds: Mapping[str, int]) -> Iterator[SlowClients]:
    """Connect them, and leave with all of them in the end."""
    pairs = [str(word) for pair in kinds.items() for word in pair]
    process = subprocess.Popen(
        [sys.executable, str(HERE / "slow_clients.py"), str(daemon.data_port), *pairs],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "connected\n"
        yield SlowClients(process, kinds)
    finally:
        process.kill()
        process.communicate()
