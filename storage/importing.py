"""Publishes a new version of a table: whole, or what a delta changes of a version before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.storage.catalogue import Entry
from sedp.storage.imports.loader import NO_KEYS
from sedp.storage.imports.progress import ImportSource
from sedp.storage.rocksdb.tier import RocksdbTier
from sedp.storage.table_spec import TableSpec, check_same_table
from sedp.storage.tier import Keys
from sedp.storage.updates.replaying import Journal, Replay
from sedp.storage.updates.writer import Writer

CURRENT: Literal["current"] = "current"

Base = int | Literal["current"] | None


@dataclass(frozen=True, slots=True)
class Import:
    """What becomes a version; see `ParameterStore.import_table`."""

    spec: TableSpec
    chunks: Iterable[tuple[Keys, NDArray[Any]]] | ImportSource
    base: Base
    removed: Keys | None
    onto_current: bool

    def check(self) -> None:
        """Raises StoreError unless all this goes together."""
        name = self.spec.name
        if self.onto_current and self.base is not None:
            raise StoreError(
                f"import of {name!r}: onto_current makes a whole version, base one that chains on "
                "another; give one of them"
            )
        if self.removed is None:
            return
        if self.base is None:
            raise StoreError(
                f"import of {name!r}: keys are removed from a version; say from which with base"
            )
        if self.removed.dtype != NO_KEYS.dtype or self.removed.ndim != 1:
            raise StoreError(
                f"import of {name!r}: removed keys are {self.removed.dtype}"
                f"{list(self.removed.shape)}; they must be uint64[n] (view int64 ids as uint64)"
            )

    def publish(self, writer: Writer, progress: Callable[[int], None] | None) -> TableSpec:
        """Load it, and make it current. Raises as `ParameterStore.import_table`.

        Should publishing fail, nobody knows which catalogue is on disk: the next open cleans up.
        """
        self.check()
        with writer.importing:
            catalogue = writer.versions.catalogue
            below = self._below(writer)
            base = catalogue.current_version(self.spec.name) if self.base == CURRENT else self.base
            seed = int.from_bytes(os.urandom(8), "little")
            entry = catalogue.next_entry(self.spec, seed, base)
            removed = NO_KEYS if self.removed is None else self.removed
            if below is None:
                entry = writer.loader.load(entry, self.chunks, progress, None, removed)
                writer.publish(catalogue.with_entry(entry))
            else:
                entry = self._publish_onto(below, entry, writer, progress)
        return entry.spec

    def _publish_onto(
        self,
        below: RocksdbTier,
        entry: Entry,
        writer: Writer,
        progress: Callable[[int], None] | None,
    ) -> Entry:
        """With what is updated meanwhile."""
        journal = Journal(below.name)
        with writer.committer.noting(journal):
            entry = writer.loader.load(entry, self.chunks, progress, below)
            replay = Replay(writer.truth, writer.warm, below, entry, journal)
            replay.catch_up()
            catalogue = writer.versions.catalogue
            writer.publish(catalogue.with_entry(entry), replay.finish)
        return entry

    def _below(self, writer: Writer) -> RocksdbTier | None:
        """The version whose rows are copied, if any are; of a base that is not there it tells."""
        if not self.onto_current and self.base != CURRENT:
            return None
        version = writer.versions.current(self.spec.name)
        check_same_table(version.spec, self.spec)
        return version.truth if self.onto_current else None
