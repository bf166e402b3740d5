"""How failures look from outside (status and text) and inside (a bounded log).

Callers are told what they can act on and nothing else: no paths, no tracebacks, no addresses. A
poisonous caller must not turn the log into the bottleneck: one traceback per request costs more
than serving it, so lines are rationed and those left out are counted.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sedp.answer import Unanswered
from sedp.engine.events import Outcome

CALLER_GONE = 499  # for logs and counters only: there is nobody left to read it
RETRY_AFTER_S_MAX = 3
NOT_LOADED = "could not be loaded"  # begins a reason
LOG_LINES_BURST = 10
LOG_LINE_GAP_NS = 1_000_000_000  # one line a second once the burst is spent


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a caller is told.

    Args:
        status: HTTP status.
        text: the `error` of the JSON body.
        headers: to be sent along.
    """

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)


_UNANSWERED: Mapping[Outcome, tuple[int, str]] = {
    Outcome.QUEUE_FULL: (503, "the pipeline is full; try again after the seconds in Retry-After"),
    Outcome.DEADLINE: (504, "the deadline passed; allow a longer timeout or send fewer rows"),
    Outcome.CANCELLED: (CALLER_GONE, "the request was cancelled"),
    Outcome.FAILED: (500, "the pipeline failed on this request; its log has the reason"),
    Outcome.DRAINING: (503, "the server is stopping; send the request to another one"),
    Outcome.SHED: (
        503,
        "the pipeline is overloaded and could not have answered in time; try again after the "
        "seconds in Retry-After",
    ),
    Outcome.UNAVAILABLE: (
        503,
        "a part of the pipeline fails and is left alone for a while; try again after the seconds "
        "in Retry-After",
    ),
    Outcome.QUARANTINED: (
        422,  # what callers and proxies do not repeat
        "this very request has failed too often and is not tried again; do not repeat it",
    ),
}


def refuse(err: Unanswered) -> Refusal:
    """What the caller of an unanswered event is told.

    Waits before a retry are spread, so that callers refused together do not come back together.
    """
    status, text = _UNANSWERED[err.outcome]
    wait_s = random.randint(1, RETRY_AFTER_S_MAX)
    return Refusal(status, text, {"Retry-After": str(wait_s)} if status == 503 else {})


class FailureLog:
    """Passes some lines on and counts the rest.

    Args:
        logger: where lines go.
        now_ns: monotonic clock.
    """

    def __init__(
        self, logger: logging.Logger, now_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.lines_left_out = 0
        self._logger = logger
        self._now_ns = now_ns
        self._full_ns = now_ns()  # when the ration will be whole again
        self._left_out_before = 0

    def write(self, text: str, error: BaseException | None = None) -> None:
        """Log a warning, with a traceback when `error` is given, unless the ration is spent."""
        now_ns = self._now_ns()
        full_ns = max(self._full_ns, now_ns) + LOG_LINE_GAP_NS
        if full_ns - now_ns > LOG_LINES_BURST * LOG_LINE_GAP_NS:
            self.lines_left_out += 1
            return
        self._full_ns = full_ns
        left_out = self.lines_left_out - self._left_out_before
        self._left_out_before = self.lines_left_out
        note = f" ({left_out} lines left out before this one)" if left_out else ""
        self._logger.warning("%s%s", text, note, exc_info=error)


def what_callers_see(reason: str) -> str:
    """Of why a pipeline is not loaded: what an exception said may hold paths, for operators alone.

    Args:
        reason: as the index of the admin plane has it.
    """
    return f"{NOT_LOADED}; the log says why" if reason.startswith(NOT_LOADED) else reason
