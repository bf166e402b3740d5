"""Reads every record of a store and checks it: `sedp store verify`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from sedp.storage.catalogue import Entry
from sedp.storage.rows.scan import RecordSlice
from sedp.storage.tables.versions import TableVersions

Scan = tuple[Entry, str, int, Iterator[RecordSlice]]  # version, tier, rows expected, its rows


@dataclass(frozen=True, slots=True)
class VerifiedVersion:
    """What one tier really holds of one table version.

    Args:
        tier: "lmdb" or "rocksdb".
        rows: records found, damaged ones included.
        rows_expected: records that it should have at least; updates add some.
        corrupt: records that do not match their checksum.
    """

    table: str
    version: int
    tier: str
    rows: int
    rows_expected: int
    corrupt: int

    @property
    def is_sound(self) -> bool:
        """Every record is there and holds."""
        return self.rows >= self.rows_expected and self.corrupt == 0


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """One part a tier and table version."""

    parts: tuple[VerifiedVersion, ...]

    @property
    def is_sound(self) -> bool:
        """Every part is."""
        return all(part.is_sound for part in self.parts)


def list_scans(versions: TableVersions) -> Iterator[Scan]:
    """Scans of all versions in all tiers; none of them may be dropped meanwhile."""
    for entry in versions.catalogue.entries:
        version = versions.version(entry)
        yield entry, "rocksdb", entry.rows, version.truth.scan()
        if version.warm is not None:
            expected = version.warm.statistics().rows
            yield entry, "lmdb", expected, version.warm.scan()


def verify_scans(scans: Iterable[Scan], progress: Callable[[int], None] | None) -> VerifyReport:
    """Check all records of all scans; `progress` is told how many are checked so far."""
    parts, checked = [], 0
    for entry, tier, expected, slices in scans:
        spec, rows, corrupt = entry.spec, 0, 0
        for part in slices:
            rows += len(part.keys) + part.corrupt
            corrupt += part.corrupt
            if progress is not None:
                progress(checked + rows)
        checked += rows
        parts.append(VerifiedVersion(spec.name, spec.version, tier, rows, expected, corrupt))
    return VerifyReport(tuple(parts))
