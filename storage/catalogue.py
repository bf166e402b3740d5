"""The catalogue: which tables and versions exist, and which is current; one value, swapped whole.

What the catalogue does not name does not exist: the remains of an import that died are files and
families without an entry, removed at the next chance. It is JSON after its own checksum.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from sedp.errors import CorruptionError, StoreError
from sedp.storage.rocksdb_opening import entry_name
from sedp.storage.table_spec import TableSpec

FORMAT = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """One published table version.

    Args:
        spec: with its version.
        rows: how many it has.
        seed: random 64 bits, mixed into its checksums; no two imports share one.
    """

    spec: TableSpec
    rows: int
    seed: int

    @property
    def name(self) -> str:
        """What its parts are called in RocksDB and LMDB."""
        return entry_name(self.spec.name, self.spec.version, self.seed)


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

    def next_entry(self, spec: TableSpec, seed: int) -> Entry:
        """The entry, as yet without rows, of the version to come after those kept."""
        version = max(self.versions(spec.name), default=0) + 1
        return Entry(replace(spec, version=version), 0, seed)

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
        if document["format"] != FORMAT:
            raise StoreError(
                f"the store has format {document['format']}, this SEDP reads {FORMAT}; import its "
                "tables into a new store, or use the SEDP that wrote it"
            )
        return cls((_entry(**fields) for fields in document["tables"]), document["current"])


def _entry(spec: dict[str, Any], rows: int, seed: int) -> Entry:
    default, columns = tuple(spec.pop("default")), tuple(spec.pop("columns"))
    return Entry(TableSpec(default=default, columns=columns, **spec), rows, seed)
