"""Runs that share the cores of a machine: each gets the same part, and at most a whole core.

All runs under way go equally fast, so one number tells how far time has come for each of them:
the *progress*, which grows by `min(1, cores / runs)` a nanosecond. A run ends when the progress
has grown by its work since its start; only the next end need be known, and a start or an end
changes but the pace of the progress. So both cost a push or a pop of a heap, however many runs
there are.

The door is one thread that goes before all others, as a thread that mostly sleeps does under a
fair scheduler: while it works there is one core less to share.

Invariant: progress is counted in parts of `PARTS` to the nanosecond, which every number of runs
up to 32 divides: shares are exact, no work is lost or made.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import lcm

from sedp.engine.events import NEVER_NS, AnyStimulus

PARTS = lcm(*range(1, 33))


class Cores:
    """The cores of one simulated machine.

    Args:
        count: how many, ≥ 1.
    """

    def __init__(self, count: int) -> None:
        assert count >= 1, f"{count} cores; a machine has at least one"
        self._count = count
        self._runs: list[tuple[int, int, AnyStimulus]] = []  # by the progress at their end
        self._progress = 0
        self._now_ns = 0
        self._serial = 0
        self._door_until_ns = 0

    def start(self, now_ns: int, work_ns: int, end: AnyStimulus) -> None:
        """Begin a run that takes `work_ns` on a core of its own; `end` says that it is over."""
        self._advance(now_ns)
        self._serial += 1
        heappush(self._runs, (self._progress + work_ns * PARTS, self._serial, end))

    def charge(self, now_ns: int, work_ns: int) -> None:
        """More work for the door."""
        self._advance(now_ns)
        self._door_until_ns = max(self._door_until_ns, now_ns) + work_ns

    def due_ns(self) -> int:
        """When the next run ends if nothing comes between; never when there is none."""
        if not self._runs:
            return NEVER_NS
        # One that is over but not yet taken away may have gone a part of a nanosecond too far.
        left, start_ns = max(0, self._runs[0][0] - self._progress), self._now_ns
        door_ns = self._door_until_ns - start_ns
        if door_ns > 0:
            done = self._grown(door_ns, self._count - 1)
            if done < left:
                left, start_ns = left - done, self._door_until_ns
            else:
                return start_ns + self._time_ns(left, self._count - 1)
        return start_ns + self._time_ns(left, self._count)

    def ended(self, now_ns: int) -> list[AnyStimulus]:
        """Take away the runs that are over by `now_ns` ≤ `due_ns()`, in order."""
        self._advance(now_ns)
        over = []
        while self._runs and self._runs[0][0] <= self._progress:
            over.append(heappop(self._runs)[2])
        return over

    def _advance(self, now_ns: int) -> None:
        start_ns, self._now_ns = self._now_ns, now_ns
        if not self._runs:
            self._progress = 0  # nothing refers to it; the number stays small
            return
        if start_ns < self._door_until_ns:
            free_ns = min(self._door_until_ns, now_ns)
            self._progress += self._grown(free_ns - start_ns, self._count - 1)
            start_ns = free_ns
        self._progress += self._grown(now_ns - start_ns, self._count)

    def _grown(self, time_ns: int, cores: int) -> int:
        """By how much progress grows in some time."""
        runs = len(self._runs)
        return time_ns * PARTS if runs <= cores else time_ns * PARTS * cores // runs

    def _time_ns(self, progress: int, cores: int) -> int:
        """How long some progress takes, in whole nanoseconds."""
        runs = len(self._runs)
        return -(-progress // PARTS) if runs <= cores else -(-progress * runs // (PARTS * cores))
