"""From stages to a pipeline: edges follow the columns.

A stage runs as soon as every column it reads exists, so the graph needs no edges of its own:
the stage that provides a column comes before those that require it. Each name is provided once
(by the request or by one stage), hence no order of runs can change an answer. `after` adds an
edge where only a side effect orders two stages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sedp.columns import ColumnSpec, Level, TensorSpec
from sedp.engine.graph import Graph, PipelineNode, StageCare, StageNode, StagePlan
from sedp.pipeline_checks import (
    PipelineError,
    check_after,
    check_dead_ends,
    check_inputs,
    check_outputs,
    check_provided,
    stuck,
)
from sedp.stage import Stage
from sedp.views import ALL_ROWS, View, ViewError, stage_views

REQUEST = -1  # the producer of the columns that arrive with the request
ENGINE = -2  # the producer of those that tell what the engine knows
PRESSURE = "engine.pressure"
ENGINE_COLUMNS = {
    "engine.now_ns": ColumnSpec("INT64", Level.REQUEST),  # when the run was started
    "engine.time_left_ns": ColumnSpec("INT64", Level.REQUEST),  # until the target is used up
    PRESSURE: ColumnSpec("FP32", Level.REQUEST),  # predicted latency of a newcomer by the target
    "engine.tenant": ColumnSpec("INT64", Level.REQUEST),
    "engine.stood_in": ColumnSpec("BOOL", Level.REQUEST),  # fallbacks are among the columns
}


@dataclass(frozen=True, slots=True)
class StageUse:
    """A stage as a pipeline uses it.

    Args:
        stage: the operator.
        plan: its knobs at start.
        executor: `inline`, `thread`, or `auto` to choose by measured service time.
        after: names of stages to wait for although no column comes from them.
        care: what is done when it is slow, fails, or can be done without.
        fallback: values of the columns that stand for its own; 0 for those not named.
    """

    stage: Stage
    plan: StagePlan = field(default_factory=StagePlan)
    executor: str = "auto"
    after: tuple[str, ...] = ()
    care: StageCare = field(default_factory=StageCare)
    fallback: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BoundStage:
    """A stage in its place.

    Args:
        sources: for each column read, the stage (by position in `Pipeline.stages`, or `REQUEST`)
            that provides it; `ENGINE` for what the engine tells.
        provides: types of the columns written.
        view: the rows it works on.
        source_views: for each column read, the rows its source worked on.
        masks: for each stage that narrows any of these, the column that says what goes on.
    """

    name: str
    use: StageUse
    sources: Mapping[str, int]
    inputs: Mapping[str, ColumnSpec]
    provides: Mapping[str, ColumnSpec]
    predecessors: tuple[int, ...]
    view: View = ALL_ROWS
    source_views: Mapping[str, View] = field(default_factory=dict)
    masks: Mapping[int, str] = field(default_factory=dict)
    is_plain: bool = True  # it reads nothing of the engine's, and all rows of everything


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A checked pipeline; `stages` are in topological order.

    Args:
        inputs, outputs: wire tensors by name.
        output_sources: for each output, the stage that provides it.
        rows_max: most item rows a request may bring.
        in_flight_max: most events inside at once.
        deadline_ns: time an event gets when its caller names none.
        target_ns: latency that all but one in a hundred should keep; 0 is none.
        levels: of priority, 1 the highest.
        level_default: of an event whose caller names none.
    """

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    output_sources: Mapping[str, int]
    stages: tuple[BoundStage, ...]
    rows_max: int = 4096
    in_flight_max: int = 1024
    deadline_ns: int = 1_000_000_000
    version: str = "1"
    target_ns: int = 0
    levels: int = 1
    level_default: int = 1


def compile_pipeline(
    name: str,
    inputs: Mapping[str, TensorSpec],
    outputs: Mapping[str, TensorSpec],
    uses: Mapping[str, StageUse],
    *,
    rows_max: int = 4096,
    in_flight_max: int = 1024,
    deadline_ns: int = 1_000_000_000,
    target_ns: int = 0,
    levels: int = 1,
    level_default: int = 1,
) -> Pipeline:
    """Order the stages, bind every column to its source, and check all types.

    Raises:
        PipelineError: missing or doubly provided column, cycle, type mismatch, dead end.
    """
    if not outputs:
        raise PipelineError(f"pipeline {name!r} has no outputs; list one", ("outputs",))
    check_inputs(inputs)
    check_after(uses)
    told = {key: spec for key, spec in ENGINE_COLUMNS.items() if _is_read(key, uses)}
    columns = told | {key: tensor.column for key, tensor in inputs.items()}
    sources = dict.fromkeys(told, ENGINE) | dict.fromkeys(inputs, REQUEST)
    bound: list[BoundStage] = []
    waiting = dict(uses)
    while waiting:
        settled = {stage.name: position for position, stage in enumerate(bound)}
        ready = next((n for n, use in waiting.items() if _is_ready(use, columns, settled)), None)
        if ready is None:
            raise stuck(waiting, columns, settled)
        stage = _bind(ready, waiting.pop(ready), columns, sources, settled)
        for key, spec in stage.provides.items():
            if key in columns:
                owner = "the request" if sources[key] == REQUEST else bound[sources[key]].name
                raise PipelineError(
                    f"stage {ready!r} provides column {key!r}, which {owner} provides already; "
                    "rename one of them",
                    ("stages", ready),
                )
            columns[key], sources[key] = spec, len(bound)
        bound.append(stage)
    stages = tuple(_with_views(bound))
    check_outputs(outputs, columns, sources)
    check_dead_ends(bound, {sources[key] for key in outputs})
    return Pipeline(
        name,
        dict(inputs),
        dict(outputs),
        {key: sources[key] for key in outputs},
        stages,
        rows_max,
        in_flight_max,
        deadline_ns,
        target_ns=target_ns,
        levels=levels,
        level_default=level_default,
    )


