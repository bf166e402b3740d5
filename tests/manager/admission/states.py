"""A pipeline's state, set by hand: what a controller reads at the door."""

from __future__ import annotations

from sedp.engine.event import Event
from sedp.engine.events import NEVER_NS, Arrived
from sedp.engine.graph import Graph, PipelineNode, StageNode, StagePlan
from sedp.engine.stage_state import PipelineState, link_stages


def pipeline_of(edges: tuple[tuple[int, ...], ...], plan: StagePlan | None = None) -> PipelineState:
    """Stages by their predecessors: `((), (0,), (0,), (1, 2))` is a diamond. Idle."""
    successors: list[list[int]] = [[] for _ in edges]
    for number, before in enumerate(edges):
        for other in before:
            successors[other].append(number)
    nodes = tuple(
        StageNode(f"s{number}", 0, plan or StagePlan(), before, tuple(successors[number]))
        for number, before in enumerate(edges)
    )
    node = PipelineNode("p", tuple(range(len(nodes))))
    return PipelineState(node, link_stages(Graph((node,), nodes)), None)


def chain_of(stages: int) -> PipelineState:
    return pipeline_of(tuple((number - 1,) if number else () for number in range(stages)))


def load(pipeline: PipelineState, stage: int, *, queued: int = 0, running: int = 0) -> None:
    """Rows at a stage; events of them are counted as inside."""
    state = pipeline.stages[stage]
    state.queue.rows, state.running_rows = queued, running
    pipeline.in_flight = max(pipeline.in_flight, 1)


def pace(pipeline: PipelineState, stage: int, row_ns: float, batch_ns: float) -> None:
    state = pipeline.stages[stage]
    state.pace.row_ns, state.pace.batch_ns = row_ns, batch_ns


def newcomer(
    event: int = 1,
    *,
    rows: int = 1,
    due_ns: int = NEVER_NS,
    level: int = 1,
    user: int = 0,
    tenant: int = 0,
) -> Arrived:
    return Arrived(event, 0, rows, due_ns=due_ns, level=level, user=user, tenant=tenant)


def event_of(arrived: Arrived, now_ns: int = 0) -> Event:
    return Event(arrived, now_ns, 1)
