"""What one window of serving looked like: the difference of two snapshots of the counters.

Histograms are mergeable, so a window is the later snapshot minus the earlier one, and two windows
are their sum. Invariant: nothing here is smoothed or guessed; that is the models' business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import add, sub

from sedp.engine.events import Outcome
from sedp.engine.graph import Graph, StagePlan
from sedp.engine.histogram import HistogramSnapshot
from sedp.engine.statistics import EngineStatistics, PipelineStatistics, StageStatistics

SECOND_NS = 1_000_000_000
REFUSED = frozenset({"QUEUE_FULL", "SHED"})  # names: neither is any caller's own doing
CALLERS_DOING = frozenset({"CANCELLED", "DRAINING"})

StageKey = tuple[str, str]  # (pipeline, stage): stage names are unique in their pipeline only


@dataclass(frozen=True, slots=True)
class StageSeen:
    """One stage in one window.

    Args:
        plan: its knobs during the window.
        executor: `inline`, `thread` or `auto`.
        predecessors: positions in `Observation.stages`.
        batches, events, rows, failures: in the window.
        queue_rows, queue_events, running: at its end.
        inline: whether its runs were on the event loop, then.
    """

    pipeline: str
    name: str
    plan: StagePlan
    executor: str
    predecessors: tuple[int, ...]
    wait_ns: HistogramSnapshot
    service_ns: HistogramSnapshot
    batch_rows: HistogramSnapshot
    batches: int
    events: int
    rows: int
    failures: int
    queue_rows: int
    queue_events: int
    running: int
    inline: bool = False

    @property
    def key(self) -> StageKey:
        return self.pipeline, self.name


@dataclass(frozen=True, slots=True)
class BytesSeen:
    """What requests of one pipeline took of the door's memory in one window.

    Args:
        bytes_max: that may be in flight, in force.
        ceiling: that the config allows.
        requests, request_bytes: of those that ended.
        stay_ns: of all bytes, added up.
        largest: bytes of one request, ever.
        refused: requests, since too many bytes were in flight.
    """

    bytes_max: int
    ceiling: int
    requests: int
    request_bytes: int
    stay_ns: int
    largest: int
    refused: int


@dataclass(frozen=True, slots=True)
class PipelineSeen:
    """One pipeline in one window.

    Args:
        target_ns: p99 of the latency to be held; 0 is none.
        offered: events that came, whatever became of them, without those who left.
        answered: of which some may be late.
        refused: at the door or shed, since there was no room or no time.
        late: given up at their deadline.
        latency_ns: arrival to answer, answered events only.
        shed: of the refused, those that admission control kept out before queues were full.
        held: what requests took of memory; `None` where it is not counted.
    """

    name: str
    target_ns: int
    offered: int
    answered: int
    refused: int
    late: int
    latency_ns: HistogramSnapshot
    shed: int = 0
    held: BytesSeen | None = None

    @property
    def lost_share(self) -> float:
        """Of what came, how much the pipeline failed to serve; 0..1."""
        return (self.refused + self.late) / self.offered if self.offered > 0 else 0.0

    @property
    def p99_ns(self) -> int:
        return interpolate(self.latency_ns, 0.99)


@dataclass(frozen=True, slots=True)
class Observation:
    """All pipelines of a process in one window.

    Args:
        now_ns: end of the window.
        cores: how many this process may use.
        cpu_ns: processor time of the process in the window; 0 when it was not measured.
    """

    now_ns: int
    window_ns: int
    cores: float
    pipelines: tuple[PipelineSeen, ...]
    stages: tuple[StageSeen, ...]
    cpu_ns: int = 0

    def rate_s(self, count: int) -> float:
        """`count` in the window as a rate per second."""
        return count * SECOND_NS / self.window_ns

    @property
    def running_mean(self) -> float:
        """Runs under way on average (Little's law), over all stages."""
        return sum(stage.service_ns.total for stage in self.stages) / self.window_ns


def observe(
    before: EngineStatistics,
    after: EngineStatistics,
    *,
    graph: Graph,
    targets_ns: Mapping[str, int],
    now_ns: int,
    window_ns: int,
    cores: float,
    executors: Sequence[str] = (),
    inline: Sequence[bool] = (),
    cpu_ns: int = 0,
    held: Mapping[str, BytesSeen] | None = None,
) -> Observation:
    """What happened between two snapshots of the same scheduler.

    Args:
        graph: that the scheduler was made with; its stage order is everybody's.
        targets_ns: by pipeline; a pipeline without one is seen, but not to be tuned.
        executors: one a stage; empty when all are `auto`.
        inline: whether runs are on the event loop, one a stage; empty when `auto` has none there.
        held: what requests took in the window, by pipeline, where it is counted.
    """
    held = held or {}
    executors = executors or ["auto"] * len(graph.stages)
    inline = inline or [executor == "inline" for executor in executors]
    in_order = zip(before.stages, after.stages, graph.stages, executors, inline, strict=True)
    return Observation(
        now_ns,
        window_ns,
        cores,
        tuple(
            _see_pipeline(old, new, targets_ns.get(new.name, 0), held.get(new.name))
            for old, new in zip(before.pipelines, after.pipelines, strict=True)
        ),
        tuple(
            _see_stage(old, new, executor, node.predecessors, is_inline)
            for old, new, node, executor, is_inline in in_order
        ),
        cpu_ns,
    )


def merge(first: Observation, second: Observation) -> Observation:
    """Two windows of the same plan as one; levels, plans, bytes and cores are of the second."""
    return replace(
        second,
        window_ns=first.window_ns + second.window_ns,
        cpu_ns=first.cpu_ns + second.cpu_ns,
        pipelines=tuple(map(_merge_pipelines, first.pipelines, second.pipelines)),
        stages=tuple(map(_merge_stages, first.stages, second.stages)),
    )


def interpolate(histogram: HistogramSnapshot, q: float) -> int:
    """The `q`-quantile, linear inside its bucket: bounds alone jump by an eighth; 0 when empty."""
    rank, seen, lower = q * histogram.count, 0, 0
    for bound, count in zip(histogram.bounds, histogram.counts, strict=False):
        if count and seen + count >= rank:
            return lower + round((bound - lower) * max(0.0, rank - seen) / count)
        seen += count
        lower = bound
    return histogram.bounds[-1] if seen else 0


def share_below(histogram: HistogramSnapshot, value: int) -> float:
    """How many of the values are ≤ `value`, as a share, linear inside a bucket; 0 when empty."""
    below, lower = 0.0, 0
    for bound, count in zip(histogram.bounds, histogram.counts, strict=False):
        if bound > value:
            below += count * (value - lower) / (bound - lower)
            break
        below += count
        lower = bound
    return below / max(1, histogram.count)


def _see_pipeline(
    old: PipelineStatistics, new: PipelineStatistics, target_ns: int, held: BytesSeen | None
) -> PipelineSeen:
    ended = {o.name: new.outcomes[o] - old.outcomes.get(o, 0) for o in new.outcomes}
    own = sum(count for name, count in ended.items() if name not in CALLERS_DOING)
    return PipelineSeen(
        new.name,
        target_ns,
        max(0, own + new.in_flight - old.in_flight),
        ended[Outcome.ANSWERED.name],
        sum(ended.get(name, 0) for name in REFUSED),
        ended[Outcome.DEADLINE.name],
        _combine(sub, new.latency_ns, old.latency_ns),
        ended[Outcome.SHED.name],
        held,
    )


def _see_stage(
    old: StageStatistics,
    new: StageStatistics,
    executor: str,
    predecessors: tuple[int, ...],
    is_inline: bool,
) -> StageSeen:
    return StageSeen(
        new.pipeline,
        new.name,
        new.plan,
        executor,
        predecessors,
        _combine(sub, new.wait_ns, old.wait_ns),
        _combine(sub, new.service_ns, old.service_ns),
        _combine(sub, new.batch_rows, old.batch_rows),
        new.batches - old.batches,
        new.events - old.events,
        new.rows - old.rows,
        new.failures - old.failures,
        new.queue_rows,
        new.queue_events,
        new.running,
        is_inline,
    )


def _merge_pipelines(first: PipelineSeen, second: PipelineSeen) -> PipelineSeen:
    return replace(
        second,
        offered=first.offered + second.offered,
        answered=first.answered + second.answered,
        refused=first.refused + second.refused,
        late=first.late + second.late,
        latency_ns=_combine(add, first.latency_ns, second.latency_ns),
        shed=first.shed + second.shed,
    )


def _merge_stages(first: StageSeen, second: StageSeen) -> StageSeen:
    return replace(
        second,
        wait_ns=_combine(add, first.wait_ns, second.wait_ns),
        service_ns=_combine(add, first.service_ns, second.service_ns),
        batch_rows=_combine(add, first.batch_rows, second.batch_rows),
        batches=first.batches + second.batches,
        events=first.events + second.events,
        rows=first.rows + second.rows,
        failures=first.failures + second.failures,
    )


def _combine(
    operation: Callable[[int, int], int], left: HistogramSnapshot, right: HistogramSnapshot
) -> HistogramSnapshot:
    """Bucket by bucket; both have the same bounds, as all histograms of this engine have."""
    return HistogramSnapshot(
        left.bounds,
        tuple(map(operation, left.counts, right.counts)),
        operation(left.total, right.total),
    )
