"""An open store's parts: made in order, told of each other, and closed in reverse."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from sedp.errors import StoreError
from sedp.storage.catalogue import Catalogue, Entry
from sedp.storage.imports.loader import Loader
from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.lmdb.tier import LmdbTier
from sedp.storage.placement.mover import Mover
from sedp.storage.placement.wishes import WishBook, fetch_wishes
from sedp.storage.ram.shared_ram import SharedRam
from sedp.storage.rocksdb.database import RocksDatabase
from sedp.storage.rocksdb.tier import RocksdbTier
from sedp.storage.tables.miss_policy import WAIT, MissPolicy, MissRule
from sedp.storage.tables.version import TableVersion
from sedp.storage.tables.versions import TableVersions
from sedp.storage.ticker import Ticker
from sedp.storage.updates.commits import Committer
from sedp.storage.updates.following import Follower
from sedp.storage.updates.lag import CompleteMark
from sedp.storage.updates.ram_sharing import RamSharing
from sedp.storage.updates.rebuilding import Rebuilder
from sedp.storage.updates.recovery import recover
from sedp.storage.updates.updates import UpdateWriter
from sedp.storage.updates.writer import Writer

LMDB_BYTES_MAX = 1 << 40
WATCH_S = 1.0  # between two looks for readers that were killed, for the file, and for wishes

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Budgets:
    """See `ParameterStore.open`."""

    ram_bytes: int
    lmdb_bytes: int
    block_cache_bytes: int


class OpenStore:
    """Made by `open_store`."""

    def __init__(
        self,
        path: Path,
        budgets: Budgets,
        truth: RocksDatabase,
        warm: LmdbDatabase | None,
        read_only: bool,
        shared_ram: SharedRam | None,
    ) -> None:
        self.path = path
        self.budgets = budgets
        self.truth = truth
        self.warm = warm
        self._mark = CompleteMark(path / "lmdb")
        self._rules: Mapping[str, MissRule] = {}
        self._writer: Writer | None = None
        self._follower: Follower | None = None
        self._rebuilder: Rebuilder | None = None
        self._refreshing = threading.Lock()
        self._closing = ExitStack()
        self._is_closed = self._is_stopped = False
        self.shared_ram = shared_ram
        self.versions = TableVersions(budgets.ram_bytes, shared_ram, self._make_version)
        follows = shared_ram is not None and not shared_ram.is_owner
        self._sharing = RamSharing(shared_ram, self.versions) if shared_ram and follows else None
        self._book = WishBook(path) if read_only and warm else None
        own = None if read_only else warm
        self.mover = Mover(own, self._last_epoch, self.refresh, self._book)

    def _last_epoch(self) -> int:
        if self._writer is not None:
            return self._writer.committer.epoch
        return 0 if self._follower is None else self._follower.epoch

    def writer(self, what: str) -> Writer:
        """The writer's parts.

        Raises:
            StoreError: the store is open read-only; `what` could not be done.
        """
        if self._writer is None:
            raise StoreError(f"store {self.path} is open read-only; open it for writing to {what}")
        return self._writer

    def start(self, rules: Mapping[str, MissRule], read_only: bool) -> None:
        """Serve what the catalogue names."""
        self._rules = rules
        if read_only:
            self._follower = Follower(self.truth, self.warm, self._mark, self.versions)
        catalogue = Catalogue.decode(self.truth.read_catalogue())
        if not read_only:
            self._start_writing(catalogue)
        self.versions.adopt(catalogue)
        self.truth.forget_dropped()
        self._closing.callback(self._retire)
        self._fill_ram()
        self.fill_warm()
        ticker = (
            Ticker("sedp-follower", self._follower.pause_s, self.refresh)
            if self._follower is not None
            else Ticker("sedp-watch", lambda: WATCH_S, self._watch)
        )
        self._closing.callback(ticker.close)
        if self._book is not None:
            self._closing.callback(self._book.close)
            self._closing.callback(Ticker("sedp-wishes", lambda: WATCH_S, self._book.write).close)

    def _fill_ram(self) -> None:
        if self.shared_ram is not None and self.shared_ram.is_owner:
            self.mover.run(self.versions.divide_ram)  # others read LMDB as long as that takes
            return
        self.versions.divide_ram()
        if self._follower is not None:
            self._follow_ram(self._follower)

    def _start_writing(self, catalogue: Catalogue) -> None:
        assert self.warm is not None
        loader = Loader(self.truth, self.warm, self.path / "import", self.budgets.lmdb_bytes)
        loader.repair(catalogue)
        recover(self.truth, self.warm, catalogue)
        committer = Committer(self.truth, self.warm, self._mark, self.versions, self.refresh)
        committer.tell_of_catalogue()  # the writer before may not have got to it
        updates = UpdateWriter(committer.commit, self.truth.flush_wal)
        self._closing.callback(updates.close)
        lock = threading.Lock()
        self._writer = Writer(
            loader, committer, updates, self.warm, self.truth, self.versions, lock, self.refresh
        )
        self._rebuilder = Rebuilder(self._writer, self.mover, self.refresh)

    def _make_version(self, entry: Entry) -> TableVersion:
        policy = MissPolicy(self._rules.get(entry.spec.name, WAIT))
        truth = RocksdbTier(self.truth, entry)
        warm = self._warm_tier(entry)
        made = TableVersion(
            entry,
            warm,
            truth,
            policy,
            self.mover,
            lambda: not self._last_epoch(),
            self.shared_ram,
            self.refresh,
        )
        made.bypass_warm(self._follower is not None and not self._follower.trusts_warm)
        return made

    def _warm_tier(self, entry: Entry) -> LmdbTier | None:
        held = None if self.warm is None else self.warm.versions().get(entry.name)
        if self.warm is None or held is None:
            return None
        return LmdbTier(self.warm, entry, held.shape)

    def _watch(self) -> None:
        self.mover.grant(fetch_wishes(self.path), self.versions.all())
        self.mover.send_waiting()
        self.refresh()
        writer = self.writer("watch")
        writer.committer.catch_up()
        writer.warm.check_readers()
        self.fill_warm()

    def fill_warm(self) -> None:
        """Make in the warm tier, behind the look-ups, what it has not; nothing where others do."""
        if self._rebuilder is not None:
            self._rebuilder.start()

    @property
    def ram_bytes_max(self) -> int:
        """The RAM budget, or this process's part of it."""
        return self.versions.ram_bytes // (self.shared_ram.readers if self.shared_ram else 1)

    @property
    def lags(self) -> bool:
        """Whether a reader asks RocksDB because LMDB lacks updates."""
        return self._follower is not None and not self._follower.trusts_warm

    def refresh(self) -> None:
        """See what was committed, here or in the process that writes; nothing after `stop`."""
        with self._refreshing:
            if self._is_stopped:
                return  # a look-up that is under way has asked for it
            if self._follower is None:
                self._refresh_own()
                self._share(self._writer.committer.epoch_applied if self._writer else 0)
                return
            self._follow_ram(self._follower)
            self._follower.refresh()
            self._share(self._follower.epoch_applied)

    def _share(self, epoch: int) -> None:
        if self.shared_ram is not None and self.shared_ram.is_owner:
            self.shared_ram.tell_epoch(epoch)

    def _follow_ram(self, follower: Follower) -> None:
        """Before the next refresh: by then its owner has most likely done what this one saw."""
        if self._sharing is not None:
            self._sharing.follow(follower.epoch_seen)

    def _refresh_own(self) -> None:
        assert self.warm is not None
        if self.warm.is_gone:
            self._start_warm_anew(self.warm)
        self.versions.apply(self.warm.refresh())

    def _start_warm_anew(self, warm: LmdbDatabase) -> None:
        """The file of the warm tier was deleted or cut short: serve without it, then from another.

        Raises:
            StoreError: no other can be made.
        """
        for version in self.versions.all():
            version.detach_warm()
        warm.start_anew()
        recover(self.truth, warm, self.versions.catalogue)
        self.fill_warm()

    @contextmanager
    def steady(self) -> Iterator[None]:
        """No version is dropped inside by this process."""
        with nullcontext() if self._writer is None else self._writer.importing:
            yield

    def _retire(self) -> None:
        self.versions.retire(f"store {self.path} is closed; open it again")

    def stop(self) -> None:
        """Take back what `start` started."""
        self.mover.close()
        self._closing.close()
        with self._refreshing:
            self._is_stopped = True

    def close(self) -> None:
        """Stop, and release the files; a second time is nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self.mover.close()  # before the lock that one of its tasks may wait for
        with self.steady():
            try:
                self.stop()
            finally:
                try:
                    if self.warm is not None:
                        self.warm.close()
                finally:
                    self.truth.close()


def open_store(
    path: Path,
    budgets: Budgets,
    read_only: bool,
    create: bool,
    rules: Mapping[str, MissRule],
    shared_ram: SharedRam | None = None,
) -> OpenStore:
    """See `ParameterStore.open`."""
    with ExitStack() as opened:
        truth = RocksDatabase(
            path / "rocksdb",
            read_only=read_only,
            create=create,
            cache_bytes=budgets.block_cache_bytes,
        )
        opened.callback(truth.close)
        warm = _open_warm(path / "lmdb", read_only)
        if warm is not None:
            opened.callback(warm.close)
        store = OpenStore(path, budgets, truth, warm, read_only, shared_ram)
        opened.callback(store.stop)
        store.start(rules, read_only)
        opened.pop_all()
    return store


def _open_warm(path: Path, read_only: bool) -> LmdbDatabase | None:
    """The warm tier; for a reader None if it is not there, or not sound."""
    if read_only and not path.exists():
        return None
    try:
        return LmdbDatabase(path, read_only=read_only)
    except StoreError as err:
        if not read_only:
            raise
        _log.warning("%s; RocksDB answers instead, which takes longer", err)
        return None
