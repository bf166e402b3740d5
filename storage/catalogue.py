"""The catalogue: which tables and versions exist, and which is current; one value, swapped whole.

What the catalogue does not name does not exist: the remains of an import that died are files and
families without an entry, removed at the next chance. It is JSON after its own checksum.

An entry carries the entries that it chains on, so that a base goes with the last version over it,
and no sooner, whether it is still a version of its own or not.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from sedp.errors import CorruptionError, StoreError
from sedp.storage.naming import entry_name
from sedp.storage.table_spec import TableSpec, check_same_table

FORMAT = 3
READABLE = (2, FORMAT)
CHAIN_MAX = 12  # deltas on a whole version: RocksDB then takes about four times as long to read


@dataclass(frozen=True, slots=True)
class Entry:
    """One published table version.

    Args:
        spec: with its version.
        rows: how many it has, at least; updates add to them.
        seed: random 64 bits, mixed into its checksums; no two imports share one.
        base: whose rows it has where it has none of its own; None if it is whole.
        records: of its own when it was imported, removals too; 0 if it is whole.
    """

    spec: TableSpec
    rows: int
    seed: int
    base: Entry | None = None
    records: int = 0

    @property
    def name(self) -> str:
        """What its parts are called in RocksDB and LMDB."""
        return entry_name(self.spec.name, self.spec.version, self.seed)

    @property
    def versions_below(self) -> tuple[int, ...]:
        """Versions that it chains on, the nearest first."""
        return tuple(entry.spec.version for entry in self.chain[1:])

    @property
    def chain(self) -> tuple[Entry, ...]:
        """This, its base, the base of that, down to a whole one."""
        return (self,) if self.base is None else (self, *self.base.chain)


class Catalogue:
    """Entries by table and version, and which version of each table is current.

    Args:
        current: version by table; of a table that it lacks, the highest.
    """

    def __init__(
        self, entries: Iterable[Entry] = (), current: Mapping[str, int] | None = None
    ) -> None:
        self._entries = tuple(
            sorted(entries, key=lambda entry: (entry.spec.name, entry.spec.version))
        )
        highest = {entry.spec.name: entry.spec.version for entry in self._entries}
        self._current = highest | dict(current or {})

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All, by table name, then version."""
        return self._entries

    @property
    def links(self) -> Iterator[Entry]:
        """All entries and what they chain on; some more than once."""
        return (link for entry in self._entries for link in entry.chain)

    @property
    def current(self) -> tuple[Entry, ...]:
        """The current version of every table."""
        return tuple(
            entry for entry in self._entries if entry.spec.version == self._current[entry.spec.name]
        )

    def versions(self, name: str) -> tuple[int, ...]:
        """Versions kept of a table, ascending; none if there is no such table."""
        return tuple(entry.spec.version for entry in self._entries if entry.spec.name == name)

    def current_version(self, name: str) -> int | None:
        """The current version of a table; None if there is no such table."""
        return self._current.get(name)

    def next_entry(self, spec: TableSpec, seed: int, base: int | None = None) -> Entry:
        """The entry, as yet without rows, of the version to come after those kept.

        Args:
            base: the version it chains on, which is kept.

        Raises:
            StoreError: the base is not there, has another spec, or ends a chain of the most links.
        """
        version = max(self.versions(spec.name), default=0) + 1
        below = None if base is None else self._base(spec, base)
        return Entry(replace(spec, version=version), 0, seed, below)

    def _base(self, spec: TableSpec, version: int) -> Entry:
        for entry in self._entries:
            if (entry.spec.name, entry.spec.version) == (spec.name, version):
                check_same_table(entry.spec, spec)
                if len(entry.chain) > CHAIN_MAX:
                    raise StoreError(
                        f"table {spec.name!r}: version {version} chains on {CHAIN_MAX} others, "
                        "which is the limit; import the delta with --onto-current, which makes a "
                        "whole version of all of them, or import the table whole"
                    )
                return entry
        kept = ", ".join(map(str, self.versions(spec.name))) or "none"
        raise StoreError(
            f"table {spec.name!r} has no version {version} to chain on; versions kept: {kept}"
        )

    def with_entry(self, entry: Entry) -> Catalogue:
        """The catalogue after publishing `entry`: it is current, what was current is kept."""
        name = entry.spec.name
        before = self._current.get(name)
        kept = [
            other
            for other in self._entries
            if other.spec.name != name or other.spec.version == before
        ]
        return Catalogue([*kept, entry], self._current | {name: entry.spec.version})

    def with_current(self, name: str, version: int) -> Catalogue:
        """The catalogue after going to a version that is kept."""
        return Catalogue(self._entries, self._current | {name: version})

    def encode(self) -> bytes:
        """Bytes that `decode` reads."""
        document = {
            "format": FORMAT,
            "tables": [asdict(entry) for entry in self._entries],
            "current": self._current,
        }
        text = json.dumps(document).encode()
        return zlib.crc32(text).to_bytes(4, "little") + text

    @classmethod
    def decode(cls, data: bytes | None) -> Catalogue:
        """The catalogue of these bytes; an empty one of None.

        Raises:
            CorruptionError: the bytes do not match their checksum.
            StoreError: another SEDP wrote them.
        """
        if data is None:
            return cls()
        if zlib.crc32(data[4:]) != int.from_bytes(data[:4], "little"):
            raise CorruptionError(
                "the store's catalogue does not match its checksum; restore the rocksdb folder"
            )
        document = json.loads(data[4:])
        if document["format"] not in READABLE:
            raise StoreError(
                f"the store has format {document['format']}, this SEDP reads {FORMAT}; import its "
                "tables into a new store, or use the SEDP that wrote it"
            )
        return cls((_entry(**fields) for fields in document["tables"]), document["current"])


def _entry(
    spec: dict[str, Any],
    rows: int,
    seed: int,
    base: dict[str, Any] | None = None,
    records: int = 0,
) -> Entry:
    default, columns = tuple(spec.pop("default")), tuple(spec.pop("columns"))
    below = None if base is None else _entry(**base)
    return Entry(TableSpec(default=default, columns=columns, **spec), rows, seed, below, records)
