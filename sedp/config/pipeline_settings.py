"""The keys of a pipeline: its tensors, its stages, and their plan.

See `sedp.config.settings` for how these types are used.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sedp.columns import TensorSpec
from sedp.config.units import HOUR, MILLISECOND, SECOND, TextForm, duration

ROWS_MAX = 1 << 20
NAME_PATTERN = "^[a-z0-9][a-z0-9_-]{0,63}$"
COLUMN_PATTERN = "^[A-Za-z_][A-Za-z0-9_.:/-]{0,127}$"

Name = Annotated[
    str,
    Meta(
        pattern=NAME_PATTERN,
        extra={"expected": "a name of a-z, 0-9, _ and -, at most 64 characters"},
    ),
]
ColumnName = Annotated[
    str,
    Meta(
        pattern=COLUMN_PATTERN,
        extra={"expected": "a name of letters, digits and _ . : / -, starting with a letter or _"},
    ),
]


TENSOR = TextForm(
    "tensor",
    "a tensor type like FP32[n] or INT64[1, 8]",
    r"^\s*[A-Z0-9]+\s*\[[^\]]*\]\s*$",
    TensorSpec.parse,
    str,
    TensorSpec,
)
Tensor = Annotated[TensorSpec, TENSOR.meta("Datatype and shape; n stands for the candidates.")]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the sections below."""


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
            10 * SECOND,
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
    params: Annotated[dict[str, Any], Meta(description="Settings of the kind itself.")] = {}
    after: Annotated[
        tuple[Name, ...],
        Meta(
            max_length=64,
            description="Stages to wait for although no column comes from them.",
        ),
    ] = ()

    # Performance
    executor: Annotated[
        Literal["auto", "inline", "thread"],
        Meta(
            description="Where runs happen: in the event loop, in a thread, or whichever measured "
            "service times favour."
        ),
    ] = "auto"
    concurrency: Annotated[int, Meta(ge=1, le=256, description="Runs at the same time.")] = 1
    batch: Annotated[BatchSettings, Meta(description="How rows are joined for one run.")] = (
        msgspec.field(default_factory=BatchSettings)
    )
    queue_rows_max: Annotated[
        int,
        Meta(
            ge=1,
            le=16 * ROWS_MAX,
            description="Rows that may wait. Full means that stages before it pause, and that at "
            "the first stages newcomers are refused.",
        ),
    ] = 16_384


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
