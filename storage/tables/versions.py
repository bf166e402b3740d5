"""All table versions of an open store: which there are, which is current, what RAM each has."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable

from sedp.errors import SedpError, StoreError
from sedp.storage.catalogue import Catalogue, Entry
from sedp.storage.lmdb.update_log import ALL_KEYS, Changes
from sedp.storage.ram.budget import (
    NOTHING,
    PLACES_PER_ROW,
    SHARED_PLACES_PER_ROW,
    Share,
    divide,
)
from sedp.storage.ram.shared_ram import SharedRam
from sedp.storage.tables.table import Table
from sedp.storage.tables.version import TableVersion


class TableVersions:
    """Follows the catalogue.

    Args:
        ram_bytes: most that the RAM tiers of all versions together may take.
        shared: RAM that processes share, if they do; then the budget is that of all of them.
        make: makes the version of an entry, ready for look-ups.
    """

    def __init__(
        self, ram_bytes: int, shared: SharedRam | None, make: Callable[[Entry], TableVersion]
    ) -> None:
        self._ram_bytes = ram_bytes
        self._extra_bytes = 0
        self._shared = shared
        self._make = make
        self._lock = threading.Lock()
        self._dividing = threading.Lock()
        self._versions: dict[tuple[str, int], TableVersion] = {}
        self._tables: dict[str, Table] = {}
        self.catalogue = Catalogue()
        self.publications = 0  # catalogues adopted that made another version current

    def adopt(self, catalogue: Catalogue) -> set[Entry]:
        """Make what is new, follow what is current, retire what is gone; returns the last."""
        with self._lock:
            gone = set(self.catalogue.entries) - set(catalogue.entries)
            is_news = set(self.catalogue.current) != set(catalogue.current)
            self.catalogue = catalogue
            for entry in catalogue.entries:
                if _key(entry) not in self._versions:
                    self._versions[_key(entry)] = self._make(entry)
            for entry in catalogue.current:
                version = self._versions[_key(entry)]
                table = self._tables.setdefault(entry.spec.name, Table(version))
                table.follow(version)
            self.publications += is_news  # last, for who sees it must see the versions
            for entry in gone:
                self._versions.pop(_key(entry)).retire(
                    f"table {entry.spec.name!r} version {entry.spec.version} was dropped; take the "
                    "current one with ParameterStore.table"
                )
            return gone

    @property
    def ram_bytes(self) -> int:
        """The budget in force."""
        return self._ram_bytes + self._extra_bytes

    def divide_ram(self) -> None:
        """Give every current version its share; first take what others have, to stay in budget."""
        with self._dividing:
            with self._lock:
                versions, shares = dict(self._versions), self._shares(self.ram_bytes)
            for key, version in versions.items():
                if version.share != shares.get(key):
                    version.resize(NOTHING)
            for key, share in shares.items():
                versions[key].resize(share)

    def scale_caches(self, ram_bytes: int, keeps_rows: bool = True) -> None:
        """Change the budget, and what caches have of it; whole tables stay so.

        Raises:
            MemoryError: there is none for the copy of a table; what was before is in force.
        """
        with self._dividing:
            before, self._extra_bytes = self._extra_bytes, ram_bytes - self._ram_bytes
            try:
                self._resize_caches(keeps_rows)
            except MemoryError:
                self._extra_bytes = before
                self._resize_caches(keeps_rows)
                raise

    def _resize_caches(self, keeps_rows: bool) -> None:
        for version, share in self.caches(self.ram_bytes):
            if version.share != share:
                if not keeps_rows:
                    version.resize(NOTHING)
                version.resize(share)

    def caches(self, ram_bytes: int) -> list[tuple[TableVersion, Share]]:
        """Current versions that are not to be whole, and what they would have with this budget."""
        with self._lock:
            shares = self._shares(ram_bytes)
            return [(self._versions[key], s) for key, s in shares.items() if not s.is_whole]

    def _shares(self, ram_bytes: int) -> dict[tuple[str, int], Share]:
        current = self.catalogue.current
        sizes = [(entry.rows, entry.spec.row_bytes) for entry in current]
        places = PLACES_PER_ROW if self._shared is None else SHARED_PLACES_PER_ROW
        shares = divide(self._ram_bytes, sizes, places, ram_bytes - self._ram_bytes)
        if self._shared is not None:
            shares = [self._shared.share_of(share) for share in shares]
        return dict(zip(map(_key, current), shares, strict=True))

    def find(self, name: str, version: int | None) -> Table:
        """The table that follows the current version, or stays with a certain one.

        Raises:
            StoreError: there is none; the message names the nearest table or the versions kept.
        """
        with self._lock:
            kept = self.catalogue.versions(name)
            if not kept:
                raise StoreError(f"there is no table {name!r}; {self._nearest(name)}")
            if version is None:
                return self._tables[name]
            if version not in kept:
                raise StoreError(
                    f"table {name!r} has no version {version}; it has " + ", ".join(map(str, kept))
                )
            return Table(self._versions[name, version])

    def _nearest(self, name: str) -> str:
        near = difflib.get_close_matches(name, self._tables, n=1)
        if near:
            return f"did you mean {near[0]!r}?"
        names = ", ".join(sorted(self._tables))
        return f"there are {names}" if names else "the store is empty; import one"

    def current(self, name: str) -> TableVersion:
        """The current version of a table; raises as `find`."""
        self.find(name, None)
        with self._lock:
            return self._versions[name, self.catalogue.current_version(name) or 0]

    def version(self, entry: Entry) -> TableVersion:
        """The version of an entry of the catalogue."""
        with self._lock:
            return self._versions[_key(entry)]

    def all(self) -> list[TableVersion]:
        """Every version there is."""
        with self._lock:
            return list(self._versions.values())

    def apply(self, changes: Changes) -> None:
        """Take changed rows up into RAM, or forget them.

        Raises:
            SedpError: rows of a version could not be read; it has forgotten all.
        """
        if not changes.keys and not changes.has_gap:
            return
        failure: SedpError | None = None
        for version in self.all():
            keys = ALL_KEYS if changes.has_gap else changes.keys.get(version.entry.name)
            if keys is None:
                continue
            try:
                if keys is ALL_KEYS:
                    version.forget_all()
                else:
                    version.reread(keys)
            except SedpError as err:
                failure = err
                version.forget_all()
        if failure is not None:
            raise failure

    def retire(self, reason: str) -> None:
        """Refuse look-ups in all versions."""
        for version in self.all():
            version.retire(reason)


def _key(entry: Entry) -> tuple[str, int]:
    return entry.spec.name, entry.spec.version
