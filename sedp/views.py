"""Which of a request's rows a stage sees, once others have narrowed them.

A stage that *narrows* says which rows go on; those behind it see only these, until one that
*widens* takes the others in again. So a *view* is the chain of narrowing stages that still hold:
`()` is all rows, `(2, 5)` what stage 2 and then stage 5 have let through. A column goes from one
view to another by masks: rows are left out on the way in, and zeros put in on the way out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array

View = tuple[int, ...]

ALL_ROWS: View = ()


class Rows(NamedTuple):
    """Rows that a narrowing stage lets through.

    Args:
        rows: int64, rising places among those before.
        before: how many these are.
    """

    rows: NDArray[np.int64]
    before: int


Kept = Rows | None  # `None` lets everything through


class ViewError(ValueError):
    """Narrowing and widening stages are not placed so that each row has one way to go.

    Args:
        stage: position of the stage to be moved.
    """

    def __init__(self, message: str, stage: int) -> None:
        super().__init__(message)
        self.stage = stage


def stage_views(
    names: Sequence[str],
    turns: Sequence[int],
    predecessors: Sequence[Sequence[int]],
    reads: Sequence[Collection[int]],
) -> list[View]:
    """The view of each stage, in topological order.

    Args:
        turns: 1 for a stage that narrows, -1 for one that widens, else 0.
        predecessors: positions of the stages directly before each.
        reads: positions of the stages that provide what each reads.

    Raises:
        ViewError: another stage runs beside one that narrows or widens; or what a stage would
            widen is nothing, or was narrowed by a stage of which it reads no column.
    """
    before: list[set[int]] = []
    for direct in predecessors:
        before.append(set(direct).union(*(before[position] for position in direct)))
    turning = [position for position, turn in enumerate(turns) if turn]
    for turn in turning:
        for other, name in enumerate(names):
            if other != turn and turn not in before[other] and other not in before[turn]:
                raise ViewError(
                    f"stage {name!r} runs beside {names[turn]!r}, which changes the rows that go "
                    f"on; let it come later with `after: [{names[turn]}]`, or before",
                    other,
                )
    views = []
    for position in range(len(names)):
        chain: list[int] = []
        for turn in [*(t for t in turning if t in before[position]), position]:
            if turns[turn] < 0:
                if not chain:
                    text = f"stage {names[turn]!r} widens, but no stage before it has narrowed"
                    raise ViewError(f"{text}; put one before it", turn)
                _check_reads(names, turn, chain.pop(), reads)
            elif turns[turn] > 0 and turn != position:
                chain.append(turn)
        views.append(tuple(chain))
    return views


def _check_reads(
    names: Sequence[str], turn: int, narrowing: int, reads: Sequence[Collection[int]]
) -> None:
    """A stage takes in again what a stage it knows has left out, never another one's rows."""
    if narrowing not in reads[turn]:
        raise ViewError(
            f"stage {names[turn]!r} widens, but the last to narrow before it is "
            f"{names[narrowing]!r}, of which it reads no column; move {names[narrowing]!r} before "
            f"the stage that {names[turn]!r} belongs to, or behind {names[turn]!r}",
            turn,
        )


def convert(column: Array, have: View, want: View, kept: Callable[[int], Kept]) -> Array:
    """An item column of one view as another shows it.

    Args:
        kept: what a narrowing stage has let through, of the rows of its own view.
    """
    common = 0
    while common < min(len(have), len(want)) and have[common] == want[common]:
        common += 1
    for stage in reversed(have[common:]):
        column = _widen(column, kept(stage))
    for stage in want[common:]:
        let_through = kept(stage)
        column = column if let_through is None else column.take(let_through.rows, axis=0)
    return column


def kept_of(mask: NDArray[np.bool_]) -> Kept:
    """What a mask lets through: looked up once, used for all columns."""
    rows = mask.nonzero()[0]
    return None if len(rows) == len(mask) else Rows(rows, len(mask))


def narrow_splits(splits: NDArray[np.int64], kept: Kept) -> NDArray[np.int64]:
    """Row splits of what goes on, given those of the rows before."""
    return splits if kept is None else kept.rows.searchsorted(splits)


def _widen(column: Array, kept: Kept) -> Array:
    if kept is None:
        return column
    shape = (kept.before, *column.shape[1:])
    is_bytes = column.dtype == object
    wide = np.full(shape, b"", object) if is_bytes else np.zeros(shape, column.dtype)
    wide[kept.rows] = column
    return wide
