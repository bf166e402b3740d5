"""The keys of a pipeline: its tensors, its stages, and their plan.

See `sedp.config.settings` for how these types are used.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from sedp.columns import TensorSpec
from sedp.config.manager_settings import (
    BATCH_WAIT_NS_MAX,
    CONCURRENCY_MAX,
    QUEUE_ROWS_MAX,
    ROWS_MAX,
    AdmissionName,
    BoundsSettings,
    BreakerSettings,
    Executor,
    PrioritySettings,
    SloSettings,
    TuningSettings,
)
from sedp.config.section import ColumnName, Name, Section
from sedp.units import HOUR, MILLISECOND, SECOND, TextForm, duration

TENSOR = TextForm(
    "tensor",
    "a tensor type like FP32[n] or INT64[1, 8]",
    r"^\s*[A-Z0-9]+\s*\[[^\]]*\]\s*$",
    TensorSpec.parse,
    str,
    TensorSpec,
)
Tensor = Annotated[TensorSpec, TENSOR.meta("Datatype and shape; n stands for the candidates.")]


class BatchSettings(Section, frozen=True, kw_only=True):
    """How a stage joins the rows of several events for one run."""

    rows_max: Annotated[
        int,
        Meta(
            ge=1,
            le=ROWS_MAX,
            description="Rows joined for one run; a larger event runs alone, never split.",
        ),
    ] = 1024
    wait_ns: Annotated[
        int,
        duration(
            0,
            BATCH_WAIT_NS_MAX,
            "How long the oldest event may wait for company; 0ms never waits. Raise it only when "
            "a stage is much faster per row in large batches.",
        ),
    ] = msgspec.field(default=0, name="wait")


class StageSettings(Section, frozen=True, kw_only=True):
    """One stage: its kind, its own params, and its plan."""

    # Behaviour
    kind: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=256,
            description="Name of an installed stage kind, or module:Class; modules are also "
            "looked for in this file's folder.",
        ),
    ]
    params: Annotated[dict[str, Any], Meta(description="Settings of the kind itself.")] = (
        msgspec.field(default_factory=dict)
    )
    after: Annotated[
        tuple[Name, ...],
        Meta(
            max_length=64,
            description="Stages to wait for although no column comes from them.",
        ),
    ] = ()
    timeout_ns: Annotated[
        int,
        duration(
            0,
            HOUR,
            "How long a run may take before its events go on with the fallback, or end; 0s waits "
            "for ever.",
        ),
    ] = msgspec.field(default=0, name="timeout")
    fallback: Annotated[
        Annotated[dict[ColumnName, bool | int | float], Meta(max_length=256)] | None,
        Meta(
            description="Values of the stage's columns where it timed out, is skipped or left "
            "alone; columns that are not named are 0. Such answers are marked degraded.",
        ),
    ] = None
    skip_above: Annotated[
        float,
        Meta(
            ge=0,
            le=10,
            description="Pressure (predicted latency by target) from which the stage is skipped; "
            "0 never skips. Needs a fallback.",
        ),
    ] = 0.0
    breaker: Annotated[
        BreakerSettings | None,
        Meta(description="Leave the stage alone for a while when most of its runs fail."),
    ] = None

    # Performance
    hedge_ns: Annotated[
        int,
        duration(
            0,
            HOUR,
            "How long a run may take before the same is started a second time; 0s never.",
        ),
    ] = msgspec.field(default=0, name="hedge")
    executor: Annotated[
        Executor,
        Meta(
            description="Where runs happen: in the event loop, in a thread, or whichever measured "
            "service times favour."
        ),
    ] = "auto"
    concurrency: Annotated[
        int, Meta(ge=1, le=CONCURRENCY_MAX, description="Runs at the same time.")
    ] = 1
    batch: Annotated[BatchSettings, Meta(description="How rows are joined for one run.")] = (
        msgspec.field(default_factory=BatchSettings)
    )
    queue_rows_max: Annotated[
        int,
        Meta(
            ge=1,
            le=QUEUE_ROWS_MAX,
            description="Rows that may wait. Full means that stages before it pause, and that at "
            "the first stages newcomers are refused.",
        ),
    ] = 16_384
    bounds: Annotated[
        BoundsSettings | None,
        Meta(description="How far tuning may move the knobs; null takes wide ones."),
    ] = None


class PipelineSettings(Section, frozen=True, kw_only=True):
    """One pipeline: what a request brings, what the answer holds, and the stages between."""

    # Behaviour
    inputs: Annotated[
        dict[ColumnName, Tensor],
        Meta(min_length=1, max_length=256, description="Tensors of a request, by name."),
    ]
    outputs: Annotated[
        dict[ColumnName, Tensor],
        Meta(min_length=1, max_length=256, description="Tensors of the answer, by name."),
    ]
    deadline_ns: Annotated[
        int,
        duration(MILLISECOND, HOUR, "Time an event gets when its caller names none."),
    ] = msgspec.field(default=SECOND, name="deadline")
    rows_max: Annotated[
        int, Meta(ge=1, le=ROWS_MAX, description="Most candidates one request may bring.")
    ] = 4096
    slo: Annotated[
        SloSettings | None,
        Meta(description="The latency target, for admission, tuning and what is skipped."),
    ] = None
    admission: Annotated[
        AdmissionName | None,
        Meta(
            description="Who decides at the door; null is predicted_wait with an slo, and "
            "counters without."
        ),
    ] = None
    priorities: Annotated[
        PrioritySettings, Meta(description="Who is refused first when not all can be answered.")
    ] = msgspec.field(default_factory=PrioritySettings)
    user: Annotated[
        ColumnName | None,
        Meta(
            description="Input that says whose request it is: within a level the same users are "
            "refused for an hour, not every request by chance."
        ),
    ] = None
    stages: Annotated[
        dict[Name, StageSettings],
        Meta(
            min_length=1,
            max_length=64,
            description="Stages by name, in any order: columns decide who runs after whom.",
        ),
    ]

    # Performance
    in_flight_max: Annotated[
        int,
        Meta(
            ge=1,
            le=65_536,
            description="Most events inside at once; more are refused at the door.",
        ),
    ] = 1024
    tuning: Annotated[
        TuningSettings | None,
        Meta(description="Move the stages' knobs while serving; null leaves them. Needs an slo."),
    ] = None
