"""The scheduler's memory of one stage and of one pipeline."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from sedp.engine.admission import Admission
from sedp.engine.batcher import ServiceFloor
from sedp.engine.bounded_queue import BoundedQueue
from sedp.engine.breaker import Breaker
from sedp.engine.event import Event
from sedp.engine.events import NEVER_NS, Outcome
from sedp.engine.fair_queue import FairQueue
from sedp.engine.fifo_queue import FifoQueue
from sedp.engine.graph import Graph, PipelineNode, StageNode
from sedp.engine.histogram import Histogram
from sedp.engine.pace import Pace

NO_TENANT = -1


class StageState:
    """Queue, running batches and counters of a stage; neighbours are linked as objects.

    Invariants: `running` ≤ the plan's concurrency when a batch starts; `again` holds events of a
    failed batch that will each run alone, so that one poisonous event harms no other.
    """

    def __init__(self, number: int, node: StageNode, bit: int) -> None:
        self.number = number
        self.node = node
        self.bit = bit  # marks this stage in Event.queued
        self.plan = node.plan
        self.care = node.care
        limits_ns = node.care.timeout_ns, node.care.hedge_ns
        self.time_limits_ns = [limit_ns for limit_ns in limits_ns if limit_ns]  # of a run
        self.queue: BoundedQueue = FifoQueue(node.plan.queue_rows_max)
        self.pipeline: PipelineState
        self.admission: Admission | None = None  # that of its pipeline
        self.predecessors: list[StageState] = []
        self.successors: list[StageState] = []
        self.branches = len(node.predecessors)  # that must finish an event before it comes here
        self.running = 0
        self.running_rows = 0
        self.again: deque[Event] = deque()
        self.blocked = False  # a batch is due, but a queue behind has no room
        self.timer_ns = NEVER_NS
        self.floor = ServiceFloor()
        self.path_floor_ns = 0  # least time from the start of this stage to the answer
        self.pace = Pace()
        self.breaker: Breaker | None = None
        if node.care.breaker_share:
            self.breaker = Breaker(node.care.breaker_share, node.care.breaker_pause_ns)
        self.service_ns = Histogram()
        self.batch_rows = Histogram()
        self.batches = self.events = self.rows = self.failures = 0
        self.fallbacks = self.skips = self.timeouts = self.hedges = 0

    def refresh_path_floor(self) -> None:
        """Recompute `path_floor_ns` here and, where that changes it, in the stages before."""
        behind_ns = 0
        for stage in self.successors:
            if stage.path_floor_ns > behind_ns:
                behind_ns = stage.path_floor_ns
        path_ns = self.floor.ns + behind_ns
        if path_ns != self.path_floor_ns:
            self.path_floor_ns = path_ns
            for stage in self.predecessors:
                stage.refresh_path_floor()

    def room_behind(self, head_rows: int) -> int:
        """Rows that every queue behind can take."""
        room = NEVER_NS
        for successor in self.successors:
            rows = successor.queue.room_rows(head_rows)
            if rows < room:
                room = rows
        return room

    def joined(self, events: Iterable[Event]) -> list[Event]:
        """Those of `events` whose last branch into this stage just ended."""
        ready = []
        for event in events:
            join = event.join_at(self.number, self.branches)
            join.unfinished -= 1
            if join.unfinished == 0:
                ready.append(event)
        return ready

    def pressure(self, now_ns: int) -> int:
        """The load as its pipeline's admission sees it, in permille."""
        return 0 if self.admission is None else self.admission.pressure(now_ns, self.pipeline)

    def is_shut(self, now_ns: int) -> bool:
        """Whether its breaker is open."""
        return self.breaker is not None and self.breaker.is_open(now_ns)


class PipelineState:
    """Counters of a pipeline; `in_flight` includes ended events that a run still holds."""

    def __init__(
        self, node: PipelineNode, stages: list[StageState], admission: Admission | None
    ) -> None:
        self.node = node
        self.stages = stages
        for stage in stages:
            stage.pipeline, stage.admission = self, admission
        self.entries = [stage for stage in stages if not stage.predecessors]
        self.guarded = [s for s in stages if s.breaker is not None and not s.care.has_fallback]
        self.admission = admission
        self.rows_low = 1  # what the smaller ones of late arrivals bring
        self.tenant = NO_TENANT  # that of the first event
        self._is_shared = False  # there was an event of another
        self.coming_rows = 0  # let pass at the door, and not arrived; while one more is judged
        self.in_flight = 0
        self.in_flight_max = node.in_flight_max
        self.outcomes = [0] * len(Outcome)
        self.latency_ns = Histogram()

    def note_tenant(self, tenant: int) -> None:
        """An event comes that is not of `tenant`; once there are two, they take turns."""
        if self.tenant == NO_TENANT:
            self.tenant = tenant
        elif not self._is_shared:
            self._is_shared = True
            for stage in self.stages:
                stage.queue = FairQueue(stage.queue)

    def note_rows(self, rows: int) -> None:
        """An event of `rows` rows asks: falls at once to a smaller one, and rises slowly."""
        self.rows_low = min(rows, self.rows_low + ((rows - self.rows_low + 63) >> 6))


def link_stages(graph: Graph) -> list[StageState]:
    """The states of all stages, neighbours linked."""
    stages = [
        StageState(number, node, 1 << graph.pipelines[node.pipeline].stages.index(number))
        for number, node in enumerate(graph.stages)
    ]
    for stage in stages:
        stage.predecessors = [stages[number] for number in stage.node.predecessors]
        stage.successors = [stages[number] for number in stage.node.successors]
    return stages
