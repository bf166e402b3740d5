"""How a group of online updates becomes durable and visible, in this order.

    in one LMDB transaction: rows into their buckets, an entry into the update log,
        and before it ends RocksDB's batch, synced or not
    a new snapshot, then RAM: this process sees them; others when they look next

Should RocksDB refuse, the LMDB transaction is given up and nothing has happened. Should LMDB then
fail to commit, as on a full disk, the rows are safe but old ones would be read: this process asks
RocksDB for that version, and readers for all, until a later commit has brought LMDB up to date.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from sedp.errors import StoreError
from sedp.storage.catalogue import Entry
from sedp.storage.imports.sorted_runs import sort_last_wins
from sedp.storage.lmdb.bucket_writer import BucketWriter
from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.lmdb.update_log import ALL_KEYS
from sedp.storage.rocksdb.database import RocksDatabase
from sedp.storage.rows.bucket import places_of
from sedp.storage.rows.record import seal
from sedp.storage.tables.versions import TableVersions
from sedp.storage.tier import Keys, Rows
from sedp.storage.updates.ids import Ids
from sedp.storage.updates.lag import Change, CompleteMark, Lag
from sedp.storage.updates.preserving import preserved
from sedp.storage.updates.recovery import batch_values, read_epoch
from sedp.storage.updates.replaying import Journal
from sedp.storage.updates.updates import Receipt, Update

_log = logging.getLogger(__name__)


class Committer:
    """Applies groups of updates; one thread at a time.

    Args:
        warm: the warm tier.
        mark: says whether it has everything.
        refresh: takes a new snapshot and brings RAM up to date with it.
    """

    def __init__(
        self,
        truth: RocksDatabase,
        warm: LmdbDatabase,
        mark: CompleteMark,
        versions: TableVersions,
        refresh: Callable[[], None],
    ) -> None:
        self._truth = truth
        self._warm = warm
        self._mark = mark
        self._versions = versions
        self._refresh = refresh
        self._ids = Ids(truth)
        self.publishing = threading.Lock()  # held while the current versions change
        self.epoch = read_epoch(truth)
        self._complete = self.epoch  # LMDB has all up to here
        self._reread = 0  # RAM has, though LMDB may not
        self._lag = Lag()
        self._journal: Journal | None = None
        self._has_news = False  # for readers: the catalogue

    @property
    def epoch_applied(self) -> int:
        """Up to which updates all are in RAM."""
        return max(self._reread, self._warm.epoch_seen)

    def commit(self, updates: Sequence[Update], sync: bool) -> list[Receipt | StoreError]:
        """Apply updates in order, as one group; a repeated id is answered, not applied.

        Returns:
            A receipt each, or why an update is refused: the table has another shape by now.
        """
        if self._warm.is_gone:
            self._refresh()
        with self.publishing:
            epoch = self.epoch + 1
            receipts, fresh = self._sift(updates, epoch)
            if sync and not fresh:  # one that is repeated may not have been synced
                self._truth.flush_wal()
            if not fresh and self._mark.is_there:
                return receipts
            changes = self._changes(fresh, epoch)
            ids = [update.known_as for update in fresh if update.id]
            self._write(changes, ids, epoch if changes else self.epoch, sync)
            return receipts

    @contextmanager
    def noting(self, journal: Journal) -> Iterator[None]:
        """The keys of all commits go into a journal, too; into one at a time."""
        with self.publishing:
            self._journal = journal
        try:
            yield
        finally:
            self._journal = None

    def catch_up(self) -> None:
        """Try again to give LMDB what it lacks, and readers the news, if there is any."""
        if not self._mark.is_there:
            self.commit((), sync=False)

    def tell_of_catalogue(self) -> None:
        """Have the readers look at the catalogue; they ask RocksDB for it if LMDB fails."""
        self._has_news = True
        try:
            with self._warm.updating() as writer:
                writer.log({})
            self._has_news = False
        except StoreError as err:
            _log.warning("LMDB does not tell which version is current: %s", err)
        self._tell_whether_complete()

    def _sift(
        self, updates: Sequence[Update], epoch: int
    ) -> tuple[list[Receipt | StoreError], list[Update]]:
        receipts, fresh, seen = list[Receipt | StoreError](), list[Update](), set[str]()
        current = {entry.spec.name: entry.spec for entry in self._versions.catalogue.current}
        for update in updates:
            name = update.known_as
            before = epoch if name in seen else self._ids.epoch_of(name)
            spec = current[update.spec.name]
            if before is None and not spec.stores_as(update.spec):
                receipts.append(
                    StoreError(
                        f"update of {spec.name!r}: version {spec.version} was published meanwhile, "
                        f"whose rows are {spec.dtype}[{spec.dim}]; make the update anew"
                    )
                )
                continue
            receipts.append(Receipt(before or epoch, update.durability, before is not None))
            if before is None:
                fresh.append(update)
                seen |= {name} - {""}
        return receipts, fresh

    def _changes(self, updates: Sequence[Update], epoch: int) -> list[Change]:
        """The rows of each version that is current now, the last of each key."""
        current = {entry.spec.name: entry for entry in self._versions.catalogue.current}
        changes = []
        for name in {update.spec.name: None for update in updates}:
            mine = [update for update in updates if update.spec.name == name]
            keys, rows = sort_last_wins(
                np.concatenate([update.keys for update in mine]),
                np.concatenate([update.rows for update in mine]),
            )
            entry = current[name]
            changes.append((entry, keys, seal(keys, rows, epoch, entry.seed)))
        return changes

    def _write(self, changes: list[Change], ids: list[str], epoch: int, sync: bool) -> None:
        batch = preserved(self._truth, self._versions.catalogue, changes)
        for entry, keys, records in changes:
            batch.append((entry.name, places_of(keys, entry.spec.layout), records))
        pending = {entry.name: keys for entry, keys in self._lag.joined(changes).items()}
        is_acknowledged = False
        try:
            with self._warm.updating() as writer:
                self._merge_all(writer, changes, epoch)
                writer.log(pending)
                if self._has_news or self._lag.lost():
                    writer.log({})
                writer.set_epoch(epoch)
                if changes:
                    values = batch_values(epoch, self._complete, pending)
                    values += self._ids.records(ids, epoch)
                    self._truth.write_rows(batch, values, sync=sync)
                is_acknowledged = True
        except StoreError as err:
            is_written = is_acknowledged or self._is_written(epoch)
            if is_written is False:
                raise
            if is_written:
                self._count(changes, ids, epoch)
            self._fall_behind(changes, err)
            if not is_acknowledged:
                raise
        else:
            self._count(changes, ids, epoch)
            self._refresh()  # before LMDB is asked again for what it lacked
            self._end_lag()

    def _merge_all(self, writer: BucketWriter, changes: list[Change], epoch: int) -> None:
        """Put into the warm tier what it lacked and what is new; out what it lacked too much of."""
        lost = self._lag.lost()
        for entry in lost:
            writer.unpublish(entry.name)
        are_in = [
            change[0] not in lost and self._merge(writer, *change)
            for change in [*self._missed(), *changes]
        ]
        if lost or not all(are_in):
            writer.raise_floor(epoch)

    def _merge(self, writer: BucketWriter, entry: Entry, keys: Keys, records: Rows) -> bool:
        """Put rows into the warm tier; whether it holds all of them, and all that it held."""
        version = self._versions.version(entry)
        warm, judge = version.warm, version.heat.judge
        if warm is None:
            return False
        merged = warm.merge(writer, keys, records, judge, is_update=True)
        return not (merged.evicted or merged.refused)

    def _is_written(self, epoch: int) -> bool | None:
        """Whether look-ups meet rows in RocksDB that could not be synced; None if it cannot say."""
        try:
            return read_epoch(self._truth) == epoch
        except StoreError:
            return None

    def _count(self, changes: list[Change], ids: list[str], epoch: int) -> None:
        if changes:
            self._ids.remember(ids, epoch)
            self.epoch = epoch
        if self._journal is not None:
            for entry, keys, _ in changes:
                self._journal.note(entry.name, keys)

    def _missed(self) -> list[Change]:
        """What LMDB lacks, as the truth has it."""
        kept = set(self._versions.catalogue.entries)
        return [
            (entry, *self._versions.version(entry).truth.read_records(keys))
            for entry, keys in self._lag.keys.items()
            if entry in kept and keys is not ALL_KEYS
        ]

    def _fall_behind(self, changes: list[Change], err: StoreError) -> None:
        self._lag.add(changes)
        _log.warning("updates are stored, but LMDB is behind: %s", err)
        for entry, _, _ in changes:
            self._versions.version(entry).bypass_warm(True)
        try:
            self._tell_whether_complete()  # before they are in RAM that readers share
        finally:
            for entry, keys, _ in changes:
                self._versions.version(entry).reread(keys)
        self._reread = self.epoch
        if not self._warm.is_gone:
            self._refresh()  # tells readers that shared RAM is no older than RocksDB

    def _end_lag(self) -> None:
        """LMDB has everything again; versions that it lacks wait to be made anew."""
        lost = self._lag.lost()
        for entry in set(self._versions.catalogue.entries) & set(self._lag.keys):
            version = self._versions.version(entry)
            if entry in lost:
                version.detach_warm()
            version.bypass_warm(False)
        self._lag = Lag()
        self._complete = self.epoch
        self._has_news = False
        self._tell_whether_complete()

    def _tell_whether_complete(self) -> None:
        if self._lag.keys or self._has_news:
            self._mark.remove()
        elif not self._mark.is_there:
            self._mark.put()
