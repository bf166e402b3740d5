"""The parameter store: tables under one folder, served from RAM, LMDB and RocksDB.

    path/rocksdb/   the truth: every row of every version, and the catalogue
    path/lmdb/      copies for fast reading; may be deleted while the store is closed
    path/import/    files of an import under way

One process opens a store for writing, any number beside it read-only. An import builds a new
version next to the live one and then swaps the catalogue; whoever holds a `Table` stays on the
version he took. The last two versions are kept. The RAM budget belongs to current versions only:
an older one is answered from LMDB. Tables that fit are loaded into RAM whole when the store is
opened and after an import, at 1 to 2 million rows a second.
"""

from __future__ import annotations

import difflib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.storage.budget import NOTHING, divide
from sedp.storage.catalogue import Catalogue, Entry
from sedp.storage.lmdb_database import LmdbDatabase
from sedp.storage.lmdb_tier import LmdbTier
from sedp.storage.loader import Loader
from sedp.storage.rocksdb_database import RocksDatabase
from sedp.storage.rocksdb_tier import RocksdbTier
from sedp.storage.statistics import StoreStatistics
from sedp.storage.table import Table, TableSpec
from sedp.storage.tier import ColdTier, Keys
from sedp.storage.verification import Scan, VerifyReport, verify_scans


