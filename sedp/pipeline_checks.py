"""What keeps stages from fitting together, and how that is told."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from sedp.columns import ANY, DTYPES, ColumnSpec, Level, TensorSpec

if TYPE_CHECKING:
    from sedp.pipeline import BoundStage, StageUse

ENGINE_PREFIX = "engine."  # of columns that the engine itself provides
MASK = ColumnSpec("BOOL", Level.ITEM)
MARK = ColumnSpec("BOOL", Level.REQUEST)


class PipelineError(ValueError):
    """The stages do not fit together.

    Args:
        message: thing, value and mend.
        at: where in the pipeline's own description, e.g. `("stages", "rank", "params")`.
    """

    def __init__(self, message: str, at: tuple[str, ...]) -> None:
        super().__init__(message)
        self.at = at


def nearest(name: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` when something known is close, else `""`."""
    match = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {match[0]!r}?" if match else ""


def check_inputs(inputs: Mapping[str, TensorSpec]) -> None:
    for name in inputs:
        if name.startswith(ENGINE_PREFIX):
            raise PipelineError(
                f"input {name!r}: names that start with {ENGINE_PREFIX} are for the engine's own "
                "columns; rename it",
                ("inputs", name),
            )


def check_after(uses: Mapping[str, StageUse]) -> None:
    for name, use in uses.items():
        for other in use.after:
            if other not in uses:
                raise PipelineError(
                    f"stage {name!r} comes after {other!r}, which is no stage of this pipeline"
                    + nearest(other, uses),
                    ("stages", name, "after"),
                )


def stuck(
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


def check_provided(name: str, use: StageUse, provides: Mapping[str, ColumnSpec]) -> None:
    """Full types, and masks, marks and fallbacks that are there."""
    for key, spec in provides.items():
        if spec.datatype not in DTYPES or ANY in spec.shape:
            raise PipelineError(
                f"stage {name!r} provides column {key!r} as {spec}, which is no full type; "
                f"give every size a number and use one of {', '.join(DTYPES)}",
                ("stages", name),
            )
    for own, want in ((use.stage.narrows, MASK), (use.stage.degrades, MARK)):
        if own is not None and provides.get(own) != want:
            raise PipelineError(
                f"stage {name!r} has to provide column {own!r} as {want}, but provides "
                f"{provides.get(own, 'none of that name')}; mend it there",
                ("stages", name),
            )
    for key in use.fallback:
        if key not in provides:
            raise PipelineError(
                f"stage {name!r} has a fallback for {key!r}, which it does not provide"
                f"{nearest(key, provides)}; it provides: {', '.join(provides)}",
                ("stages", name, "fallback", key),
            )


def check_outputs(
    outputs: Mapping[str, TensorSpec],
    columns: Mapping[str, ColumnSpec],
    sources: Mapping[str, int],
) -> None:
    for key, tensor in outputs.items():
        if key not in columns or sources[key] < 0:
            provided = [column for column in columns if sources[column] >= 0]
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


def check_dead_ends(bound: Sequence[BoundStage], wanted: set[int]) -> None:
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
