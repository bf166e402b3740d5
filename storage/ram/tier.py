"""The RAM tier: the hottest rows of one table, or all of them, in memory of a fixed size.

A tier made for all rows (*whole*) that was given them all is *resident*: what it has not does not
exist. With rows of no bytes a tier is a set of keys; the cascade keeps the keys known to have no
row in one.

Look-ups take no lock. They read one immutable state (arrays, and whether they are resident), and
their answer is final only if that is still the state when they are done: whatever ends residence,
or puts other arrays in place, changes the state first. A row that a writer is at counts as missing
and the answer as not final, so the cascade asks below. Writers take turns under a lock, without the
GIL.

The memory of a whole tier may be a region that processes share. Its owner writes there as it would
to its own. To a reader the region is as a state that others change: an answer from it is final if
it is still shown afterwards, and without any worth if not.

What was read below before an update must not enter RAM after it. A look-up therefore takes the
`moment` before it reads below, and `put_many` leaves out what has changed since.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from sedp.storage.ram.carrying import Carrying
from sedp.storage.ram.history import fresh_odds, median_age, revise
from sedp.storage.ram.kernels import (
    CACHE_REACH,
    RESIDENT_REACH,
    forget_rows,
    get_rows,
    put_rows,
    replace_rows,
)
from sedp.storage.ram.recent_changes import RecentChanges
from sedp.storage.ram.state import RamState, bytes_per_set
from sedp.storage.tier import Keys, Mask, Rows, TierCounts, TierStatistics

if TYPE_CHECKING:
    from sedp.storage.ram.shared_ram import Region

__all__ = ["CACHE_REACH", "RESIDENT_REACH", "RamTier", "bytes_per_set"]

MakeRegion = Callable[[int, int, int], "Region | None"]  # of sets, row_bytes, reach

TRIES = 3  # of a look-up in another process's region, where rows are being written
PAUSE_S = 0.0002  # between two steps of carrying rows over, for writers who wait


class RamTier:
    """A cache of `7 * sets` rows; with 0 sets it holds nothing and every key is missing.

    Args:
        name: how it is called in statistics.
        row_bytes: 0 or more.
        sets: 0 or more.
        reach: sets a key may be in: `CACHE_REACH`, or `RESIDENT_REACH` if all rows shall stay, with
            more places than rows; then none is ever evicted.
        changes: of the table that the tier is for, if other tiers share them; then a moment of one
            is a moment of all.
        make_region: makes shared memory for all rows, or None if it has no room.
    """

    def __init__(
        self,
        name: str,
        row_bytes: int,
        sets: int = 0,
        reach: int = CACHE_REACH,
        changes: RecentChanges | None = None,
        make_region: MakeRegion | None = None,
    ) -> None:
        self._name = name
        self._row_bytes = row_bytes
        self._writing = threading.Lock()
        self._counts = TierCounts()
        self._held = 0
        self._odds = fresh_odds()
        self._make_region = make_region
        self._readers = 1
        self._changes = RecentChanges() if changes is None else changes
        self._state = self._allocated(sets, reach)
        self._carrying: Carrying | None = None

    def _allocated(self, sets: int, reach: int) -> RamState:
        if self._make_region is None or sets == 0 or reach == CACHE_REACH:
            return RamState.private(sets, self._row_bytes, reach)
        region = self._make_region(sets, self._row_bytes, reach)
        return RamState.of(region) if region else RamState.private(0, self._row_bytes, reach)

    def attach(self, region: Region, rows: int, readers: int) -> None:
        """Answer from memory that another process keeps, until it is hidden or this tier resized.

        Args:
            region: shown; a tier with rows of its own gives them up for it.
            rows: in it.
            readers: who count the memory as theirs together.
        """
        with self._writing:
            self._state, self._held, self._carrying = RamState.of(region), rows // readers, None
            self._readers = readers

    def resize(self, sets: int, reach: int = CACHE_REACH) -> None:
        """Give the tier another size; no look-up waits.

        A cache that stays one keeps the rows worth most, and both memories are there while they
        are copied (MemoryError, and nothing is changed, if they cannot be). Any other starts empty,
        and the old memory is given back before the new is taken (0.1 to 2 s a GiB).
        """
        state = self._state
        if (sets, reach) == (state.sets, state.reach):
            return
        is_cache = sets and state.sets and not state.is_whole and reach == CACHE_REACH
        if not (is_cache and self._carry(state, sets)):
            self._start_empty(sets, reach)

    def _carry(self, before: RamState, sets: int) -> bool:
        """Whether it was done: not if the tier is cleared or resized meanwhile."""
        carrying, resting = Carrying(before, sets, self._odds), threading.Event()
        with self._writing:
            self._carrying = carrying if self._state.lines is before.lines else None
        while True:
            with self._writing:
                if self._carrying is not carrying:
                    return False
                if carrying.step():
                    self._state, self._held, self._carrying = carrying.state, carrying.held, None
                    return True
            resting.wait(PAUSE_S)

    def clear(self) -> None:
        """Hold nothing; nor will it take anything that was read below before now."""
        state = self._state
        self._changes.add_all()
        self._start_empty(0 if state.is_followed else state.sets, state.reach)

    def _start_empty(self, sets: int, reach: int) -> None:
        for size in (0, sets):
            fresh = self._allocated(size, reach)
            with self._writing:
                before = self._state
                self._state, self._held, self._carrying = fresh, 0, None
            if before.region is not None and not before.is_followed:
                before.region.drop()

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
        if state.is_followed:
            count, torn = self._settle_answer(state, torn, count, keys, out, missing)
        self._counts.add_batch(len(keys), len(keys) - count)
        return count, state.is_resident and torn == 0 and self._state is state

    def _settle_answer(
        self, state: RamState, torn: int, count: int, keys: Keys, out: Rows, missing: Mask
    ) -> tuple[int, int]:
        """The counts once no writer is at the rows; without any answer if one stays there, or the
        region is not shown any more."""
        assert state.region is not None
        for _ in range(TRIES):
            if torn and state.region.is_shown:
                count, torn = get_rows(state.lines, state.rows, state.reach, keys, out, missing)
        if torn or not state.region.is_shown:
            missing[:] = True
            return len(keys), len(keys)
        return count, torn

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

        It stops being resident if it has no room for one. Memory that another process keeps is
        left to that. Returns how many of them it holds now.
        """
        with self._writing:
            self._changes.add(keys)
            state = self._state
            if state.is_followed:
                return len(keys)
            held, grown = replace_rows(
                state.lines, state.rows, state.reach, state.is_whole, keys, rows
            )
            self._held += grown
            if self._carrying is not None:
                self._carrying.replace(keys, rows)
            if held < len(keys):
                self._end_residence()
        if held < len(keys):
            self.give_up()
        return held

    def forget(self, keys: Keys) -> int:
        """Rows have changed: hold them no more; returns how many were held.

        A tier that was resident is so no longer.
        """
        with self._writing:
            self._changes.add(keys)
            state = self._end_residence()
            held: int = forget_rows(state.lines, state.histories, state.reach, keys)
            self._held -= held
            if self._carrying is not None:
                self._carrying.forget(keys)
            return held

    def _end_residence(self) -> RamState:
        """Says so before rows are lacking; the caller holds the lock."""
        if self._state.region is not None:
            self._state.region.hide()
        self._state = replace(self._state, is_resident=False)
        return self._state

    def settle(self, rows: int) -> bool:
        """Be resident from now on, if just so many rows are held: all that the table has."""
        region = self._state.region
        if region is not None and self._held == rows:
            region.compact()  # updates go on meanwhile
        with self._writing:
            if not self._state.is_whole or self._held != rows:
                self._end_residence()
                return False
            if self._state.region is not None:
                self._state.region.show()
            self._state = replace(self._state, is_resident=True)
            return True

    def give_up(self) -> None:
        """Shared memory that lacks rows is of use to nobody; memory of its own a tier keeps."""
        if self._state.region is not None:
            self._start_empty(0, self._state.reach)

    @property
    def sets(self) -> int:
        """As it was made, or 0: there was no shared memory for them."""
        return self._state.sets

    @property
    def is_followed(self) -> bool:
        """Another process keeps the rows, and changes them."""
        return self._state.is_followed

    @property
    def is_resident(self) -> bool:
        """All rows of the table are held."""
        return self._state.is_resident

    def statistics(self) -> TierStatistics:
        """A frozen snapshot."""
        state = self._state
        size = state.sets * bytes_per_set(self._row_bytes, state.is_whole)
        part = size // (self._readers if state.is_followed else 1)
        return self._counts.statistics(self._name, self._held, part, median_age(state.histories))
