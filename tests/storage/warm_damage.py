"""Damages closed warm tiers and uses them, in a process of its own that may die of it.

Run with a folder, a kind of damage, the first seed and how many. Prints one line a trial, before
anything is read: the process that dies has told which trial it was.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sedp.errors import StoreError
from sedp.storage.lmdb.audit import Audit
from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.lmdb.format import read_metas
from sedp.storage.rows.bucket import PAGE_BYTES
from tests.storage.warm_tables import WarmTable, change, fill, last_epochs, look_up_warm

EPOCHS = 40
TABLES = (WarmTable("user", 16, "hashed", 2500), WarmTable("item", 700, "dense", 300))


def make_sound(path: Path) -> None:
    """A closed database of two tables, with updates, a log and free pages."""
    database = LmdbDatabase(path, read_only=False)
    for table in (*TABLES, WarmTable("gone", 16, "hashed", 500)):
        fill(database, table)
    for epoch in range(1, EPOCHS + 1):
        with database.updating() as writer:
            for table in TABLES:
                change(database, writer, table, epoch)
        if epoch % 7 == 0:
            database.refresh()
    database.drop(WarmTable("gone", 16, "hashed", 500).entry.name)
    database.close()


def flip_bit(file: Path, rng: np.random.Generator) -> None:
    size = file.stat().st_size
    offset = int(rng.integers(size)) if rng.random() < 0.5 else _near_structure(file, rng)
    with file.open("r+b") as data:
        data.seek(offset)
        byte = data.read(1)[0] ^ 1 << int(rng.integers(8))
        data.seek(offset)
        data.write(bytes([byte]))


def _near_structure(file: Path, rng: np.random.Generator) -> int:
    """An offset in a meta, branch or leaf page, or in the header of any page."""
    pages = np.frombuffer(file.read_bytes(), dtype=np.uint8).reshape(-1, PAGE_BYTES)
    kinds = pages[:, 10]
    numbers = pages[:, :8].copy().view(np.uint64).ravel()
    leads = np.flatnonzero(((kinds & 0x0B) > 0) & (numbers == np.arange(len(pages))))
    audit = Audit(memoryview(pages.ravel()), read_metas(file)[1])
    audit.check({b"versions", b"log"}, with_free=False)
    leads = leads[audit._used[leads]]
    if rng.random() < 0.2:
        return int(rng.integers(len(pages))) * PAGE_BYTES + int(rng.integers(16))
    page = int(rng.choice(leads))
    used = np.flatnonzero(pages[page])
    return page * PAGE_BYTES + int(rng.choice(used))


def overwrite_page(file: Path, rng: np.random.Generator) -> None:
    pages = file.stat().st_size // PAGE_BYTES
    page = int(rng.integers(pages)) if rng.random() < 0.5 else _near_structure(file, rng) // 4096
    kind = rng.integers(3)
    with file.open("r+b") as data:
        other = data.read()[page % 7 * PAGE_BYTES :][:PAGE_BYTES]
        data.seek(page * PAGE_BYTES)
        data.write([rng.bytes(PAGE_BYTES), bytes(PAGE_BYTES), other][kind])


def shorten(file: Path, rng: np.random.Generator) -> None:
    os.truncate(file, int(rng.integers(file.stat().st_size)))


DAMAGES: dict[str, Callable[[Path, np.random.Generator], None]] = {
    "flip": flip_bit,
    "page": overwrite_page,
    "shorten": shorten,
}


def use(path: Path) -> str:
    """Open the database, read all of it, change all of it; says what it was good for."""
    database = LmdbDatabase(path, read_only=False)
    held = database.versions()
    lost = 0
    for table in TABLES:
        if table.entry.name in held:
            lost += look_up_warm(database, table, last_epochs(table, EPOCHS))
    with database.updating() as writer:
        for table in TABLES:
            if table.entry.name in held:
                change(database, writer, table, 99)
    database.refresh()
    for table in TABLES:
        if table.entry.name in held:
            lost += look_up_warm(database, table, np.full(table.rows, 99, np.uint64))
    fill(database, WarmTable("more", 16, "hashed", 700))
    for name in database.names():
        database.drop(name)
    fill(database, WarmTable("again", 16, "hashed", 700))
    database.close()
    return f"{len(held)} {lost}"


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> None:
    folder, kind, first, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    for seed in range(first, first + count):
        path = folder / f"trial-{os.getpid()}"
        shutil.copytree(folder / "sound", path)
        DAMAGES[kind](path / "data.mdb", np.random.default_rng(seed))
        say(f"{kind} {seed} ")
        try:
            say(use(path) + "\n")
        except StoreError as err:
            say(f"0 0 {err}\n")
        shutil.rmtree(path)


if __name__ == "__main__":
    main()
