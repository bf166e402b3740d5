"""The plan file: knobs to start from, and what was learned about costs, in YAML.

Whole numbers with their unit in the key, since the file is written by the daemon and only read by
people. Reading refuses what it does not know: a misspelt knob must not pass for a default.

Invariant: reading what was written gives an equal plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from sedp.engine.graph import StagePlan
from sedp.errors import ConfigError
from sedp.manager.cost_model import Cost
from sedp.manager.observation import StageKey

FORMAT = 1
FILE_BYTES_MAX = 1 << 20  # sixteen hundred stages

Positive = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]


class StageEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One stage; costs are of a run alone on its core, and absent until some were learned."""

    concurrency: Annotated[int, Meta(ge=1, le=256)]
    batch_rows_max: Positive
    batch_wait_ns: Annotated[int, Meta(ge=0, le=10_000_000_000)]
    queue_rows_max: Positive
    executor: Annotated[str, Meta(pattern="^(auto|inline|thread)$")] = "auto"
    fixed_cost_ns: Annotated[float, Meta(ge=0)] = 0.0
    row_cost_ns: Annotated[float, Meta(ge=0)] = 0.0
    cost_spread: Annotated[float, Meta(ge=0)] = 0.0
    run_rows: Annotated[float, Meta(ge=0)] = 0.0

    @property
    def plan(self) -> StagePlan:
        return StagePlan(
            self.concurrency, self.batch_rows_max, self.batch_wait_ns, self.queue_rows_max
        )

    @property
    def cost(self) -> Cost | None:
        if not self.run_rows or not self.fixed_cost_ns + self.row_cost_ns:
            return None
        return Cost(self.fixed_cost_ns, self.row_cost_ns, self.cost_spread, self.run_rows)


class PipelineEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One pipeline: events inside at once, and its stages by name."""

    in_flight_max: Annotated[int, Meta(ge=1, le=65_536)]
    stages: dict[str, StageEntry]


class PlanFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything in the file.

    Args:
        written: when, as ISO 8601 text; for people.
        cores: that the process had: with others the plan is a guess.
        cache_bytes: by tier.
    """

    written: str
    cores: Annotated[float, Meta(gt=0)]
    pipelines: dict[str, PipelineEntry]
    cache_bytes: dict[str, Natural] = {}
    format: int = FORMAT

    @property
    def costs(self) -> Mapping[StageKey, Cost]:
        """What was learned, for the tuner to start from."""
        return {
            (pipeline, name): stage.cost
            for pipeline, entry in self.pipelines.items()
            for name, stage in entry.stages.items()
            if stage.cost is not None
        }


def stage_entry(plan: StagePlan, executor: str, cost: Cost | None) -> StageEntry:
    """A stage as the file keeps it."""
    known = cost or Cost(0.0, 0.0, 0.0, 0.0)
    return StageEntry(
        plan.concurrency,
        plan.batch_rows_max,
        plan.batch_wait_ns,
        plan.queue_rows_max,
        executor,
        round(known.fixed_ns, 1),
        round(known.row_ns, 3),
        round(known.spread, 3),
        round(known.rows, 1),
    )


def render_plan(plan: PlanFile) -> bytes:
    """The file's bytes."""
    head = b"# Written by the tuner; read at start. Delete it to start from the config again.\n"
    return head + msgspec.yaml.encode(plan)


def parse_plan(text: bytes, file: str) -> PlanFile:
    """The plan in a file.

    Args:
        file: its name, for messages.

    Raises:
        ConfigError: too large, no YAML, or a key or value that does not belong there.
    """
    mend = "mend it, or delete the file to start from the config"
    if len(text) > FILE_BYTES_MAX:
        size = f"{len(text)} bytes are more than {FILE_BYTES_MAX}"
        raise ConfigError(f"plan file {file}: {size}; delete the file to start from the config")
    try:
        tree = msgspec.yaml.decode(text)
    except (msgspec.DecodeError, RecursionError) as err:
        raise ConfigError(f"plan file {file} is no YAML: {err}; {mend}") from err
    if isinstance(tree, dict) and tree.get("format", FORMAT) != FORMAT:
        found = tree["format"]
        raise ConfigError(f"plan file {file}: format {found!r} must be {FORMAT}; delete the file")
    for where, part, kind in _sections(tree):
        try:
            msgspec.convert(part, kind)
        except msgspec.ValidationError as err:
            raise ConfigError(f"plan file {file}: {where}: {_describe(part, err)}; {mend}") from err
    return msgspec.convert(tree, PlanFile)


def _sections(tree: Any) -> list[tuple[str, Any, Any]]:
    """The innermost sections first: a fault is told with the names around it."""
    sections: list[tuple[str, Any, Any]] = []
    for pipeline, entry in _items(tree, "pipelines"):
        for stage, part in _items(entry, "stages"):
            sections.append((f"pipeline {pipeline!r}, stage {stage!r}", part, StageEntry))
        sections.append((f"pipeline {pipeline!r}", entry, PipelineEntry))
    return [*sections, ("whole file", tree, PlanFile)]


def _items(tree: Any, key: str) -> list[tuple[Any, Any]]:
    part = tree.get(key) if isinstance(tree, dict) else None
    return list(part.items()) if isinstance(part, dict) else []


def _describe(part: Any, err: msgspec.ValidationError) -> str:
    """msgspec's words, with the value that it does not name."""
    words, _, path = str(err).partition(" - at `$.")
    key = path.rstrip("`")
    if isinstance(part, dict) and key in part:
        return f"{key} {part[key]!r}: {words}"
    return words
