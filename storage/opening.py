"""An open store's parts: made in order, told of each other, and closed in reverse."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sedp.errors import StoreError
from sedp.storage.catalogue import Catalogue, Entry
from sedp.storage.commits import Committer
from sedp.storage.lmdb_database import LmdbDatabase
from sedp.storage.lmdb_tier import LmdbTier
from sedp.storage.loader import Loader
from sedp.storage.miss_policy import WAIT, MissPolicy, MissRule
from sedp.storage.placement import Mover
from sedp.storage.rebuilding import Rebuilder
from sedp.storage.recovery import read_epoch, recover
from sedp.storage.rocksdb_database import RocksDatabase
from sedp.storage.rocksdb_tier import RocksdbTier
from sedp.storage.table_version import TableVersion
from sedp.storage.table_versions import TableVersions
from sedp.storage.ticker import Ticker
from sedp.storage.updates import UpdateWriter

LMDB_BYTES_MAX = 1 << 40
FOLLOW_S = 0.02  # between two looks at what the writer has committed
WATCH_S = 1.0  # between two searches for readers that were killed, and for the file

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Writer:
    """What only the process that writes has.

    Args:
        importing: held by whoever changes the catalogue.
        refresh: makes this process see what the warm tier has.
    """

    loader: Loader
    committer: Committer
    updates: UpdateWriter
    warm: LmdbDatabase
    truth: RocksDatabase
    versions: TableVersions
    importing: threading.Lock
    refresh: Callable[[], None]

    def publish(self, catalogue: Catalogue) -> None:
        """Make a catalogue durable, serve from it, tell the readers, remove what it dropped."""
        with self.committer.publishing:
            self.truth.write_catalogue(catalogue.encode())
            self.committer.tell_of_catalogue()
            self.refresh()
            gone = self.versions.adopt(catalogue)
        self.versions.divide_ram()
        self.loader.discard(entry.name for entry in gone)


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
    ) -> None:
        self.path = path
        self.budgets = budgets
        self.truth = truth
        self.warm = warm
        self._rules: Mapping[str, MissRule] = {}
        self._writer: Writer | None = None
        self._refreshing = threading.Lock()
        self._closing = ExitStack()
        self._is_closed = False
        self._epoch = read_epoch(truth)
        self.versions = TableVersions(budgets.ram_bytes, self._make_version)
        self.mover = Mover(None if read_only else warm, self._last_epoch, self.refresh)

    def _last_epoch(self) -> int:
        return self._epoch if self._writer is None else self._writer.committer.epoch

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
        catalogue = Catalogue.decode(self.truth.read_catalogue())
        if not read_only:
            self._start_writing(catalogue)
        self.versions.adopt(catalogue)
        self.versions.divide_ram()
        self._closing.callback(self._retire)
        if self._writer is not None:
            Rebuilder(self._writer, self.mover, self.refresh).start()
        ticker = (
            Ticker("sedp-follower", FOLLOW_S, self.refresh)
            if self._writer is None
            else Ticker("sedp-watch", WATCH_S, self._watch)
        )
        self._closing.callback(ticker.close)

    def _start_writing(self, catalogue: Catalogue) -> None:
        assert self.warm is not None
        loader = Loader(self.truth, self.warm, self.path / "import", self.budgets.lmdb_bytes)
        loader.repair(catalogue)
        recover(self.truth, self.warm, catalogue)
        committer = Committer(self.truth, self.warm, self.versions, self.refresh)
        updates = UpdateWriter(committer.commit, self.truth.flush_wal)
        self._closing.callback(updates.close)
        self._writer = Writer(
            loader,
            committer,
            updates,
            self.warm,
            self.truth,
            self.versions,
            threading.Lock(),
            self.refresh,
        )

    def _make_version(self, entry: Entry) -> TableVersion:
        policy = MissPolicy(self._rules.get(entry.spec.name, WAIT))
        truth = RocksdbTier(self.truth, entry)
        warm = self._warm_tier(entry)
        return TableVersion(entry, warm, truth, policy, self.mover, lambda: not self._last_epoch())

    def _warm_tier(self, entry: Entry) -> LmdbTier | None:
        held = None if self.warm is None else self.warm.versions().get(entry.name)
        if self.warm is None or held is None:
            return None
        return LmdbTier(self.warm, entry, held.shape)

    def _watch(self) -> None:
        self.mover.send_waiting()
        self.refresh()
        self.writer("watch").warm.check_readers()

    def refresh(self) -> None:
        """See what was committed, here or in the process that writes."""
        with self._refreshing:
            if self.warm is None:
                self._follow_truth()
                return
            if self.warm.is_gone:
                self._start_warm_anew(self.warm)
            changes = self.warm.refresh(self._know_truth)
            if changes.catalogue and self._writer is None:
                self._adopt_catalogue()
            self.versions.apply(changes)

    def _start_warm_anew(self, warm: LmdbDatabase) -> None:
        """The file of the warm tier was deleted or cut short: serve without it, then from another.

        Raises:
            StoreError: there is no other yet.
        """
        for version in self.versions.all():
            version.detach_warm()
        if self._writer is None:
            self._follow_truth()
        warm.start_anew()
        if self._writer is None:
            self._adopt_catalogue()
        else:
            Rebuilder(self._writer, self.mover, self.refresh).start()

    def _know_truth(self, floor: int) -> None:
        """Rows changed up to this epoch are found in the truth from now on."""
        if self._writer is None and floor > self._epoch:
            self.truth.catch_up()
            self._epoch = read_epoch(self.truth)

    def _adopt_catalogue(self) -> None:
        self.truth.catch_up()
        self._epoch = read_epoch(self.truth)
        self.versions.adopt(Catalogue.decode(self.truth.read_catalogue()))
        for version in self.versions.all():
            warm = self._warm_tier(version.entry) if version.warm is None else None
            if warm is not None:
                version.attach_warm(warm)
        self.versions.divide_ram()

    def _follow_truth(self) -> None:
        """Without a warm tier nothing tells which rows changed."""
        before = self._epoch
        self._adopt_catalogue()
        if self._epoch != before:
            for version in self.versions.all():
                version.forget_all()

    @contextmanager
    def steady(self) -> Iterator[None]:
        """No version is dropped inside by this process."""
        if self._writer is None:
            yield
        else:
            with self._writer.importing:
                yield

    def _retire(self) -> None:
        self.versions.retire(f"store {self.path} is closed; open it again")

    def stop(self) -> None:
        """Take back what `start` started."""
        self.mover.close()
        self._closing.close()

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
    path: Path, budgets: Budgets, read_only: bool, create: bool, rules: Mapping[str, MissRule]
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
        store = OpenStore(path, budgets, truth, warm, read_only)
        opened.callback(store.stop)
        store.start(rules, read_only)
        opened.pop_all()
    return store


def _open_warm(path: Path, read_only: bool) -> LmdbDatabase | None:
    """The warm tier; for a reader None if it is not there, or not sound."""
    if not read_only:
        return LmdbDatabase(path, read_only=False)
    if not path.exists():
        return None
    try:
        return LmdbDatabase(path, read_only=True)
    except StoreError as err:
        _log.warning("%s; RocksDB answers instead, which takes longer", err)
        return None
