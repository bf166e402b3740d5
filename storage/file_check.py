"""Looks at the files of a store in a process of its own: `python -m sedp.storage.file_check PATH`.

Damage can end the process that meets it: LMDB follows its pages in a mapping, where a lost page is
SIGBUS and a wrong one an assertion, and RocksDB is not written for damage everywhere either. So a
child goes first. It says on standard output what it is at, so that its end tells which tier failed.
No kernel is imported here: for a store of some hundred megabytes all of it takes 0.2 s.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import lmdb

from sedp.errors import StoreError
from sedp.storage.naming import entry_name
from sedp.storage.rocksdb.opening import CATALOGUE_KEY, DEFAULT_FAMILY, open_follower
from sedp.storage.rocksdb.options import make_options, new_cache

LMDB, ROCKSDB, DONE = "lmdb", "rocksdb", "done"  # what the child says
DAMAGED = 3  # its exit status; the reason is on standard error
_NAMES_MAX = 1026  # databases in one environment
_CACHE_BYTES = 1 << 20
_TRIES = 3

_log = logging.getLogger(__name__)


class DamagedFilesError(StoreError):
    """A file is not what its library wrote."""


def check_lmdb(folder: Path) -> None:
    """Visit all pages of LMDB that lead to others.

    Raises:
        DamagedFilesError: one of them is wrong, or lost.
    """
    file = folder / "data.mdb"
    if not file.exists() or not file.stat().st_size:
        return
    try:
        with lmdb.open(str(folder), readonly=True, max_dbs=_NAMES_MAX) as environment:
            pages = environment.info()["last_pgno"] + 1
            if file.stat().st_size < pages * environment.stat()["psize"]:
                raise DamagedFilesError(f"{file} is shorter than the {pages} pages it should have")
            with environment.begin() as transaction:
                for name in list(transaction.cursor().iternext(values=False)):
                    _walk(environment, transaction, name)
    except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.PageNotFoundError) as err:
        raise DamagedFilesError(f"{file}: {err}") from err
    except (lmdb.VersionMismatchError, lmdb.PanicError) as err:
        raise DamagedFilesError(f"{file}: {err}") from err
    except lmdb.Error as err:  # of the system, or too many readers: whoever opens it is told
        _log.info("%s is not checked: %s", file, err)


def _walk(environment: Any, transaction: Any, name: bytes) -> None:
    handle = environment.open_db(name, transaction, create=False)
    found = sum(1 for _ in transaction.cursor(db=handle).iternext(values=False))
    expected = transaction.stat(handle)["entries"]
    if found != expected:
        raise DamagedFilesError(f"{name!r} in LMDB has {found} records, not {expected}")


def check_rocksdb(folder: Path) -> None:
    """Open RocksDB as a reader does, and read the first and the last record of each version.

    Of a list of files that was cut short RocksDB takes what is left for all there is, and lacks
    what was written since: the catalogue tells of that, or is not there.

    Raises:
        StoreError: it cannot be opened, or read.
    """
    if not (folder / "CURRENT").exists():
        return
    for _ in range(_TRIES - 1):
        if _lacking(folder) is None:
            return
    reason = _lacking(folder)
    if reason is not None:
        raise DamagedFilesError(f"{folder} {reason}")


def _lacking(folder: Path) -> str | None:
    """What is not there; a writer that publishes just now can make it seem so."""
    cache = new_cache(_CACHE_BYTES)
    with tempfile.TemporaryDirectory(prefix="sedp-check-") as own:
        opened = open_follower(folder, lambda: make_options(cache), Path(own) / "log")
        try:
            held = {name for name, family in opened.families.items() if _has_records(family)}
            return _lacking_of(folder, opened.handle(DEFAULT_FAMILY), held, set(opened.families))
        except Exception as err:  # the library raises nothing more special
            raise DamagedFilesError(f"{folder}: {err}") from err
        finally:
            opened.close()


def _has_records(family: Any) -> bool:
    ends = [next(iter(family.items(backwards=last)), None) for last in (False, True)]
    return None not in ends


def _lacking_of(folder: Path, database: Any, held: set[str], families: set[str]) -> str | None:
    """Of versions with records, and all versions."""
    data = database.get(CATALOGUE_KEY)
    if data is None:  # as before the first import has ended, but then its files are known
        unknown = {file.name for file in folder.glob("*.sst")}
        unknown -= {file["name"].strip("/") for file in database.live_files()}
        return f"has no catalogue, but {', '.join(sorted(unknown))}" if unknown else None
    # By hand, as what decodes it brings kernels along; its checksum is for whoever opens the store.
    for entry in json.loads(data[4:])["tables"]:
        spec = entry["spec"]
        name = entry_name(spec["name"], spec["version"], entry["seed"])
        if name not in (held if entry["rows"] else families):
            return f"lacks {name}, which its catalogue names"
    return None


def main(path: Path) -> int:
    """Check both tiers of the store under `path`; the exit status."""
    try:
        for what, check in ((LMDB, check_lmdb), (ROCKSDB, check_rocksdb)):
            sys.stdout.write(f"{what}\n")
            sys.stdout.flush()
            check(path / what)
    except StoreError as err:
        sys.stderr.write(f"{err}\n")
        return DAMAGED
    sys.stdout.write(f"{DONE}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
