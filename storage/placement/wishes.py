"""What readers would have moved up: told to the writer in small files, one a reader.

Only the writer changes LMDB, and in a daemon of several workers it answers no look-ups. So a reader
writes down every now and then some of the keys that its RAM did not answer, and the keys that only
RocksDB had and that are wanted. The writer reads and removes the files; the first count as accesses
of its own, the second are offered. What nobody has fetched stays as it is, and nothing is added:
where there is no writer, each reader leaves one file until it is closed.
"""

from __future__ import annotations

import io
import logging
import os
import threading
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sedp.storage.tier import Keys

FOLDER = "wishes"  # in the store's
ASKED_MAX = 1 << 15  # keys of a version in one file
WANTED_MAX = 1 << 13
_SUFFIX = ".npz"
_ASKED, _WANTED = "asked/", "wanted/"  # before the name of a version

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wish:
    """Of one reader and version, by the name of its entry.

    Args:
        asked: uint64[n], keys that RAM did not answer, repeats and all.
        wanted: uint64[m], keys that are asked for again and again, or damaged in LMDB.
    """

    name: str
    asked: Keys
    wanted: Keys


class _Sample:
    """The first keys since it was emptied."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._parts: list[Keys] = []
        self._count = 0

    def add(self, keys: Keys) -> None:
        part = keys[: self._count_max - self._count]
        if len(part):
            self._parts.append(part)
            self._count += len(part)

    def joined(self) -> Keys:
        return np.concatenate([np.empty(0, np.uint64), *self._parts])


class WishBook:
    """What a reader wishes for; from any thread.

    Args:
        store: the store's folder.
    """

    def __init__(self, store: Path) -> None:
        self._file = store / FOLDER / f"{os.getpid()}-{id(self):x}{_SUFFIX}"
        self._lock = threading.Lock()
        self._asked: dict[str, _Sample] = {}
        self._wanted: dict[str, _Sample] = {}
        self._said = ""

    def note(self, name: str, keys: Keys) -> None:
        """RAM did not answer these keys of a version."""
        with self._lock:
            self._asked.setdefault(name, _Sample(ASKED_MAX)).add(keys)

    def want(self, name: str, keys: Keys) -> None:
        """These keys of a version should be in LMDB, and sound."""
        with self._lock:
            self._wanted.setdefault(name, _Sample(WANTED_MAX)).add(keys)

    def write(self) -> None:
        """Tell the writer, if it has fetched what it was told before; then begin anew."""
        with self._lock:
            asked, self._asked = self._asked, {}
            wanted, self._wanted = self._wanted, {}
        if not wanted or self._file.exists():
            return
        arrays = {_WANTED + name: sample.joined() for name, sample in wanted.items()}
        arrays |= {_ASKED + name: sample.joined() for name, sample in asked.items()}
        data = io.BytesIO()
        np.savez(data, **arrays)  # type: ignore[arg-type]
        draft = self._file.with_suffix(".draft")
        try:
            self._file.parent.mkdir(exist_ok=True)
            draft.write_bytes(data.getvalue())
            draft.rename(self._file)
        except OSError as err:
            if str(err) != self._said:
                _log.warning("rows wanted in LMDB are not told to the writer: %s", err)
            self._said = str(err)

    def close(self) -> None:
        """Wish for nothing any more."""
        with suppress(OSError):
            self._file.unlink(missing_ok=True)


def fetch_wishes(store: Path) -> Iterator[Wish]:
    """What readers have told since the last time; the files are removed."""
    for file in sorted((store / FOLDER).glob(f"*{_SUFFIX}")):
        try:
            data = file.read_bytes()
            file.unlink()
            yield from _wishes(_arrays(data))
        except (OSError, ValueError, zipfile.BadZipFile) as err:
            _log.warning("wishes of a reader in %s are not read: %s", file, err)


def _arrays(data: bytes) -> dict[str, Keys]:
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise ValueError("they are no archive")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {name: arrays[name].astype(np.uint64).ravel() for name in arrays.files}


def _wishes(arrays: dict[str, Keys]) -> Iterator[Wish]:
    for name, wanted in arrays.items():
        if name.startswith(_WANTED):
            version = name.removeprefix(_WANTED)
            yield Wish(version, arrays.get(_ASKED + version, np.empty(0, np.uint64)), wanted)
