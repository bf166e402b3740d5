"""SEDA's thread-pool and batching controllers, as a baseline behind the tuner's port.

Thread pool: every two seconds a stage whose queue is longer than a threshold gets one thread more,
up to a maximum; threads idle for five seconds go. Batching: the factor is lowered as long as the
output rate holds, raised a little when it falls, and set to its maximum when load drops suddenly:
the smallest batch that keeps the throughput. Each stage looks at itself alone, and none at the
latency of the whole.

The paper names period, threshold and idle time; where it names no figure for the batching
controller (steps, smoothing, what is sudden), ours is marked so below.

Source: Welsh, Culler, Brewer, SOSP 2001, §4.2; the controllers' plots in §5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sedp.manager.bounds import Bounds, default_bounds
from sedp.manager.moves import Knob, Move, MoveLog
from sedp.manager.observation import SECOND_NS, Observation, StageKey, StageSeen, interpolate

SAMPLE_NS = 2 * SECOND_NS
QUEUE_EVENTS = 10  # longer: a thread more
IDLE_NS = 5 * SECOND_NS
RATE_SMOOTHING = 0.5  # ours: weight of the newest sample of the output rate
RATE_HOLDS = 0.97  # ours: of the rate before, is no fall
RATE_DROPS = 0.5  # ours: of the rate before, is a sudden drop in load
FACTOR_STEP = 0.9  # ours: down; up is its inverse


class SedaTuner:
    """Both controllers for every stage.

    Args:
        bounds: of stages whose operator gave some.
    """

    def __init__(self, bounds: Mapping[StageKey, Bounds] | None = None) -> None:
        self.log = MoveLog()
        self._bounds = dict(bounds or {})
        self._stages: dict[StageKey, _StageMemory] = {}
        self._sampled_ns: int | None = None

    def step(self, observation: Observation) -> Sequence[Move]:
        due_ns = 0 if self._sampled_ns is None else self._sampled_ns + SAMPLE_NS
        if observation.now_ns < due_ns:
            return []
        self._sampled_ns = observation.now_ns
        targets_ns = {seen.name: seen.target_ns for seen in observation.pipelines}
        moves: list[Move] = []
        for stage in observation.stages:
            target_ns = targets_ns[stage.pipeline]
            if stage.key in self._bounds or target_ns:
                bounds = self._bounds.get(stage.key) or default_bounds(observation.cores, target_ns)
                moves += self._step_stage(observation, stage, bounds)
        return moves

    def _step_stage(
        self, observation: Observation, stage: StageSeen, bounds: Bounds
    ) -> Sequence[Move]:
        memory = self._stages.setdefault(stage.key, _StageMemory())
        plan = stage.plan
        wanted: list[tuple[Knob, int, int, str]] = [
            ("concurrency", plan.concurrency, *memory.pool(observation, stage, bounds)),
            ("batch_rows_max", plan.batch_rows_max, *memory.batch(observation, stage, bounds)),
        ]
        moves = []
        for knob, before, after, reason in wanted:
            if after != before:
                saw = {
                    "queue_events": float(stage.queue_events),
                    "events_s": round(observation.rate_s(stage.events), 1),
                    "stage_wait_p99_ns": float(interpolate(stage.wait_ns, 0.99)),
                }
                move = Move(
                    self.log.total + 1,
                    observation.now_ns,
                    *stage.key,
                    knob,
                    before,
                    after,
                    saw,
                    reason,
                )
                self.log.append(move)
                moves.append(move)
        return moves


class _StageMemory:
    """What the controllers of one stage remember between samples."""

    def __init__(self) -> None:
        self._idle_since_ns: int | None = None
        self._rate_s = 0.0

    def pool(self, observation: Observation, stage: StageSeen, bounds: Bounds) -> tuple[int, str]:
        """The threads to have, and why."""
        low, high = bounds.concurrency
        slots, now_ns = stage.plan.concurrency, observation.now_ns
        busy = stage.service_ns.total / observation.window_ns
        if busy > slots - 1:
            self._idle_since_ns = None
        elif self._idle_since_ns is None:
            self._idle_since_ns = now_ns - observation.window_ns
        if stage.queue_events > QUEUE_EVENTS:
            return min(high, slots + 1), f"{stage.queue_events} events wait, of {QUEUE_EVENTS}"
        if self._idle_since_ns is not None and now_ns - self._idle_since_ns > IDLE_NS:
            self._idle_since_ns = None
            return max(low, slots - 1), f"a thread was idle for {IDLE_NS // SECOND_NS} s"
        return slots, ""

    def batch(self, observation: Observation, stage: StageSeen, bounds: Bounds) -> tuple[int, str]:
        """The largest batch to allow, and why."""
        low, high = bounds.batch_rows
        rows = min(stage.plan.batch_rows_max, high)
        rate_s, before_s = observation.rate_s(stage.events), self._rate_s
        self._rate_s += RATE_SMOOTHING * (rate_s - before_s) if before_s else rate_s
        if not stage.events or not before_s:
            return stage.plan.batch_rows_max, ""
        if rate_s < RATE_DROPS * before_s:
            return high, "the load dropped"
        if rate_s < RATE_HOLDS * before_s:
            return min(high, max(rows + 1, round(rows / FACTOR_STEP))), "the output rate fell"
        return max(low, int(rows * FACTOR_STEP)), "the output rate holds"
