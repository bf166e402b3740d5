"""The statistics extension of the Open Inference Protocol, from the engine's counters.

An event is one inference, whatever number of candidates it brings. The stages of a pipeline may
run side by side, so `queue` and `compute_infer` add up the time spent in all of them; reading and
writing tensors is not measured apart, nothing is cached, and batches are not counted by size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sedp.engine.events import Outcome
from sedp.engine.statistics import EngineStatistics, PipelineStatistics, StageStatistics

NOTHING = {"count": 0, "ns": 0}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A pipeline that is loaded.

    Args:
        asked_ms: Unix time of its last request, 0 before the first.
    """

    version: str
    asked_ms: int


def model_statistics(
    engine: EngineStatistics, loaded: Mapping[str, Loaded], name: str | None = None
) -> dict[str, Any]:
    """The answer to a `stats` request.

    Args:
        loaded: by name; of other pipelines nothing is told.
        name: of one pipeline; all when `None`.
    """
    return {
        "model_stats": [
            {
                "name": pipeline.name,
                "version": loaded[pipeline.name].version,
                "last_inference": loaded[pipeline.name].asked_ms,
                **_counts(pipeline, [s for s in engine.stages if s.pipeline == pipeline.name]),
            }
            for pipeline in engine.pipelines
            if pipeline.name in loaded and name in (None, pipeline.name)
        ]
    }


def _counts(pipeline: PipelineStatistics, stages: list[StageStatistics]) -> dict[str, Any]:
    answered = pipeline.outcomes[Outcome.ANSWERED]
    failed = sum(pipeline.outcomes.values()) - answered
    queue_ns = sum(stage.wait_ns.total for stage in stages)
    infer_ns = sum(stage.service_ns.total for stage in stages)
    return {
        "inference_count": answered,
        "execution_count": max(stage.batches for stage in stages),
        "inference_stats": {
            "success": {"count": answered, "ns": pipeline.latency_ns.total},
            "fail": {"count": failed, "ns": 0},
            "queue": {"count": answered, "ns": queue_ns},
            "compute_input": NOTHING,
            "compute_infer": {"count": answered, "ns": infer_ns},
            "compute_output": NOTHING,
            "cache_hit": NOTHING,
            "cache_miss": NOTHING,
        },
        "batch_stats": [],
    }
