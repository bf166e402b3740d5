"""When a request really arrived, and how long its answer will lie about: by the loop's turns.

A busy event loop finds many requests at once. Each was sent to us some time during the turn before,
and its answer will be written one turn after it is made; no stage and no queue ever sees either.
Both are as long as the last turn was busy, so a request counts from that much earlier, twice. What
callers see is then kept within a target, not only what the engine sees.
"""

from __future__ import annotations

import asyncio
import time

UNSEEN_TURNS = 2  # before a request is read, and after its answer is made


class TurnClock:
    """That of the running loop.

    Attributes:
        is_on: while it is off, requests count from when they are read, and turns cost nothing.
    """

    __slots__ = ("_arrival_ns", "_busy_ns", "_is_ending", "_is_reading", "_started_ns", "is_on")

    def __init__(self) -> None:
        self.is_on = False
        self._is_reading = False  # requests of this turn are being read
        self._is_ending = False  # they have been; what they have set off has not been done yet
        self._started_ns = 0
        self._busy_ns = 0
        self._arrival_ns = 0

    def arrival_ns(self) -> int:
        """For a request that is just being read; on the monotonic clock."""
        if not self.is_on:
            return time.monotonic_ns()
        if not self._is_reading:
            self._begin()
        return self._arrival_ns

    def _begin(self) -> None:
        now_ns = time.monotonic_ns()
        if self._is_ending:
            self._busy_ns = now_ns - self._started_ns  # the loop had no time to wait for anything
        self._started_ns = now_ns
        self._arrival_ns = now_ns - UNSEEN_TURNS * self._busy_ns
        self._is_reading, self._is_ending = True, False
        asyncio.get_running_loop().call_soon(self._stop_reading)

    def _stop_reading(self) -> None:
        self._is_reading, self._is_ending = False, True
        asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        if self._is_ending:
            self._is_ending = False
            self._busy_ns = time.monotonic_ns() - self._started_ns
