"""Rows of a cache on their way to memory of another size: as many as fit, those worth most.

Nobody looks in the new memory before all rows that go there are in. Until then rows that are put
go to the old one alone, and may be left behind; rows that change do so in both, so that no row is
older in the new memory than in the old.
"""

from __future__ import annotations

from sedp.kernel import kernel
from sedp.storage.ram.history import Histories, Odds, asked_again, cheapest, worth_of
from sedp.storage.ram.kernels import CACHE_REACH, forget_rows, replace_rows, row_at
from sedp.storage.ram.line import (
    WAYS,
    Lines,
    free_slot,
    home_of,
    is_key,
    line_of,
    slot_of,
    touched_ways,
)
from sedp.storage.ram.state import RamState
from sedp.storage.rows.intrinsics import as_index, copy_row
from sedp.storage.rows.keys import mix
from sedp.storage.tier import Keys, Rows

STEP_SETS = 256  # copied at once, with writers waiting: some 0.2 ms


@kernel(
    "int64(uint64[:, ::1], uint8[:, ::1], uint16[:, ::1], uint64[:, ::1], uint8[:, ::1],"
    " uint16[:, ::1], float32[:, ::1], int64, int64)"
)
def carry_rows(
    lines: Lines,
    rows: Rows,
    histories: Histories,
    new_lines: Lines,
    new_rows: Rows,
    new_histories: Histories,
    odds: Odds,
    start: int,
    stop: int,
) -> int:
    """Copy the rows of sets `start` to `stop` to a cache that nobody reads yet; returns its growth.

    A key may be there already: put out of a set that was copied, and put into one that was not.
    """
    grown = 0
    for at in range(start, stop):
        touched = touched_ways(line_of(lines, at))
        for way in range(WAYS):
            key = lines[at, way]
            if not is_key(key):
                continue
            home = home_of(mix(key), new_lines.shape[0])
            if slot_of(new_lines, home, key, CACHE_REACH) >= 0:
                continue
            state = max(1, as_index(histories[at, way]))
            if (touched >> way) & 1:
                state = asked_again(state)
            slot = free_slot(new_lines, home, CACHE_REACH)
            if slot < 0:
                slot, least = cheapest(new_lines, new_histories, odds, home)
                if least >= worth_of(state, 0, odds):
                    continue
            else:
                grown += 1
            new_lines[slot // WAYS, slot % WAYS] = key
            new_histories[slot // WAYS, slot % WAYS] = state
            copy_row(row_at(new_rows, slot), row_at(rows, at * WAYS + way), rows.shape[1])
    return grown


class Carrying:
    """From one cache to another; its caller sees to it that nobody writes meanwhile.

    Args:
        before: a cache that has sets.
        sets: of the new one, > 0; its memory is taken here.
        odds: of both.
    """

    def __init__(self, before: RamState, sets: int, odds: Odds) -> None:
        self._before = before
        self._odds = odds
        self._done = 0
        self.state = RamState.private(sets, before.rows.shape[1], CACHE_REACH)
        self.held = 0

    def step(self) -> bool:
        """Copy some more sets; whether it was the last of them."""
        stop = min(self._done + STEP_SETS, self._before.sets)
        old, new = self._before, self.state
        self.held += carry_rows(
            old.lines,
            old.rows,
            old.histories,
            new.lines,
            new.rows,
            new.histories,
            self._odds,
            self._done,
            stop,
        )
        self._done = stop
        return stop == self._before.sets

    def replace(self, keys: Keys, rows: Rows) -> None:
        """Rows have changed: overwrite those that are there already."""
        replace_rows(self.state.lines, self.state.rows, CACHE_REACH, False, keys, rows)

    def forget(self, keys: Keys) -> None:
        """Rows have changed: hold them no more."""
        self.held -= forget_rows(self.state.lines, self.state.histories, CACHE_REACH, keys)
