"""The parameter store: tables under one folder, served from RAM, LMDB and RocksDB.

    path/rocksdb/   the truth: every row of every version, and the catalogue
    path/lmdb/      copies for fast reading; may be deleted at any time
    path/import/    files of an import under way
    path/wishes/    what readers would have in LMDB, for the writer

One process opens a store for writing, any number beside it read-only; they follow what it does.
An import builds a new version next to the live one and then swaps the catalogue; the version that
was current is kept, to roll back to. The RAM budget belongs to current versions only: another one
is answered from LMDB. Tables that fit are loaded into RAM whole, at 1 to 2 million rows a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.storage.advice.ram_scaling import RamScaling
from sedp.storage.importing import Base, Import
from sedp.storage.imports.progress import ImportSource
from sedp.storage.opening import LMDB_BYTES_MAX, Budgets, OpenStore, open_store
from sedp.storage.ram.shared_ram import SharedRam
from sedp.storage.rocksdb.options import CACHE_BYTES
from sedp.storage.table_spec import TableSpec
from sedp.storage.tables.miss_policy import MissRule
from sedp.storage.tables.statistics import StoreStatistics
from sedp.storage.tables.table import Table
from sedp.storage.tier import Keys
from sedp.storage.updates.guard import UpdateGuard, check_norms
from sedp.storage.updates.updates import Durability, Receipt, Update
from sedp.storage.verification import VerifyReport, list_scans, verify_scans


class ParameterStore:
    """Open with `ParameterStore.open`; close it, or use it as a context manager."""

    def __init__(self, parts: OpenStore, norms: Mapping[str, float] | None = None) -> None:
        self._parts = parts
        self._norms = dict(norms or {})
        self._versions = parts.versions
        self.ram = RamScaling(parts.versions)

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        ram_bytes: int = 64 << 20,
        lmdb_bytes: int = LMDB_BYTES_MAX,
        block_cache_bytes: int = CACHE_BYTES,
        read_only: bool = False,
        create: bool = False,
        misses: Mapping[str, MissRule] | None = None,
        norms: Mapping[str, float] | None = None,
        shared_ram: SharedRam | None = None,
    ) -> ParameterStore:
        """Open the store under `path`.

        Args:
            ram_bytes: most that the RAM tier of all tables together may take, ≥ 0; with 0 nothing
                is loaded.
            lmdb_bytes: most that one table version may take in LMDB, ≥ 0; of a larger one the rows
                most asked for are there. It counts for versions made from now on.
            block_cache_bytes: most that RocksDB may take for blocks it has read, ≥ 0.
            read_only: open beside the writer, and follow what it publishes and updates.
            create: make the store when it is not there.
            misses: by table, what becomes of keys that only RocksDB can answer; else they wait.
            norms: by table, most that the Euclidean norm of an updated row may be, > 0; else any.
            shared_ram: where tables that fit into RAM are, for several processes; `ram_bytes` is
                what all may take then. Its owner loads them behind the look-ups of the others.

        Raises:
            StoreError: it is not there, or open for writing elsewhere; the message says the mend.
            CorruptionError: its catalogue or files are damaged.
        """
        budgets = Budgets(ram_bytes, lmdb_bytes, block_cache_bytes)
        for name, budget in asdict(budgets).items():
            if budget < 0:
                raise StoreError(f"store {path}: {name} {budget} must be ≥ 0")
        check_norms(norms or {})
        if create and not read_only:
            Path(path).mkdir(parents=True, exist_ok=True)
        parts = open_store(Path(path), budgets, read_only, create, dict(misses or {}), shared_ram)
        return cls(parts, norms)

    # Look-up ----------------------------------------------------------------------------------

    def table(self, name: str, version: int | None = None) -> Table:
        """A table: it follows the current version, or stays with a certain one.

        Raises:
            StoreError: there is none; the message names the nearest table or the versions kept.
        """
        return self._versions.find(name, version)

    def tables(self) -> tuple[TableSpec, ...]:
        """The current version of every table, by name."""
        return tuple(entry.spec for entry in self._versions.catalogue.current)

    def versions(self, name: str) -> tuple[int, ...]:
        """Versions kept of a table, ascending; none if there is no such table."""
        return self._versions.catalogue.versions(name)

    def chain(self, name: str) -> tuple[int, ...]:
        """Versions that the current one chains on, the nearest first, the last of them whole.

        Some are kept for it alone, and cannot be looked up by themselves.
        """
        return self._versions.current(name).entry.versions_below

    # Versions ---------------------------------------------------------------------------------

    def import_table(
        self,
        spec: TableSpec,
        chunks: Iterable[tuple[Keys, NDArray[Any]]] | ImportSource,
        *,
        progress: Callable[[int], None] | None = None,
        onto_current: bool = False,
        base: Base = None,
        removed: Keys | None = None,
    ) -> TableSpec:
        """Publish a new version of a table; look-ups go on meanwhile, in the version before.

        With a base it takes the time of the delta alone, not that of the table; look-ups are
        answered from RocksDB, with a higher latency, until LMDB has it, see `settle`.

        Args:
            spec: its version is ignored.
            onto_current: the rows are a delta: the new version has those of the current one too,
                and over both what is updated meanwhile; `spec` must be as that one's.
            base: the rows are a delta on this version, a number or "current", which is not copied:
                the new one has its rows, as they are when this ends, but for those given.
            removed: uint64[n], keys that have no row in the new version, though the base has one.
            chunks: (uint64[m], dtype[m, dim]) in any order; of a key given twice the last counts.
                From an `ImportSource` an import that was cut off is resumed.
            progress: told how many rows are stored so far.

        Returns:
            The spec with its version.

        Raises:
            StoreError: a chunk does not fit, too many versions chain, the disk failed, or the
                store is read-only. The version before is then still current.
        """
        delta = Import(spec, chunks, base, removed, onto_current)
        spec = delta.publish(self._parts.writer("import"), progress)
        self._parts.fill_warm()
        return spec

    def roll_back(self, name: str, version: int | None = None) -> TableSpec:
        """Make another kept version of a table current; it answers from the next look-up on.

        Args:
            version: which; without it the highest but the current one.

        Raises:
            StoreError: there is none such, or the store is read-only.
        """
        self._parts.writer("roll back").roll_back(name, version)
        return self.table(name).spec

    def back_up(self, folder: Path) -> None:
        """Make `folder`, which must not be there, a store of its own with all that is in this.

        RocksDB's files are linked if it is on the same disk. What LMDB has is made again when it
        is opened for writing.

        Raises:
            StoreError: the folder is there already, the disk failed, or the store is read-only.
        """
        self._parts.writer("back up")  # a reader's view lacks what is only in the writer's log
        if folder.exists():
            raise StoreError(f"backup {folder} is there already; name a folder that is not")
        folder.mkdir(parents=True)
        self._parts.truth.checkpoint(folder / "rocksdb")

    # Online updates ---------------------------------------------------------------------------

    def update(
        self,
        name: str,
        keys: Keys,
        rows: NDArray[Any],
        *,
        durability: Durability = "sync",
        id: str = "",
        norm_max: float | None = None,
    ) -> Receipt:
        """As `submit_update`, and wait for the receipt."""
        return self.submit_update(
            name, keys, rows, durability=durability, id=id, norm_max=norm_max
        ).result()

    def submit_update(
        self,
        name: str,
        keys: Keys,
        rows: NDArray[Any],
        *,
        durability: Durability = "sync",
        id: str = "",
        norm_max: float | None = None,
    ) -> Future[Receipt]:
        """Give rows of the current version other values, or add rows, while they are served.

        Args:
            keys: uint64[n], 1 ≤ n ≤ 100,000; of a key given twice the last counts.
            rows: dtype[n, dim]; floats must be finite.
            durability: when the receipt comes: "sync" when they are on disk, "async" when they
                would survive a crash of this process (on disk within a second), "none" at once.
            id: the sender's name for this update of the table: sent again, it is not applied again.
            norm_max: refuse the update if a row's Euclidean norm is above this, > 0; or above the
                table's, see `open`.

        Returns:
            The receipt to come; with it look-ups here see the rows, others' soon after.

        Raises:
            StoreError: an argument is out of bounds, the store read-only, or its queue full.
        """
        writer = self._parts.writer("update")
        guard = UpdateGuard(self.table(name).spec, norm_max, self._norms.get(name))
        guard.check(keys, rows, durability, id)
        stored = guard.spec.encode(rows)
        return writer.updates.submit(Update(guard.spec, keys.copy(), stored, durability, id))

    @property
    def publications(self) -> int:
        """Another number once any table has another current version."""
        return self._versions.publications

    @property
    def lags(self) -> bool:
        """Whether RocksDB answers because LMDB lacks updates; opening it for writing mends that."""
        return self._parts.lags

    def refresh(self) -> None:
        """See now what the writer has committed, not in a few hundredths of a second."""
        self._parts.refresh()

    def warm(self, name: str, keys: Keys) -> None:
        """Bring rows up to an LMDB that holds the table in part, before they are asked for.

        Args:
            keys: uint64[n], such as a recorded hour of look-ups; what comes again counts for more.

        Raises:
            StoreError: the store is read-only.
        """
        self._parts.writer("warm")
        self._parts.mover.warm(self._versions.current(name), keys)
        self.settle()

    # Care -------------------------------------------------------------------------------------

    def statistics(self) -> StoreStatistics:
        """A frozen snapshot of the current versions."""
        tables = tuple(self.table(spec.name).statistics() for spec in self.tables())
        ram_bytes = sum(
            tier.bytes for table in tables for tier in table.tiers if tier.tier in ("ram", "absent")
        )
        moves = self._parts.mover.statistics()
        return StoreStatistics(self._parts.ram_bytes_max, ram_bytes, tables, moves)

    def settle(self) -> None:
        """Wait until all rows on their way up between tiers have arrived."""
        self._parts.mover.settle()

    def verify(self, progress: Callable[[int], None] | None = None) -> VerifyReport:
        """Check every record of every version in RocksDB and LMDB.

        Args:
            progress: told how many are checked so far.
        """
        with self._parts.steady():
            return verify_scans(list_scans(self._versions), progress)

    def close(self) -> None:
        """Refuse further look-ups, wait for what is under way, and release the files."""
        self._parts.close()

    def __enter__(self) -> ParameterStore:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