def compile_graph(pipelines: Sequence[Pipeline]) -> Graph:
    """Number the stages through all pipelines and keep what the scheduler needs."""
    stages: list[StageNode] = []
    nodes: list[PipelineNode] = []
    for index, pipeline in enumerate(pipelines):
        first = len(stages)
        for position, bound in enumerate(pipeline.stages):
            followers = (
                first + later
                for later, other in enumerate(pipeline.stages)
                if position in other.predecessors
            )
            before = tuple(first + earlier for earlier in bound.predecessors)
            care, asks = bound.use.care, PRESSURE in bound.inputs or bound.use.care.skip_above > 0
            stages.append(
                StageNode(bound.name, index, bound.use.plan, before, tuple(followers), care, asks)
            )
        numbers = tuple(range(first, len(stages)))
        nodes.append(PipelineNode(pipeline.name, numbers, pipeline.in_flight_max))
    return Graph(tuple(nodes), tuple(stages))


def _is_ready(use: StageUse, columns: Mapping[str, ColumnSpec], settled: Mapping[str, int]) -> bool:
    return use.stage.requires.keys() <= columns.keys() and set(use.after) <= settled.keys()


def _bind(
    name: str,
    use: StageUse,
    columns: Mapping[str, ColumnSpec],
    sources: Mapping[str, int],
    settled: Mapping[str, int],
) -> BoundStage:
    read = {key: columns[key] for key in use.stage.requires}
    if read.keys() <= ENGINE_COLUMNS.keys():
        raise PipelineError(
            f"stage {name!r} reads no column, so it has no rows to work on; let it read one",
            ("stages", name),
        )
    for key, want in use.stage.requires.items():
        if want is not None and not want.accepts(read[key]):
            raise PipelineError(
                f"stage {name!r} reads column {key!r} as {want}, but it is {read[key]}; "
                "change the column's type or read another one",
                ("stages", name),
            )
    try:
        provides = dict(use.stage.provides(read))
    except ValueError as err:
        raise PipelineError(f"stage {name!r}: {err}", ("stages", name, "params")) from err
    except Exception as err:  # an author's slip, told with its place in the config
        raise PipelineError(
            f"stage {name!r}: its provides() raised {type(err).__name__}: {err}; mend it there",
            ("stages", name),
        ) from err
    check_provided(name, use, provides)
    before = {sources[key] for key in read} | {settled[other] for other in use.after}
    predecessors = tuple(sorted(before - {REQUEST, ENGINE}))
    return BoundStage(name, use, {key: sources[key] for key in read}, read, provides, predecessors)


def _is_read(column: str, uses: Mapping[str, StageUse]) -> bool:
    return any(column in use.stage.requires for use in uses.values())


def _with_views(bound: Sequence[BoundStage]) -> list[BoundStage]:
    """The stages, each told the rows it works on and those of what it reads."""
    stages = [use.stage for use in (stage.use for stage in bound)]
    turns = [int(stage.narrows is not None) - int(stage.widens) for stage in stages]
    try:
        names = [stage.name for stage in bound]
        before = [stage.predecessors for stage in bound]
        views = stage_views(names, turns, before, [set(stage.sources.values()) for stage in bound])
    except ViewError as err:
        raise PipelineError(str(err), ("stages", names[err.stage])) from err
    masks = {place: stage.narrows for place, stage in enumerate(stages) if stage.narrows}
    told = []
    for stage, view in zip(bound, views, strict=True):
        have = {
            key: views[source] if source >= 0 else ALL_ROWS for key, source in stage.sources.items()
        }
        narrowed = view != ALL_ROWS or any(have.values())
        plain = not narrowed and ENGINE not in stage.sources.values()
        told.append(replace(stage, view=view, source_views=have, masks=masks, is_plain=plain))
    return told
