"""The keys of what is done under load: the latency target, who waits, what is tuned, what is left
out.

See `sedp.config.settings` for how these types are used.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sedp.config.section import FilePath, Section
from sedp.units import HOUR, MIB, MILLISECOND, MINUTE, SECOND, TIB, byte_count, duration

LEVELS_MAX = 16
CONCURRENCY_MAX = 256
ROWS_MAX = 1 << 20
QUEUE_ROWS_MAX = 16 * ROWS_MAX
BATCH_WAIT_NS_MAX = 10 * SECOND

AdmissionName = Literal[
    "counters",
    "predicted_wait",
    "seda",
    "aimd",
    "vegas",
    "gradient2",
    "codel",
    "dagor",
    "breakwater",
]
"""Controllers at the door, `counters` being none: bounds of queues and of events inside alone."""

Executor = Literal["auto", "inline", "thread"]
"""Where a stage runs: in the event loop, in a thread, or wherever it is measured to be better."""

_PAIR = Meta(min_length=2, max_length=2, extra={"expected": "a pair [least, most]"})
Counts = Annotated[tuple[Annotated[int, Meta(ge=1, le=CONCURRENCY_MAX)], ...], _PAIR]
RowCounts = Annotated[tuple[Annotated[int, Meta(ge=1, le=ROWS_MAX)], ...], _PAIR]
QueueRows = Annotated[tuple[Annotated[int, Meta(ge=1, le=QUEUE_ROWS_MAX)], ...], _PAIR]
Waits = Annotated[
    tuple[Annotated[int, duration(0, BATCH_WAIT_NS_MAX, "How long to wait.")], ...], _PAIR
]

Sizes = Annotated[tuple[Annotated[int, byte_count(MIB, TIB, "How many bytes.")], ...], _PAIR]


class SloSettings(Section, frozen=True, kw_only=True):
    """What callers were promised; everything below steers by it."""

    p99_ns: Annotated[
        int,
        duration(MILLISECOND, HOUR, "Latency that 99 of 100 answers should keep."),
    ] = msgspec.field(name="p99")
    isolate_tenants: Annotated[
        bool,
        Meta(
            description="Refuse what a greedy tenant asks for beyond an equal part, unless the "
            "pipeline is nearly idle: the others' latency then hardly moves, and not only stays "
            "within the target. Much of that excess is refused though it could be answered."
        ),
    ] = False


class PrioritySettings(Section, frozen=True, kw_only=True):
    """Levels of importance; those with higher numbers are refused first."""

    levels: Annotated[
        int, Meta(ge=1, le=LEVELS_MAX, description="How many there are; 1 is the most important.")
    ] = 1
    default: Annotated[
        int,
        Meta(ge=1, le=LEVELS_MAX, description="Level of requests that bring no priority."),
    ] = 1


class TuningSettings(Section, frozen=True, kw_only=True):
    """Knobs of the stages are moved in small steps, within their bounds, towards the target."""

    enabled: Annotated[
        bool, Meta(description="false keeps this section, and the knobs where they are.")
    ] = True
    every_ns: Annotated[
        int,
        duration(
            100 * MILLISECOND,
            10 * MINUTE,
            "Time between two looks; the shortest of all pipelines counts.",
        ),
    ] = msgspec.field(default=SECOND, name="every")
    plan: Annotated[
        FilePath | None,
        Meta(
            description="File of knobs to start from, if it is there, and to write what was "
            "learned to; a relative path starts at this file's folder."
        ),
    ] = None


class BreakerSettings(Section, frozen=True, kw_only=True):
    """When so many of its last runs failed, a stage is left alone for a while."""

    share: Annotated[
        float, Meta(gt=0, le=1, description="Of the last 20 runs; that many failures open it.")
    ] = 0.5
    pause_ns: Annotated[
        int,
        duration(10 * MILLISECOND, HOUR, "How long before one run is tried again."),
    ] = msgspec.field(default=SECOND, name="pause")


class BoundsSettings(Section, frozen=True, kw_only=True):
    """How far tuning may move the knobs of a stage, from least to most."""

    concurrency: Annotated[
        Counts | None, Meta(description="Runs at once; null is 1 to 8 a core, at most 64.")
    ] = None
    batch_rows: Annotated[
        RowCounts | None,
        Meta(description="Rows joined for one run; null is 1 to 65536."),
    ] = None
    batch_wait: Annotated[
        Waits | None,
        Meta(description="Wait for company; null is 0ms to a quarter of the target."),
    ] = None
    queue_rows: Annotated[
        QueueRows | None,
        Meta(description="Rows waiting; null is the pipeline's rows_max to 1048576."),
    ] = None
    executors: Annotated[
        Annotated[tuple[Executor, ...], Meta(min_length=1, max_length=3)] | None,
        Meta(description="Where runs may happen; null is where the stage's executor says."),
    ] = None
