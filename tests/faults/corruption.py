"""Damages a closed store, and serves from what is left, in a process of its own that may die of it.

Run with a folder, a tier, a kind of damage, the first seed and how many. Prints one line a trial,
its start before anything is read: a process that dies has told which trial it was.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sedp.errors import StoreError
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from tests.storage.tables import Keys, look_up, make_rows, some_keys

PAGE_BYTES = 4096
USER, ITEM = TableSpec("user", 16, "float32"), TableSpec("item", 8, "int64", layout="dense")
USERS, ITEMS = some_keys(2000), np.arange(1500, dtype=np.uint64)
UNKNOWN = some_keys(50, seed=1)
UPDATES = 30
CHUNK_KEYS = 100
UNREAD = ("LOCK", "LOG", "IDENTITY", "OPTIONS")  # starts of names of files that hold no data

Damage = Callable[[Path, np.random.Generator], None]


def make_sound(path: Path) -> None:
    """A store: a whole table, one that chains on a base, and updates in files and in the log.

    Its last process has ended without closing it.
    """
    with ParameterStore.open(path, create=True) as store:
        store.import_table(ITEM, [(ITEMS, make_rows(ITEM, ITEMS))])
        store.import_table(USER, [(USERS, make_rows(USER, USERS))])
        changed = USERS[::5].copy()
        store.import_table(USER, [(changed, make_rows(USER, changed, 2))], base="current")
        store.settle()
        _update(store, range(UPDATES // 2))
    child = os.fork()
    if not child:
        _update(ParameterStore.open(path), range(UPDATES // 2, UPDATES))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def _update(store: ParameterStore, numbers: range) -> None:
    for number in numbers:
        for spec, keys in (USER, USERS), (ITEM, ITEMS):
            part = _updated(keys, number)
            store.submit_update(
                spec.name, part, make_rows(spec, part, 3 + number), durability="sync"
            ).result()


def _updated(keys: Keys, number: int) -> Keys:
    return keys[number : number + 10 * (number + 1) : 7].copy()


def _expected(spec: TableSpec, keys: Keys) -> np.ndarray:
    rows = make_rows(spec, keys)
    if spec is USER:
        rows[::5] = make_rows(spec, keys[::5], 2)
    for number in range(UPDATES):
        part = _updated(keys, number)
        rows[np.isin(keys, part)] = make_rows(spec, part, 3 + number)
    return rows


def flip_bit(file: Path, rng: np.random.Generator) -> None:
    offset = _somewhere(file, rng)
    data = bytearray(file.read_bytes())
    data[offset] ^= 1 << int(rng.integers(8))
    file.write_bytes(data)


def overwrite_page(file: Path, rng: np.random.Generator) -> None:
    start = _somewhere(file, rng) // PAGE_BYTES * PAGE_BYTES
    data = bytearray(file.read_bytes())
    count = len(data[start : start + PAGE_BYTES])
    other = bytes(data[: PAGE_BYTES * 2])[-count:]
    data[start : start + count] = [rng.bytes(count), bytes(count), other][rng.integers(3)]
    file.write_bytes(data)


def shorten(file: Path, rng: np.random.Generator) -> None:
    os.truncate(file, _somewhere(file, rng))


def _somewhere(file: Path, rng: np.random.Generator) -> int:
    """An offset: anywhere, or near one of the ends, where files are described."""
    size = file.stat().st_size
    offset = int(rng.integers(size))
    return [offset, min(offset, int(rng.integers(512))), max(offset, size - 512)][rng.integers(3)]


DAMAGES: dict[str, Damage] = {"flip": flip_bit, "page": overwrite_page, "shorten": shorten}


def choose_file(folder: Path, rng: np.random.Generator) -> Path:
    """One with data, each as likely as any other: the small ones matter most."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.stat().st_size)
    files = [file for file in files if not file.name.startswith(UNREAD) and file.name != "lock.mdb"]
    return files[rng.integers(len(files))]


def use(path: Path, ram_bytes: int) -> str:
    """Look all up, many at once and few; says what came of it.

    Raises:
        AssertionError: a row was wrong, and nobody said so.
    """
    refused = served = 0
    with ParameterStore.open(path, ram_bytes=ram_bytes) as store:
        for spec, keys in (USER, USERS), (ITEM, ITEMS):
            asked = np.concatenate([keys, UNKNOWN if spec is USER else UNKNOWN[:0]])
            expected = _expected(spec, keys)
            for start in range(0, len(asked), CHUNK_KEYS):
                part = asked[start : start + CHUNK_KEYS]
                try:
                    rows, missing = look_up(store.table(spec.name), part)
                except StoreError:
                    refused += 1
                    continue
                served += 1
                known = expected[start : start + CHUNK_KEYS]
                assert missing.sum() == len(part) - len(known), f"{spec.name}: rows are lost"
                assert np.array_equal(rows[: len(known)], known), f"{spec.name}: rows are wrong"
        store.verify()
        store.settle()
    return f"served {served} refused {refused}"


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> None:
    folder, tier, kind = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    first, count = int(sys.argv[4]), int(sys.argv[5])
    for seed in range(first, first + count):
        rng = np.random.default_rng(seed)
        path = folder / f"trial-{tier}-{os.getpid()}"
        shutil.copytree(folder / "sound", path)
        file = choose_file(path / tier, rng)
        if tier == "rocksdb" and rng.random() < 0.5:
            shutil.rmtree(path / "lmdb")  # or it answers what RocksDB cannot
        DAMAGES[kind](file, rng)
        say(f"{tier} {kind} {seed} {file.name} ")
        try:
            say(use(path, [0, 1 << 20][seed % 2]) + "\n")
        except StoreError as err:
            say(f"closed {err}\n")
        except AssertionError as err:
            say(f"WRONG {err}\n")
        shutil.rmtree(path)


if __name__ == "__main__":
    main()
