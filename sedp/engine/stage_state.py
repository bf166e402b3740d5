"""The scheduler's memory of one stage and of one pipeline."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from sedp.engine.batcher import ServiceFloor
from sedp.engine.bounded_queue import BoundedQueue
from sedp.engine.event import Event
from sedp.engine.events import NEVER_NS, Outcome
from sedp.engine.graph import PipelineNode, StageNode
from sedp.engine.histogram import Histogram


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
        self.queue = BoundedQueue(node.plan.queue_rows_max)
        self.predecessors: list[StageState] = []
        self.successors: list[StageState] = []
        self.running = 0
        self.again: deque[Event] = deque()
        self.blocked = False  # a batch is due, but a queue behind has no room
        self.timer_ns = NEVER_NS
        self.floor = ServiceFloor()
        self.path_floor_ns = 0  # least time from the start of this stage to the answer
        self.service_ns = Histogram()
        self.batch_rows = Histogram()
        self.batches = self.events = self.rows = self.failures = 0

    @property
    def branches(self) -> int:
        """How many stages must finish an event before this one may take it."""
        return len(self.predecessors)

    def refresh_path_floor(self) -> None:
        """Recompute `path_floor_ns` here and, where that changes it, in the stages before."""
        behind_ns = 0
        for stage in self.successors:
            behind_ns = max(behind_ns, stage.path_floor_ns)
        if self.path_floor_ns != self.floor.ns + behind_ns:
            self.path_floor_ns = self.floor.ns + behind_ns
            for stage in self.predecessors:
                stage.refresh_path_floor()


class PipelineState:
    """Counters of a pipeline; `in_flight` includes ended events that a run still holds."""

    def __init__(self, node: PipelineNode, stages: list[StageState]) -> None:
        self.node = node
        self.stages = stages
        self.entries = [stage for stage in stages if not stage.predecessors]
        self.in_flight = 0
        self.outcomes = [0] * len(Outcome)
        self.latency_ns = Histogram()


@dataclass(slots=True)
class Run:
    """A batch that was started and has not ended."""

    stage: StageState
    events: list[Event]
    rows: int
    started_ns: int
