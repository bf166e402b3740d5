"""The RocksDB database of the truth: a column family a table version, and the catalogue.

Always raw mode: the library's default mode unpickles what it reads. The log is on, and the one
value that is ever overwritten, the catalogue, is written with a sync. Rows come in as sorted files
that are linked into the database in one step, and leave by dropping their column family, so no
row is ever rewritten.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import starmap
from pathlib import Path
from typing import Any

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    IngestExternalFileOptions,
    Options,
    Rdict,
    SstFileWriter,
    WriteOptions,
)

from sedp.errors import CorruptionError, StoreError
from sedp.storage.pairs import Pair, as_key_list, as_pairs
from sedp.storage.tier import Keys, Rows

CACHE_BYTES = 16 << 20  # blocks of all versions; RAM and LMDB keep rows, this need not
BLOOM_BITS = 10  # a key: 1 % of absent keys cost a read
_DEFAULT_FAMILY = "default"
_CATALOGUE_KEY = b"catalogue"


class RocksDatabase:
    """The database under `path`.

    Args:
        read_only: open beside the writer, as it is now; later changes are not seen.
        create: make it when it is not there.

    Raises:
        StoreError: it is not there, or open for writing elsewhere.
        CorruptionError: its files are damaged.
    """

    def __init__(self, path: Path, *, read_only: bool, create: bool) -> None:
        self._path = path
        self._cache = Cache(CACHE_BYTES)
        exists = (path / "CURRENT").exists()
        if not exists and (read_only or not create):
            raise StoreError(
                f"store {path.parent} does not exist; create it with "
                f"`sedp store import {path.parent} NAME FILE`"
            )
        self._idle = threading.Condition()
        self._readers = 0
        access = AccessType.read_only(False) if read_only else AccessType.read_write()
        with _translated(f"store {path.parent} cannot be opened"):
            names = Rdict.list_cf(str(path), self._options()) if exists else []
            families = {name: self._options() for name in names if name != _DEFAULT_FAMILY}
            self._database = Rdict(str(path), self._options(), families, access)
            self._families = {name: self._database.get_column_family(name) for name in families}
        self.names = set(families)

    def _options(self) -> Any:
        blocks = BlockBasedOptions()
        blocks.set_block_cache(self._cache)
        blocks.set_bloom_filter(BLOOM_BITS, False)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_block_based_table_factory(blocks)
        options.set_compression_type(DBCompressionType.none())  # rows of floats hardly compress
        options.set_keep_log_file_num(4)
        return options

    def read_catalogue(self) -> bytes | None:
        """The catalogue as last written, or None in a new database."""
        with _translated(f"store {self._path.parent}: catalogue not read"):
            catalogue: bytes | None = self._database.get(_CATALOGUE_KEY)
        return catalogue

    def write_catalogue(self, catalogue: bytes) -> None:
        """Replace the catalogue; it is on disk when this returns."""
        synced = WriteOptions()
        synced.sync = True
        with _translated(f"store {self._path.parent}: catalogue not written"):
            self._database.put(_CATALOGUE_KEY, catalogue, synced)

    def create(self, name: str) -> None:
        """Add an empty version."""
        with _translated(f"store {self._path.parent}: version not created"):
            family = self._database.create_column_family(name, self._options())
        self._families[name] = family
        self.names.add(name)

    def write_file(self, path: Path, keys: Keys, records: Rows) -> None:
        """Write records with ascending, distinct keys to a file that `ingest` can take."""
        with _translated(f"import file {path} not written"):
            writer = SstFileWriter(self._options())
            writer.open(str(path))
            deque(starmap(writer.__setitem__, as_pairs(keys, records)), maxlen=0)
            writer.finish()

    def ingest(self, name: str, paths: list[Path]) -> None:
        """Move files with disjoint ranges of keys into a version, all or none."""
        options = IngestExternalFileOptions()
        options.set_move_files(True)
        with _translated(f"store {self._path.parent}: import not taken in"):
            self._families[name].ingest_external_file([str(path) for path in paths], options)

    def read(self, name: str, keys: Keys) -> list[bytes | None]:
        """The record of every key, None where there is none.

        Raises:
            CorruptionError: a block on the way does not match its checksum.
        """
        with self._reading(name) as family, _translated(f"table version {name!r} not read"):
            records: list[bytes | None] = family.get(as_key_list(keys))
        return records

    @contextmanager
    def _reading(self, name: str) -> Iterator[Any]:
        """The version's handle, counted, because closing it in use is an error."""
        with self._idle:
            family = self._families.get(name)
            if family is None:
                raise StoreError(f"table version {name!r} was dropped; look up the current one")
            self._readers += 1
        try:
            yield family
        finally:
            with self._idle:
                self._readers -= 1
                self._idle.notify_all()

    def scan(self, name: str) -> Iterator[Pair]:
        """Every key and record, ascending; ends early, without a word, at a damaged block."""
        return iter(self._families[name].items())

    def bytes(self, name: str) -> int:
        """Size of a version's files; 0 if it was dropped."""
        with self._idle:
            family = self._families.get(name)
            if family is None:
                return 0
            return int(family.property_int_value("rocksdb.total-sst-files-size"))

    def drop(self, name: str) -> None:
        """Remove a version and its files."""
        # The handle goes first: on a full disk the drop works and yet raises, and to close the
        # handle of a dropped family is an error.
        self._families.pop(name, None)
        with _translated(f"store {self._path.parent}: version not removed"):
            self._database.drop_column_family(name)
        self.names.discard(name)

    def close(self) -> None:
        """Refuse further reads, wait for those under way, and give up the lock."""
        with self._idle:
            families = list(self._families.values())
            self._families.clear()
            self._idle.wait_for(lambda: self._readers == 0)
        for family in families:
            family.close()
        self._database.close()


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn the library's errors into ours: it raises `Exception` itself, with RocksDB's words."""
    try:
        yield
    except Exception as err:
        if "LOCK: " in str(err):
            raise StoreError(
                f"{what}: it is open for writing already, here or in another process; close that "
                "one, or open this one with read_only=True"
            ) from err
        if str(err).startswith("Corruption"):
            raise CorruptionError(
                f"{what}: {err}; import the table again, or restore the folder"
            ) from err
        raise StoreError(f"{what}: {err}") from err
