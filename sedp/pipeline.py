"""From stages to a pipeline: edges follow the columns.

A stage runs as soon as every column it reads exists, so the graph needs no edges of its own:
the stage that provides a column comes before those that require it. Each name is provided once
(by the request or by one stage), hence no order of runs can change an answer. `after` adds an
edge where only a side effect orders two stages.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sedp.columns import ANY, DTYPES, ColumnSpec, TensorSpec
from sedp.engine.graph import Graph, PipelineNode, StageNode, StagePlan
from sedp.stage import Stage

REQUEST = -1  # the producer of the columns that arrive with the request


class PipelineError(ValueError):
    """The stages do not fit together.

    Args:
        message: thing, value and mend.
        at: where in the pipeline's own description, e.g. `("stages", "rank", "params")`.
    """

    def __init__(self, message: str, at: tuple[str, ...]) -> None:
        super().__init__(message)
        self.at = at


@dataclass(frozen=True, slots=True)
class StageUse:
    """A stage as a pipeline uses it.

    Args:
        stage: the operator.
        plan: its knobs at start.
        executor: `inline`, `thread`, or `auto` to choose by measured service time.
        after: names of stages to wait for although no column comes from them.
    """

    stage: Stage
    plan: StagePlan = field(default_factory=StagePlan)
    executor: str = "auto"
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BoundStage:
    """A stage in its place.

    Args:
        sources: for each column read, the stage (by position in `Pipeline.stages`, or `REQUEST`)
            that provides it.
        provides: types of the columns written.
    """

    name: str
    use: StageUse
    sources: Mapping[str, int]
    inputs: Mapping[str, ColumnSpec]
    provides: Mapping[str, ColumnSpec]
    predecessors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A checked pipeline; `stages` are in topological order.

    Args:
        inputs, outputs: wire tensors by name.
        output_sources: for each output, the stage that provides it.
        rows_max: most item rows a request may bring.
        in_flight_max: most events inside at once.
        deadline_ns: time an event gets when its caller names none.
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


def compile_pipeline(
    name: str,
    inputs: Mapping[str, TensorSpec],
    outputs: Mapping[str, TensorSpec],
    uses: Mapping[str, StageUse],
    *,
    rows_max: int = 4096,
    in_flight_max: int = 1024,
    deadline_ns: int = 1_000_000_000,
) -> Pipeline:
    """Order the stages, bind every column to its source, and check all types.

    Raises:
        PipelineError: missing or doubly provided column, cycle, type mismatch, dead end.
    """
    if not outputs:
        raise PipelineError(f"pipeline {name!r} has no outputs; list one", ("outputs",))
    _check_after(uses)
    columns = {key: tensor.column for key, tensor in inputs.items()}
    sources = dict.fromkeys(inputs, REQUEST)
    bound: list[BoundStage] = []
    waiting = dict(uses)
    while waiting:
        settled = {stage.name: position for position, stage in enumerate(bound)}
        ready = next((n for n, use in waiting.items() if _is_ready(use, columns, settled)), None)
        if ready is None:
            raise _stuck(waiting, columns, settled)
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
    _check_outputs(outputs, columns, sources)
    _check_dead_ends(bound, {sources[key] for key in outputs})
    return Pipeline(
        name,
        dict(inputs),
        dict(outputs),
        {key: sources[key] for key in outputs},
        tuple(bound),
        rows_max,
        in_flight_max,
        deadline_ns,
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
            stages.append(StageNode(bound.name, index, bound.use.plan, before, tuple(followers)))
        numbers = tuple(range(first, len(stages)))
        nodes.append(PipelineNode(pipeline.name, numbers, pipeline.in_flight_max))
    return Graph(tuple(nodes), tuple(stages))


def nearest(name: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` when something known is close, else `""`."""
    match = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {match[0]!r}?" if match else ""


def _check_after(uses: Mapping[str, StageUse]) -> None:
    for name, use in uses.items():
        for other in use.after:
            if other not in uses:
                raise PipelineError(
                    f"stage {name!r} comes after {other!r}, which is no stage of this pipeline"
                    + nearest(other, uses),
                    ("stages", name, "after"),
                )


def _is_ready(use: StageUse, columns: Mapping[str, ColumnSpec], settled: Mapping[str, int]) -> bool:
    return use.stage.requires.keys() <= columns.keys() and set(use.after) <= settled.keys()


def _stuck(
    waiting: Mapping[str, StageUse],
    columns: Mapping[str, ColumnSpec],
    settled: Mapping[str, int],
) -> PipelineError:
    """Say why no stage can come next: a column nobody provides, or a circle."""
    needs = {
        name: [key for key in use.stage.requires if key not in columns]
        + [f"after {other}" for other in use.after if other not in settled]
        for name, use in waiting.items()
    }
    first, missing = next(iter(needs.items()))
    if len(needs) == 1 and missing[0] in waiting[first].stage.requires:
        return PipelineError(
            f"stage {first!r} reads column {missing[0]!r}, which neither the request nor any "
            f"other stage provides{nearest(missing[0], columns)}; there are: "
            + ", ".join(sorted(columns)),
            ("stages", first),
        )
    circle = "; ".join(
        f"{name!r} waits for {', '.join(key + nearest(key, columns) for key in keys)}"
        for name, keys in needs.items()
    )
    return PipelineError(
        f"these stages form a cycle, or wait for a column nobody provides: {circle}; "
        f"break the circle or add the column (there are: {', '.join(sorted(columns))})",
        ("stages", first),
    )


def _bind(
    name: str,
    use: StageUse,
    columns: Mapping[str, ColumnSpec],
    sources: Mapping[str, int],
    settled: Mapping[str, int],
) -> BoundStage:
    read = {key: columns[key] for key in use.stage.requires}
    if not read:
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
    for key, spec in provides.items():
        if spec.datatype not in DTYPES or ANY in spec.shape:
            raise PipelineError(
                f"stage {name!r} provides column {key!r} as {spec}, which is no full type; "
                f"give every size a number and use one of {', '.join(DTYPES)}",
                ("stages", name),
            )
    before = {sources[key] for key in read} | {settled[other] for other in use.after}
    predecessors = tuple(sorted(before - {REQUEST}))
    return BoundStage(name, use, {key: sources[key] for key in read}, read, provides, predecessors)


def _check_outputs(
    outputs: Mapping[str, TensorSpec],
    columns: Mapping[str, ColumnSpec],
    sources: Mapping[str, int],
) -> None:
    for key, tensor in outputs.items():
        if key not in columns or sources[key] == REQUEST:
            provided = [column for column in columns if sources[column] != REQUEST]
            raise PipelineError(
                f"output {key!r} is provided by no stage{nearest(key, provided)}; "
                f"there are: {', '.join(sorted(provided))}",
                ("outputs", key),
            )
        if tensor.column != columns[key]:
            raise PipelineError(
                f"output {key!r} is declared as {tensor}, but the stages make it "
                f"{columns[key]}; write {columns[key]}",
                ("outputs", key),
            )


def _check_dead_ends(bound: Sequence[BoundStage], wanted: set[int]) -> None:
    """A stage whose columns reach no output would only cost time: refuse it."""
    for position in reversed(range(len(bound))):
        if position not in wanted:
            raise PipelineError(
                f"stage {bound[position].name!r} is a dead end: none of its columns "
                f"({', '.join(bound[position].provides)}) reaches an output; "
                "read one, list one in outputs, or remove the stage",
                ("stages", bound[position].name),
            )
        wanted |= set(bound[position].predecessors)
