"""`sedp store backup` and `restore`: a whole store into another folder, and back.

A backup is the truth alone, RocksDB's files. They never change once written, so that on the same
disk they are linked, not copied: it takes a moment, and no room until the store has moved on.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click

from sedp.cli.options import bytes_option, folder_argument
from sedp.errors import StoreError

FIXED_SUFFIX = ".sst"  # of files that are written once


@click.command(epilog="Example:\n\n  sedp store backup .sedp/store /backups/monday")
@folder_argument("path")
@folder_argument("folder")
def backup(path: Path, folder: Path) -> None:
    """Make FOLDER, which must not be there, a backup of the store at PATH.

    It has all tables with the versions kept and all updates; what LMDB and RAM hold is made from
    it again. On the same disk files are linked: copy FOLDER to another disk or machine, too.
    """
    from sedp.storage.store import ParameterStore

    # Open for writing: whoever reads beside a writer may miss what is still in his log alone.
    with ParameterStore.open(path, ram_bytes=0) as store:
        store.back_up(folder)
        names = [spec.name for spec in store.tables()]
    click.echo(f"{folder}: backup of {_tables(names)}")


@click.command(epilog="Example:\n\n  sedp store restore /backups/monday .sedp/store")
@folder_argument("folder")
@folder_argument("path")
@bytes_option(
    "lmdb",
    "Most that a version may take in LMDB, e.g. 20GiB; without it all rows are copied there.",
)
def restore(folder: Path, path: Path, lmdb_bytes: int | None) -> None:
    """Make PATH, which must not be there, a store with all that the backup FOLDER has.

    The backup stays as it is. LMDB's copies are made, so the store can be served at once.
    """
    from sedp.storage.opening import LMDB_BYTES_MAX
    from sedp.storage.store import ParameterStore

    if not (folder / "rocksdb" / "CURRENT").exists():
        raise StoreError(f"{folder} is no backup; name a folder that `sedp store backup` made")
    if path.exists():
        raise StoreError(f"{path} is there already; name a folder that is not, or move it away")
    _copy(folder, path)
    limit = LMDB_BYTES_MAX if lmdb_bytes is None else lmdb_bytes
    with ParameterStore.open(path, ram_bytes=0, lmdb_bytes=limit) as store:
        store.settle()
        names = [spec.name for spec in store.tables()]
    click.echo(f"{path}: {_tables(names)} restored from {folder}")


def _copy(folder: Path, path: Path) -> None:
    """The truth of a store, all of it or nothing."""
    draft = path.with_name(f"{path.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        shutil.copytree(folder / "rocksdb", draft / "rocksdb", copy_function=_copy_file)
        draft.rename(path)
    except OSError as err:
        shutil.rmtree(draft, ignore_errors=True)
        raise StoreError(f"{path} cannot be written: {err}; free some space, try again") from err


def _copy_file(source: str, target: str) -> None:
    if source.endswith(FIXED_SUFFIX):
        try:
            os.link(source, target)
            return
        except OSError:  # another disk, or one that knows no links
            pass
    shutil.copy2(source, target)


def _tables(names: list[str]) -> str:
    return f"{len(names)} table{'s' * (len(names) != 1)} ({', '.join(names) or 'none'})"