class ParameterStore:
    """Open with `ParameterStore.open`; close it, or use it as a context manager."""

    def __init__(
        self, path: Path, ram_bytes: int, truth: RocksDatabase, warm: LmdbDatabase | None
    ) -> None:
        self._path = path
        self._ram_bytes = ram_bytes
        self._truth = truth
        self._warm = warm
        self._catalogue = Catalogue.decode(truth.read_catalogue())
        self._tables: dict[tuple[str, int], Table] = {}
        self._lock = threading.Lock()
        self._import_lock = threading.Lock()
        self._loader: Loader | None = None

    @classmethod
    def open(
        cls, path: Path, *, ram_bytes: int = 64 << 20, read_only: bool = False, create: bool = False
    ) -> ParameterStore:
        """Open the store under `path`.

        Args:
            ram_bytes: most that the RAM tier of all tables together may take, ≥ 0; with 0 nothing
                is loaded.
            read_only: open beside the writer; versions published later are not seen.
            create: make the store when it is not there.

        Raises:
            StoreError: it is not there, or open for writing elsewhere; the message says the mend.
            CorruptionError: its catalogue or files are damaged.
        """
        if ram_bytes < 0:
            raise StoreError(f"store {path}: ram_bytes {ram_bytes} must be ≥ 0")
        if create and not read_only:
            path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as opened:
            truth = RocksDatabase(path / "rocksdb", read_only=read_only, create=create)
            opened.callback(truth.close)
            warm = None
            if not read_only or (path / "lmdb").exists():
                warm = LmdbDatabase(path / "lmdb", read_only=read_only)
                opened.callback(warm.close)
            store = cls(path, ram_bytes, truth, warm)
            if warm is not None and not read_only:
                store._loader = Loader(truth, warm, path / "import")
                store._loader.repair(store._catalogue)
            store._attach()
            store._divide_ram()
            opened.pop_all()
        return store

    def _attach(self) -> None:
        """Make the `Table` of every version that has none."""
        complete = {} if self._warm is None else self._warm.complete()
        for entry in self._catalogue.entries:
            key = entry.spec.name, entry.spec.version
            if key not in self._tables:
                tiers = self._cold_tiers(entry, entry.name in complete)
                self._tables[key] = Table(entry.spec, entry.rows, tiers)

    def _divide_ram(self) -> None:
        """Give every current version its share; first take what others have, to stay in budget."""
        current = self._catalogue.current
        sizes = [(entry.rows, entry.spec.row_bytes) for entry in current]
        keys = [(entry.spec.name, entry.spec.version) for entry in current]
        shares = dict(zip(keys, divide(self._ram_bytes, sizes), strict=True))
        for key, table in self._tables.items():
            if table.share != shares.get(key):
                table.resize(NOTHING)
        for key, share in shares.items():
            self._tables[key].resize(share)

    def _cold_tiers(self, entry: Entry, is_warm: bool) -> list[ColdTier]:
        tiers: list[ColdTier] = []
        if self._warm is not None and is_warm:
            self._warm.attach(entry.name)
            tiers.append(LmdbTier(self._warm, entry))
        tiers.append(RocksdbTier(self._truth, entry))
        return tiers

    def table(self, name: str, version: int | None = None) -> Table:
        """The current version of a table, or a certain one.

        Raises:
            StoreError: there is none; the message names the nearest table or the versions kept.
        """
        with self._lock:
            versions = self._catalogue.versions(name)
            if not versions:
                raise StoreError(f"store {self._path} has no table {name!r}; {self._nearest(name)}")
            if version is not None and version not in versions:
                raise StoreError(
                    f"table {name!r} has no version {version}; it has "
                    + ", ".join(map(str, versions))
                )
            return self._tables[name, versions[-1] if version is None else version]

    def _nearest(self, name: str) -> str:
        names = [entry.spec.name for entry in self._catalogue.current]
        near = difflib.get_close_matches(name, names, n=1)
        if near:
            return f"did you mean {near[0]!r}?"
        return f"it has {', '.join(names)}" if names else "it has no tables yet; import one"

    def tables(self) -> tuple[TableSpec, ...]:
        """The current version of every table, by name."""
        return tuple(entry.spec for entry in self._catalogue.current)

    def versions(self, name: str) -> tuple[int, ...]:
        """Versions kept of a table, ascending; none if there is no such table."""
        return self._catalogue.versions(name)

    def import_table(
        self,
        spec: TableSpec,
        chunks: Iterable[tuple[Keys, NDArray[Any]]],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> TableSpec:
        """Publish a new version of a table; look-ups go on meanwhile, in the version before.

        Args:
            spec: its version is ignored.
            chunks: (uint64[m], dtype[m, dim]) in any order; of a key given twice the last counts.
            progress: told how many rows are stored so far.

        Returns:
            The spec with its version.

        Raises:
            StoreError: a chunk does not fit, the disk failed, or the store is read-only. The
                version before is then still current.
        """
        if self._loader is None:
            raise StoreError(f"store {self._path} is open read-only; open it for writing to import")
        with self._import_lock:
            entry = self._catalogue.next_entry(spec, int.from_bytes(os.urandom(8), "little"))
            entry = self._loader.load(entry, chunks, progress)
            catalogue = self._catalogue.with_entry(entry)
            # Should this fail, nobody knows which catalogue is on disk: the next open cleans up.
            self._truth.write_catalogue(catalogue.encode())
            self._publish(self._loader, catalogue)
        return entry.spec

    def _publish(self, loader: Loader, catalogue: Catalogue) -> None:
        dropped = set(self._catalogue.entries) - set(catalogue.entries)
        with self._lock:
            self._catalogue = catalogue
            self._attach()
            for entry in dropped:
                table = self._tables.pop((entry.spec.name, entry.spec.version))
                table.retire(
                    f"table {entry.spec.name!r} version {entry.spec.version} was dropped; take the "
                    "current one with ParameterStore.table"
                )
        self._divide_ram()
        loader.discard(entry.name for entry in dropped)

    def statistics(self) -> StoreStatistics:
        """A frozen snapshot of the current versions."""
        tables = tuple(self.table(spec.name).statistics() for spec in self.tables())
        ram_bytes = sum(
            tier.bytes for table in tables for tier in table.tiers if tier.tier in ("ram", "absent")
        )
        return StoreStatistics(self._ram_bytes, ram_bytes, tables)

    def verify(self, progress: Callable[[int], None] | None = None) -> VerifyReport:
        """Check every record of every version in RocksDB and LMDB; imports wait until it ends.

        Args:
            progress: told how many records are checked so far.
        """
        with self._import_lock:
            return verify_scans(self._scans(), progress)

    def _scans(self) -> Iterator[Scan]:
        warm = {} if self._warm is None else self._warm.complete()
        for entry in self._catalogue.entries:
            yield entry, "rocksdb", self._truth.scan(entry.name)
            if self._warm is not None and entry.name in warm:
                yield entry, "lmdb", self._warm.scan(entry.name)

    def close(self) -> None:
        """Refuse further look-ups, wait for what is under way, and release the files."""
        with self._import_lock:
            for table in self._tables.values():
                table.retire(f"store {self._path} is closed; open it again")
            if self._warm is not None:
                self._warm.close()
            self._truth.close()

    def __enter__(self) -> ParameterStore:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
