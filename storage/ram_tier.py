"""The RAM tier: the hottest rows of one table, or all of them, in memory of a fixed size.

A tier made for all rows (*whole*) that was given them all is *resident*: what it has not does not
exist. With rows of no bytes a tier is a set of keys; the cascade keeps the keys known to have no
row in one.

Look-ups take no lock. They read one immutable state (arrays, and whether they are resident), and
their answer is final only if that is still the state when they are done: whatever ends residence,
or puts other arrays in place, changes the state first. A row that a writer is at counts as missing
and the answer as not final, so the cascade asks below. Writers take turns under a lock, without the
GIL.

What was read below before an update must not enter RAM after it. A look-up therefore takes the
`moment` before it reads below, and `put_many` leaves out what has changed since.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sedp.storage.ram_history import HISTORY_BYTES, Histories, fresh_odds, revise
from sedp.storage.ram_kernels import forget_rows, get_rows, put_rows, replace_rows
from sedp.storage.ram_line import EMPTY, LINE_BYTES, WAYS, Lines
from sedp.storage.recent_changes import RecentChanges
from sedp.storage.tier import Keys, Mask, Rows, TierStatistics

CACHE_REACH = 2  # sets a key may be in: a full cache searches them all for every key it has not
RESIDENT_REACH = 16  # at two places a row, 7 full sets in line are the most among 2 million rows


def bytes_per_set(row_bytes: int, is_whole: bool = False) -> int:
    """What one set of seven rows takes; a cache remembers more than it holds."""
    return LINE_BYTES + WAYS * row_bytes + (0 if is_whole else HISTORY_BYTES)


@dataclass(frozen=True, slots=True)
class _State:
    """What a look-up needs to see at once.

    Args:
        lines: uint64[sets, 8].
        rows: uint8[7 * sets, row_bytes].
        histories: uint16[sets, 32], or [0, 32] of a whole tier.
    """

    lines: Lines
    rows: Rows
    histories: Histories
    reach: int
    is_resident: bool = False

    @property
    def sets(self) -> int:
        return len(self.lines)

    @property
    def is_whole(self) -> bool:
        return self.reach > CACHE_REACH


class RamTier:
    """A cache of `7 * sets` rows; with 0 sets it holds nothing and every key is missing.

    Args:
        name: how it is called in statistics.
        row_bytes: 0 or more.
        sets: 0 or more.
        reach: sets a key may be in: `CACHE_REACH`, or `RESIDENT_REACH` if all rows shall stay, with
            two places a row; then none is ever evicted.
        changes: of the table that the tier is for, if other tiers share them; then a moment of one
            is a moment of all.
    """

    def __init__(
        self,
        name: str,
        row_bytes: int,
        sets: int = 0,
        reach: int = CACHE_REACH,
        changes: RecentChanges | None = None,
    ) -> None:
        self._name = name
        self._row_bytes = row_bytes
        self._writing = threading.Lock()
        self._counting = threading.Lock()
        self._lookups = self._hits = self._held = 0
        self._odds = fresh_odds()
        self._changes = RecentChanges() if changes is None else changes
        self._state = self._allocated(sets, reach)

    def _allocated(self, sets: int, reach: int) -> _State:
        lines = _aligned(sets, LINE_BYTES).view(np.uint64)
        lines[:, :WAYS] = EMPTY
        histories = _aligned(sets if reach == CACHE_REACH else 0, HISTORY_BYTES).view(np.uint16)
        return _State(lines, _aligned(sets * WAYS, self._row_bytes), histories, reach)

    def resize(self, sets: int, reach: int = CACHE_REACH) -> None:
        """Give the tier another size; unless it is the same, the tier starts empty.

        The old memory is given back before the new is taken, so a budget holds but for the batches
        under way, and taking it (0.1 to 2 s a GiB) keeps no look-up waiting.
        """
        if (sets, reach) != (self._state.sets, self._state.reach):
            self._start_empty(sets, reach)

    def clear(self) -> None:
        """Hold nothing; nor will it take anything that was read below before now."""
        state = self._state
        self._changes.add_all()
        self._start_empty(state.sets, state.reach)

    def _start_empty(self, sets: int, reach: int) -> None:
        for size in (0, sets):
            fresh = self._allocated(size, reach)
            with self._writing:
                self._state, self._held = fresh, 0

    def get_many(self, keys: Keys, out: Rows, missing: Mask) -> int:
        """Copy the rows that are held to where the caller wants them.

        Args:
            keys: uint64[n], in any order, repeats allowed.
            out: uint8[n, row_bytes], C-contiguous. Rows of missing keys are undefined.
            missing: bool[n], written in full.

        Returns:
            How many are missing, 0..n.
        """
        return self.answer(keys, out, missing)[0]

    def answer(self, keys: Keys, out: Rows, missing: Mask) -> tuple[int, bool]:
        """As `get_many`, and whether this is final: no tier has a row of the missing keys.

        Rows of missing keys may be written to: half of a row that a writer was at.
        """
        state = self._state
        count, torn = get_rows(state.lines, state.rows, state.reach, keys, out, missing)
        with self._counting:
            self._lookups += len(keys)
            self._hits += len(keys) - count
        return count, state.is_resident and torn == 0 and self._state is state

    def moment(self) -> int:
        """Now, for `put_many`: to be taken before the tiers below are read."""
        return self._changes.count

    def put_many(self, keys: Keys, rows: Rows, since: int | None = None) -> None:
        """Offer rows that were missing; a cache takes those worth it.

        The later of two equal keys stays. A resident tier has them already, and is left as it is.

        Args:
            rows: uint8[n, row_bytes].
            since: the moment before they were read below: those replaced or forgotten after it
                are not taken. None if nothing replaces rows meanwhile.
        """
        with self._writing:
            state = self._state
            if state.is_resident:
                return
            if since is not None and since != self._changes.count:
                is_same = ~self._changes.mask_since(since, keys)
                keys, rows = keys[is_same], rows[is_same]
            self._held += put_rows(
                state.lines, state.rows, state.histories, self._odds, state.reach, keys, rows
            )
            revise(self._odds)

    def replace_many(self, keys: Keys, rows: Rows) -> int:
        """Rows have changed: overwrite those held; a whole tier takes the others as well.

        It stops being resident if it has no room for one. Returns how many of them it holds now.
        """
        with self._writing:
            self._changes.add(keys)
            state = self._state
            held, grown = replace_rows(
                state.lines, state.rows, state.reach, state.is_whole, keys, rows
            )
            self._held += grown
            if held < len(keys):
                self._state = replace(state, is_resident=False)
            return held

    def forget(self, keys: Keys) -> int:
        """Rows have changed: hold them no more; returns how many were held.

        A tier that was resident is so no longer.
        """
        with self._writing:
            self._changes.add(keys)
            self._state = state = replace(self._state, is_resident=False)
            held: int = forget_rows(state.lines, state.histories, state.reach, keys)
            self._held -= held
            return held

    def settle(self, rows: int) -> bool:
        """Be resident from now on, if just so many rows are held: all that the table has."""
        with self._writing:
            is_resident = self._state.is_whole and self._held == rows
            self._state = replace(self._state, is_resident=is_resident)
            return is_resident

    @property
    def is_resident(self) -> bool:
        """All rows of the table are held."""
        return self._state.is_resident

    def statistics(self) -> TierStatistics:
        """A frozen snapshot."""
        state = self._state
        size = state.sets * bytes_per_set(self._row_bytes, state.is_whole)
        with self._counting:
            lookups, hits = self._lookups, self._hits
        return TierStatistics(self._name, lookups, hits, 0, self._held, size)


def _aligned(rows: int, row_bytes: int) -> NDArray[np.uint8]:
    """Zeroed uint8[rows, row_bytes] that starts on a cache line, so that a set is never in two.

    Written to at once: left to the first look-ups, the system's clearing of huge pages made a
    batch of them wait 0.4 s.
    """
    size = rows * row_bytes
    memory = np.empty(size + LINE_BYTES if size else 0, dtype=np.uint8)
    memory.fill(0)
    skip = -memory.ctypes.data % LINE_BYTES if size else 0
    return memory[skip : skip + size].reshape(rows, row_bytes)
