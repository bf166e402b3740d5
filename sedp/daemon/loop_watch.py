"""Watching the event loop from a thread beside it: where it was when it did not turn.

Everything of a serving process waits for its loop, and a call that holds it up for a tenth of a
second is seen nowhere else: no stage and no queue hears of it. So the loop beats, and a thread
sleeps until a beat is overdue; only then it looks at the stack. While all is well neither costs
more than a timer.

A stall is a time without a beat, so its length is known to one beat. What holds the interpreter's
lock holds this thread up, too; it then looks as soon as it can, which is behind that very call.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from dataclasses import dataclass

BEAT_S = 0.02
STALL_NS = 100_000_000
TOLD_GAP_NS = 60_000_000_000  # between two lines; all stalls are counted
FRAMES_MAX = 40  # innermost ones
STACK_CHARS_MAX = 8000
END_S = 1.0  # for the thread, which may be writing a line

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoopStatistics:
    """From the start; `longest_ns` is the length of the longest stall, 0 without any."""

    stalls: int = 0
    longest_ns: int = 0


class LoopWatch:
    """Of the running loop: `begin` on it, and in the end `end`."""

    def __init__(self) -> None:
        self._stalls = 0
        self._longest_ns = 0
        self._beat_ns = 0
        self._told_ns = -TOLD_GAP_NS
        self._timer: asyncio.TimerHandle | None = None
        self._ended = threading.Event()

    def begin(self) -> None:
        """Watch until `end`."""
        self._beat_ns = time.monotonic_ns()
        self._set_timer()
        self._watcher = threading.Thread(
            target=self._watch, args=(threading.get_ident(),), name="sedp-loop-watch", daemon=True
        )
        self._watcher.start()

    def end(self) -> None:
        """Watch no more; nothing when it has ended, or never began."""
        self._ended.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._watcher.join(END_S)

    def statistics(self) -> LoopStatistics:
        """To be asked on the loop: so a stall that is told of is over, and counted."""
        return LoopStatistics(self._stalls, self._longest_ns)

    # On the loop ------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    def _beat(self) -> None:
        now_ns = time.monotonic_ns()
        pause_ns = now_ns - self._beat_ns
        if pause_ns >= STALL_NS:
            self._stalls += 1
            self._longest_ns = max(self._longest_ns, pause_ns)
        self._beat_ns = now_ns
        self._set_timer()

    # In the thread ----------------------------------------------------------------------------

    def _watch(self, thread: int) -> None:
        late_ns = -1  # the last beat before the stall that was looked at last
        while not self._ended.wait(self._left_s(late_ns)):
            beat_ns = self._beat_ns
            if beat_ns != late_ns and time.monotonic_ns() - beat_ns >= STALL_NS:
                late_ns = beat_ns
                self._look(thread, beat_ns)

    def _left_s(self, late_ns: int) -> float:
        """Until the next beat is overdue; while a stall lasts, it has been looked at."""
        beat_ns = self._beat_ns
        left_ns = beat_ns + STALL_NS - time.monotonic_ns()
        return max(0, left_ns) / 1e9 if beat_ns != late_ns else STALL_NS / 1e9

    def _look(self, thread: int, beat_ns: int) -> None:
        now_ns = time.monotonic_ns()
        if now_ns - self._told_ns < TOLD_GAP_NS:
            return
        frame = sys._current_frames().get(thread)
        stack = "".join(traceback.format_stack(frame, FRAMES_MAX))[-STACK_CHARS_MAX:]
        del frame  # and with it all that is in scope there
        self._told_ns = now_ns
        log.warning(
            "the event loop has not turned for %d ms (stalls before: %d, the longest %d ms); it "
            "was at\n%s",
            (now_ns - beat_ns) // 1_000_000,
            self._stalls,
            self._longest_ns // 1_000_000,
            stack,
        )
