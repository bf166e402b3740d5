"""SEDA's adaptive admission: a token bucket whose rate follows the 90th percentile of latency.

After 100 events, or a second, the percentile of the latest is smoothed and compared with the
target: above it, the rate is divided by 1.2; well below, it grows by a little. Each level of
priority is a class with a bucket of its own; one that misses the target first cuts those below it
by ten, and itself when there is nothing left to cut. What is adapted: there is one bucket in front
of the pipeline, not one for each stage; and rates begin at their upper bound, as rates that grow
by two requests a second would take minutes to open the door.

Source: Welsh and Culler, "Adaptive Overload Control for Busy Internet Servers", USITS 2003; depth
of the bucket from the published Sandstorm sources.
"""

from __future__ import annotations

from sedp.engine.event import Event
from sedp.engine.events import NEVER_NS, Arrived, Outcome
from sedp.engine.stage_state import PipelineState

SECOND_NS = 1_000_000_000
WINDOW_EVENTS = 100
WINDOW_NS = SECOND_NS
SMOOTHING = 0.7  # weight of what was
DECREASE = 1.2
INCREASE = 2.0  # requests a second, by how far the error is below its threshold
INCREASE_FROM = -0.5  # errors; the rate stays where it is above this one, up to 0
INCREASE_OFFSET = -0.1
LOWER_CLASS_CUT = 10.0
RATE_MIN, RATE_MAX = 0.05, 5000.0  # requests a second
DEPTH = 10.0  # tokens


class Seda:
    """Args: `target_ns` > 0 for the percentile; `levels` ≥ 1 of priority."""

    def __init__(self, target_ns: int, levels: int) -> None:
        self._target_ns = target_ns
        self._classes = [RateClass() for _ in range(levels)]

    def refusal(self, now_ns: int, newcomer: Arrived, pipeline: PipelineState) -> Outcome | None:
        bucket = self._class_of(newcomer.level)
        if newcomer.event < 0:  # only asked whether anybody could pass: takes no token
            return None if bucket.tokens_at(now_ns) >= 1.0 else Outcome.SHED
        return None if bucket.take(now_ns) else Outcome.SHED

    def wait_limit_ns(self, now_ns: int, oldest_wait_ns: int) -> int:
        return NEVER_NS

    def waited(self, now_ns: int, wait_ns: int, events: int) -> None: ...

    def ended(self, now_ns: int, event: Event, outcome: Outcome) -> None:
        own = self._class_of(event.level)
        if own.observe(now_ns, now_ns - event.arrived_ns):
            self._control(own)

    def pressure(self, now_ns: int, pipeline: PipelineState) -> int:
        """The highest percentile of any class by the target; 0 when idle."""
        worst_ns = max(each.percentile_ns for each in self._classes)
        return int(1000 * worst_ns / self._target_ns) if pipeline.in_flight else 0

    def _class_of(self, level: int) -> RateClass:
        return self._classes[min(level, len(self._classes)) - 1]

    def _control(self, own: RateClass) -> None:
        error = (own.percentile_ns - self._target_ns) / self._target_ns
        if error > 0:
            lower = self._classes[self._classes.index(own) + 1 :]
            open_ones = [other for other in lower if other.rate > RATE_MIN]
            for other in open_ones:
                other.rate = max(RATE_MIN, other.rate / LOWER_CLASS_CUT)
            if not open_ones:
                own.rate = max(RATE_MIN, own.rate / DECREASE)
        elif error < INCREASE_FROM:
            own.rate = min(RATE_MAX, own.rate - (error - INCREASE_OFFSET) * INCREASE)


class RateClass:
    """A token bucket, and the latencies of those it let in: at most a window of them."""

    __slots__ = ("_began_ns", "_filled_ns", "_latencies_ns", "_tokens", "percentile_ns", "rate")

    def __init__(self) -> None:
        self.rate = RATE_MAX
        self.percentile_ns = 0.0
        self._tokens = DEPTH
        self._filled_ns = 0
        self._began_ns = 0
        self._latencies_ns: list[int] = []

    def tokens_at(self, now_ns: int) -> float:
        return min(DEPTH, self._tokens + (now_ns - self._filled_ns) / SECOND_NS * self.rate)

    def take(self, now_ns: int) -> bool:
        """Take a token if there is one."""
        self._tokens, self._filled_ns = self.tokens_at(now_ns), now_ns
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def observe(self, now_ns: int, latency_ns: int) -> bool:
        """Note an event's end; whether a window is over and `percentile_ns` is new."""
        self._latencies_ns.append(latency_ns)
        count = len(self._latencies_ns)
        if count < WINDOW_EVENTS and now_ns - self._began_ns < WINDOW_NS:
            return False
        self._latencies_ns.sort()
        latest_ns = self._latencies_ns[count * 9 // 10]
        self.percentile_ns += (latest_ns - self.percentile_ns) * (1 - SMOOTHING)
        self._latencies_ns.clear()
        self._began_ns = now_ns
        return True
