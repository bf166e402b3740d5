"""Which of a request's rows a stage sees, once others have narrowed them.

A stage that *narrows* says which rows go on; those behind it see only these, until one that
*widens* takes the others in again. So a *view* is the chain of narrowing stages that still hold:
`()` is all rows, `(2, 5)` what stage 2 and then stage 5 have let through. A column goes from one
view to another by masks: rows are left out on the way in, and zeros put in on the way out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array

View = tuple[int, ...]
Mask = NDArray[np.bool_] | None  # bool[rows of the view before]; `None` lets everything through

ALL_ROWS: View = ()


class ViewError(ValueError):
    """Narrowing and widening stages are not placed so that each row has one way to go.

    Args:
        stage: position of the stage to be moved.
    """

    def __init__(self, message: str, stage: int) -> None:
        super().__init__(message)
        self.stage = stage


def stage_views(
    names: Sequence[str], turns: Sequence[int], predecessors: Sequence[Sequence[int]]
) -> list[View]:
    """The view of each stage, in topological order.

    Args:
        turns: 1 for a stage that narrows, -1 for one that widens, else 0.
        predecessors: positions of the stages directly before each.

    Raises:
        ViewError: another stage runs beside one that narrows or widens, or nothing is narrowed.
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
                chain.pop()
            elif turns[turn] > 0 and turn != position:
                chain.append(turn)
        views.append(tuple(chain))
    return views


def convert(column: Array, have: View, want: View, mask: Callable[[int], Mask]) -> Array:
    """An item column of one view as another shows it.

    Args:
        mask: what a narrowing stage has let through, of the rows of its own view.
    """
    common = 0
    while common < min(len(have), len(want)) and have[common] == want[common]:
        common += 1
    for stage in reversed(have[common:]):
        column = _widen(column, mask(stage))
    for stage in want[common:]:
        kept = mask(stage)
        column = column if kept is None else column[kept]
    return column


def narrow_splits(splits: NDArray[np.int64], kept: Mask) -> NDArray[np.int64]:
    """Row splits of what a mask lets through, given those of the rows before."""
    if kept is None:
        return splits
    before = np.zeros(len(kept) + 1, np.int64)
    np.cumsum(kept, out=before[1:])
    return before[splits]


def _widen(column: Array, kept: Mask) -> Array:
    if kept is None:
        return column
    fill = b"" if column.dtype == object else 0
    wide = np.full((len(kept), *column.shape[1:]), fill, column.dtype)
    wide[kept] = column
    return wide
