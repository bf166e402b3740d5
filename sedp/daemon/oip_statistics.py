"""The statistics extension of the Open Inference Protocol, from the engine's counters.

An event is one inference, whatever number of candidates it brings. The stages of a pipeline may
run side by side, so `queue` and `compute_infer` add up the time spent in all of them; reading and
writing tensors is not measured apart, nothing is cached, and batches are not counted by size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sedp.engine.events import Outcome
from sedp.engine.statistics import EngineStatistics, PipelineStatistics, StageStatistics
from sedp.errors import RequestError

NOTHING = {"count": 0, "ns": 0}


def model_statistics(
    engine: EngineStatistics, version: str, last_ms: Mapping[str, int], name: str | None = None
) -> dict[str, Any]:
    """The answer to a `stats` request.

    Args:
        version: of every pipeline.
        last_ms: Unix time of the last request, by pipeline; those never asked are not there.
        name: of one pipeline; all when `None`.

    Raises:
        RequestError: 404, there are none of that name.
    """
    chosen = [p for p in engine.pipelines if name in (None, p.name)]
    if not chosen and name is not None:
        raise RequestError(f"there are no statistics of pipeline {name!r} yet; try again", 404)
    return {
        "model_stats": [
            _pipeline(p, [s for s in engine.stages if s.pipeline == p.name], version, last_ms)
            for p in chosen
        ]
    }


def _pipeline(
    pipeline: PipelineStatistics,
    stages: list[StageStatistics],
    version: str,
    last_ms: Mapping[str, int],
) -> dict[str, Any]:
    answered = pipeline.outcomes[Outcome.ANSWERED]
    failed = sum(pipeline.outcomes.values()) - answered
    return {
        "name": pipeline.name,
        "version": version,
        "last_inference": last_ms.get(pipeline.name, 0),
        "inference_count": answered,
        "execution_count": max((stage.batches for stage in stages), default=0),
        "inference_stats": {
            "success": {"count": answered, "ns": pipeline.latency_ns.total},
            "fail": {"count": failed, "ns": 0},
            "queue": {
                "count": answered,
                "ns": sum(stage.wait_ns.total for stage in stages),
            },
            "compute_input": NOTHING,
            "compute_infer": {
                "count": answered,
                "ns": sum(stage.service_ns.total for stage in stages),
            },
            "compute_output": NOTHING,
            "cache_hit": NOTHING,
            "cache_miss": NOTHING,
        },
        "batch_stats": [],
        "memory_usage": [],
        "response_stats": {},
    }
