"""One version of a table: the cascade of its tiers.

    RAM → LMDB → keys known to have no row → RocksDB → the default row

A version whose rows are all in RAM is *resident*: what RAM has not gets the default row at once.
Else only RocksDB, the truth, may say that a key has no row: in LMDB a flipped bit of a key would
hide one. Such keys are then remembered in a RAM tier of their own, where they cost no row's place.
Rows found below RAM enter RAM, unless an online update has changed them meanwhile; rows that only
RocksDB had are offered to LMDB.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.storage.catalogue import Entry
from sedp.storage.lmdb.bucket_reading import Positions
from sedp.storage.lmdb.tier import LmdbTier
from sedp.storage.placement.mover import Heat, Mover
from sedp.storage.ram.budget import NOTHING, Share
from sedp.storage.ram.recent_changes import RecentChanges
from sedp.storage.ram.shared_ram import SharedRam
from sedp.storage.ram.shared_rows import SharedRows
from sedp.storage.ram.tier import CACHE_REACH, RESIDENT_REACH, RamTier
from sedp.storage.rocksdb.tier import RocksdbTier
from sedp.storage.rows.bags import Pooling, pool_rows
from sedp.storage.tables.arguments import check_keys, check_look_up
from sedp.storage.tables.fetching import Fetcher
from sedp.storage.tables.loading import load_rows, tell_of_lost_rows
from sedp.storage.tables.miss_policy import MissPolicy
from sedp.storage.tables.statistics import TableStatistics
from sedp.storage.tier import Keys, Mask, Rows

RESIDENT_ONE_IN = 4  # of the rows that LMDB had in memory, which is offered to RAM
COLD_ONE_IN = 2  # … that came from the disk: RAM saves more there, and must learn sooner
TRIES = 3  # of a look-up, while shared rows come back


class RetiredError(StoreError):
    """This version was dropped, or the store is closed."""


class TableVersion:
    """Ready for look-ups from any thread.

    Args:
        entry: its description.
        warm: its part of the warm tier, if it is there.
        truth: all its rows.
        mover: takes keys whose rows only the truth had, to put them into the warm tier.
        is_as_imported: no online update was ever made, so that its rows are those of the entry.
        shared: RAM that processes share, if they do.
        refresh: sees what was committed.
    """

    def __init__(
        self,
        entry: Entry,
        warm: LmdbTier | None,
        truth: RocksdbTier,
        policy: MissPolicy,
        mover: Mover,
        is_as_imported: Callable[[], bool],
        shared: SharedRam | None,
        refresh: Callable[[], None],
    ) -> None:
        self.entry = entry
        self.spec = entry.spec
        self.warm = warm
        self._bypasses_warm = False
        self.truth = truth
        self.share = NOTHING
        self._policy = policy
        self._mover = mover
        self._is_as_imported = is_as_imported
        self._changes = changes = RecentChanges()
        owns = shared is not None and shared.is_owner
        make = partial(shared.make, entry.seed) if shared is not None and owns else None
        self._ram = RamTier("ram", self.spec.row_bytes, changes=changes, make_region=make)
        self._shared_rows = (
            None if shared is None or owns else SharedRows(shared, entry, self._ram, refresh)
        )
        self._absent = RamTier("absent", 0, changes=changes)
        tiers, fill = (truth, self._ram, self._absent), partial(mover.fill, self)
        self._fetcher = Fetcher(
            *tiers, self.spec.row_bytes, policy, promote=self._promote, fill=fill
        )
        self.heat = Heat(0 if warm is None or warm.is_whole else entry.rows)
        self._default = self.spec.default_row
        self._default_stored = self.spec.encode(self._default[np.newaxis])
        self._lock = threading.Lock()
        self._defaults = 0
        self._turn = 0
        self._retired = ""

    def lookup(self, keys: Keys, out: NDArray[Any], missing: Mask) -> int:
        """See `Table.lookup`."""
        check_look_up(self.spec, keys, out, missing)
        is_plain = self.spec.row_format == "float32"
        rows = out.view(np.uint8) if is_plain else self._scratch(keys)
        count = self._gather(keys, rows, missing)
        if not is_plain:
            self.spec.decode(rows, out)
        if count:
            np.copyto(out, self._default, where=missing[:, np.newaxis])
        return count

    def lookup_bags(
        self, keys: Keys, offsets: NDArray[np.int64], out: NDArray[np.float32], mode: Pooling
    ) -> int:
        """See `Table.lookup_bags`."""
        if self.spec.dtype != "float32":
            raise ValueError(
                f"table {self.spec.name!r} is {self.spec.dtype}; only float32 rows are pooled"
            )
        rows, missing = self._scratch(keys), np.empty(len(keys), dtype=np.bool_)
        check_keys(self.spec, keys)
        count = self._gather(keys, rows, missing)
        rows[missing] = self._default_stored
        places = np.arange(len(keys), dtype=np.int64)
        pool_rows(rows, places, offsets, self.spec.row_format, mode, out)
        return count

    def _scratch(self, keys: Keys) -> Rows:
        return np.empty((len(keys), self.spec.row_bytes), dtype=np.uint8)

    def _gather(self, keys: Keys, rows: Rows, missing: Mask) -> int:
        """Write stored rows; returns how many keys have none, whose rows are undefined."""
        if self._retired:
            raise RetiredError(self._retired)
        shared = self._shared_rows
        for tries in range(1, TRIES + 1):
            since, attached = self._ram.moment(), 0 if shared is None else shared.attached
            count, is_final = self._ram.answer(keys, rows, missing)
            if not count:
                self._policy.all_hit()
            if not count or is_final:
                break
            with nullcontext() if shared is None or tries < TRIES else shared.away():
                if shared is not None:
                    shared.look_below()
                count = self._look_below(keys, rows, missing, since)
            if shared is None or shared.attached == attached:
                break
        if count:
            with self._lock:
                self._defaults += count
        return count

    def _look_below(self, keys: Keys, rows: Rows, missing: Mask, since: int) -> int:
        wanted = np.flatnonzero(missing)
        damaged = 0
        warm = self._usable_warm()
        if warm is not None:
            self._mover.note(self, keys[wanted])
            found, damaged = warm.answer(keys, wanted, rows, missing)
            if len(found) and self.share.row_sets:
                self._offer(warm, keys, rows, found, since)
            if len(found) == len(wanted):
                self._policy.all_hit()
                return 0
            wanted = np.flatnonzero(missing)
        return self._fetcher.answer(keys, wanted, rows, missing, since, damaged > 0)

    def _usable_warm(self) -> LmdbTier | None:
        return None if self._bypasses_warm else self.warm

    def _offer(self, warm: LmdbTier, keys: Keys, rows: Rows, found: Positions, since: int) -> None:
        """Offer RAM some of the rows that LMDB had, others each time.

        To offer a row takes longer than to read it there again; what is wanted comes by again.
        """
        one_in = COLD_ONE_IN if warm.is_cold else RESIDENT_ONE_IN
        self._turn = (self._turn + 1) % one_in
        offered = found[self._turn :: one_in]
        self._ram.put_many(keys[offered], rows[offered], since)

    def _promote(self, keys: Keys, is_damaged: bool) -> None:
        """Offer rows to the warm tier: to mend it, or because they are wanted again and again."""
        if self.warm is None or self._bypasses_warm:
            return
        wanted = keys if is_damaged else keys[self.heat.is_wanted(keys)]
        if len(wanted):
            self._mover.promote(self, wanted)

    def fetch(self, keys: Keys) -> None:
        """Bring the rows of distinct keys, answered by default, into RAM for look-ups to come."""
        _, absent = self._fetcher.fetch(keys, self._ram.moment())
        self._policy.filled(len(keys) - int(np.count_nonzero(absent)))

    def resize(self, share: Share) -> None:
        """Set how much RAM keeps; what changes in size starts empty.

        With a whole share all rows are loaded, and the version is resident when this returns,
        unless rows are damaged. Look-ups go on meanwhile.
        """
        self._absent.resize(share.absent_sets)
        self.share = share
        if self._shared_rows is not None and share.is_whole:
            if not self._ram.is_followed:
                self._ram.resize(0)
            return
        self.leave_ram()
        self._ram.resize(share.row_sets, RESIDENT_REACH if share.is_whole else CACHE_REACH)
        if share.is_whole and not self._ram.is_resident and self._ram.sets == share.row_sets:
            self._load()

    def attach_ram(self) -> None:
        """Answer from RAM that another process keeps, if all rows are there."""
        if self._shared_rows is None or self._ram.is_followed or not self.share.is_whole:
            return
        if self._shared_rows.attach() and self.warm is not None:
            self.warm.let_go()

    def leave_ram(self) -> None:
        """Answer from below, whatever RAM another process keeps."""
        if self._shared_rows is not None:
            self._shared_rows.leave()

    def _load(self) -> None:
        warm = self._usable_warm()
        tiers = (self.truth,) if warm is None else (warm, self.truth)
        if load_rows(self._ram, tiers, self.entry, self._is_as_imported, self._mover):
            if warm is not None:
                warm.let_go()
        else:
            self._ram.give_up()

    def reread(self, keys: Keys) -> None:
        """Rows of distinct keys have changed below RAM: take up what they are now."""
        if self._ram.is_followed:
            self._changes.add(keys)
            return  # nor does it know of keys without a row
        rows, missing = self._scratch(keys), np.ones(len(keys), dtype=np.bool_)
        warm = self._usable_warm()
        if warm is not None:
            warm.answer(keys, np.arange(len(keys)), rows, missing)
        rest = np.flatnonzero(missing)
        if len(rest):
            answer, absent = self._scratch(keys[rest]), np.empty(len(rest), dtype=np.bool_)
            self.truth.get_many(keys[rest], answer, absent)
            rows[rest], missing[rest] = answer, absent
        was_resident = self._ram.is_resident
        self._ram.replace_many(keys[~missing], rows[~missing])
        self._absent.forget(keys)
        if was_resident and not self._ram.is_resident:
            tell_of_lost_rows(self.entry)

    def forget_all(self) -> None:
        """Any row may have changed."""
        share, self.share = self.share, NOTHING
        self.leave_ram()
        self._ram.clear()
        self._absent.clear()
        self._ram.resize(0)
        self._absent.resize(0)
        self.resize(share)

    def retire(self, reason: str) -> None:
        """Refuse look-ups from now on, with this message, and give back the memory."""
        self._retired = reason
        self.resize(NOTHING)

    def statistics(self) -> TableStatistics:
        """A frozen snapshot."""
        tiers = (self._ram, self.warm, self.truth, self._absent)
        counts = tuple(tier.statistics() for tier in tiers if tier is not None)
        return TableStatistics(
            self.spec,
            self.entry.rows,
            counts[0].lookups,
            self._defaults,
            counts,
            self._ram.is_resident,
            self._policy.statistics(),
        )

    def bypass_warm(self, bypass: bool) -> None:
        """The warm tier lacks changes and may not be asked; or may again."""
        self._bypasses_warm = bypass

    def detach_warm(self) -> None:
        """The warm tier has nothing of this any more."""
        self.warm = None

    def attach_warm(self, warm: LmdbTier) -> None:
        """Ask this part of the warm tier too."""
        self.heat, self.warm = Heat(0 if warm.is_whole else self.entry.rows), warm
