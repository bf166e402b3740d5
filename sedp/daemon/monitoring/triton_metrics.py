"""The engine's counters by the names that Triton's dashboards and alerts ask for.

As in the statistics extension, an event is one inference, times add up over all stages, and
reading and writing tensors is not measured apart. Triton's counters do not end in `_total`, so
they are exported without a type, which `rate` does not mind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.metrics_core import GaugeMetricFamily, Metric, UnknownMetricFamily

from sedp.engine.events import Outcome
from sedp.engine.statistics import EngineStatistics, PipelineStatistics, StageStatistics

VERSION = "1"  # of every pipeline: a config has one version of each
US = 1_000  # nanoseconds
REASONS: Mapping[str, tuple[Outcome, ...]] = {
    "REJECTED": (
        Outcome.QUEUE_FULL,
        Outcome.DEADLINE,
        Outcome.DRAINING,
        Outcome.SHED,
        Outcome.QUARANTINED,
    ),
    "CANCELED": (Outcome.CANCELLED,),
    "BACKEND": (Outcome.FAILED, Outcome.UNAVAILABLE),
    "OTHER": (),
}
TEXTS = {
    "request_success": "Inferences answered.",
    "count": "Inferences answered.",
    "exec_count": "Runs of the stage that ran most often.",
    "request_duration_us": "Time of inferences that were answered.",
    "queue_duration_us": "Time queued.",
    "compute_infer_duration_us": "Time of runs.",
    "compute_input_duration_us": "0: not measured apart.",
    "compute_output_duration_us": "0: not measured apart.",
}


def triton_metrics(engine: EngineStatistics) -> Iterator[Metric]:
    """`nv_inference_*`, by model and version."""
    counts = {
        pipeline.name: _counts(pipeline, [s for s in engine.stages if s.pipeline == pipeline.name])
        for pipeline in engine.pipelines
    }
    labels = ("model", "version")
    for name, text in TEXTS.items():
        family = UnknownMetricFamily(f"nv_inference_{name}", text, labels=labels)
        for model, values in counts.items():
            family.add_metric((model, VERSION), values[name])
        yield family
    failures = UnknownMetricFamily(
        "nv_inference_request_failure", "Inferences not answered.", labels=(*labels, "reason")
    )
    pending = GaugeMetricFamily(
        "nv_inference_pending_request_count", "Inferences that wait or run.", labels=labels
    )
    for pipeline in engine.pipelines:
        for reason, outcomes in REASONS.items():
            count = sum(pipeline.outcomes[outcome] for outcome in outcomes)
            failures.add_metric((pipeline.name, VERSION, reason), count)
        pending.add_metric((pipeline.name, VERSION), pipeline.in_flight)
    yield failures
    yield pending


def _counts(pipeline: PipelineStatistics, stages: list[StageStatistics]) -> Mapping[str, int]:
    answered = pipeline.outcomes[Outcome.ANSWERED]
    return {
        "request_success": answered,
        "count": answered,
        "exec_count": max(stage.batches for stage in stages),
        "request_duration_us": pipeline.latency_ns.total // US,
        "queue_duration_us": sum(stage.wait_ns.total for stage in stages) // US,
        "compute_infer_duration_us": sum(stage.service_ns.total for stage in stages) // US,
        "compute_input_duration_us": 0,
        "compute_output_duration_us": 0,
    }
