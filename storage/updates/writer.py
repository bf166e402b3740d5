"""The parts of an open store that write, for its versions to change."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sedp.errors import StoreError
from sedp.storage.catalogue import Catalogue
from sedp.storage.imports.loader import Loader
from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.rocksdb.database import RocksDatabase
from sedp.storage.tables.versions import TableVersions
from sedp.storage.updates.commits import Committer
from sedp.storage.updates.updates import UpdateWriter


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

    def publish(self, catalogue: Catalogue, finish: Callable[[], None] = lambda: None) -> None:
        """Make a catalogue durable, serve from it, tell the readers, remove what it dropped.

        Args:
            finish: done first, while no update is committed.
        """
        with self.committer.publishing:
            finish()
            self.truth.write_catalogue(catalogue.encode())
            self.committer.tell_of_catalogue()
            self.refresh()
            self.versions.adopt(catalogue)
        self.versions.divide_ram()
        self.loader.clean(catalogue)

    def roll_back(self, name: str, version: int | None) -> None:
        """Make another kept version of a table current; without a number the highest other one.

        Raises:
            StoreError: there is none such.
        """
        with self.importing:
            catalogue = self.versions.catalogue
            current = catalogue.current_version(name)
            others = [other for other in catalogue.versions(name) if other != current]
            chosen = version if version is not None else max(others, default=None)
            if chosen is None or chosen not in catalogue.versions(name):
                kept = ", ".join(map(str, catalogue.versions(name))) or "none"
                raise StoreError(
                    f"table {name!r} cannot go to version {chosen or 'before'}; versions kept: "
                    f"{kept}"
                )
            self.publish(catalogue.with_current(name, chosen))
