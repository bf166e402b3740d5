"""A chain of stages for the simulator, numbers only."""

from __future__ import annotations

from sedp.engine.graph import Graph, PipelineNode, StageNode, StagePlan


def chain(stages: int, plan: StagePlan | None = None, in_flight_max: int = 1024) -> Graph:
    """One pipeline whose stages follow each other, all with the same plan."""
    nodes = tuple(
        StageNode(
            f"s{number}",
            0,
            plan or StagePlan(),
            (number - 1,) if number else (),
            (number + 1,) if number + 1 < stages else (),
        )
        for number in range(stages)
    )
    return Graph((PipelineNode("chain", tuple(range(stages)), in_flight_max),), nodes)
