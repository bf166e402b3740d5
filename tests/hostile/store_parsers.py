"""The parsers of the store: its own records, and the files that tables are made of."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile.parser import Parse, Parser


def update_log(_folder: Path) -> Parse:
    from sedp.storage.lmdb.update_log import collect

    def parse(data: bytes) -> None:
        collect([data])
        collect(data.split(b"\n"))

    return parse


def update_entry() -> bytes:
    from sedp.storage.lmdb.update_log import encode_entry

    return encode_entry({"user": np.arange(3, dtype=np.uint64)})


def table_file(suffix: str) -> Callable[[Path], Parse]:
    def make(folder: Path) -> Parse:
        from sedp.errors import StoreError
        from sedp.storage.imports.npz_file import open_npz
        from sedp.storage.imports.safetensors_file import open_safetensors

        path = folder / f"fuzzed.{suffix}"
        open_file = open_npz if suffix == "npz" else open_safetensors

        def parse(data: bytes) -> None:
            path.write_bytes(data)
            with contextlib.suppress(StoreError):
                for _ in open_file(path).chunks:
                    pass

        return parse

    return make


def npz(**arrays: Any) -> bytes:
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    return packed.getvalue()


def safetensors() -> bytes:
    head = b'{"rows":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}'
    return struct.pack("<Q", len(head)) + head + bytes(16)


def access_sample(folder: Path) -> Parse:
    from sedp.errors import StoreError
    from sedp.storage.advice.access_log import load_sample

    path = folder / "fuzzed.npz"

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        with contextlib.suppress(StoreError):
            load_sample(path)

    return parse


def sample() -> bytes:
    ones = np.arange(3, dtype=np.uint64)
    numbers = np.array([3, 8, 0, 3, 1, 0])
    return npz(table=np.array("user"), keys=ones, times=ones, numbers=numbers)


STORE_PARSERS = {
    "update log": Parser(update_log, (update_entry(),)),
    "npz": Parser(
        table_file("npz"),
        (npz(keys=np.arange(2), rows=np.ones((2, 2), np.float32)), npz(rows=np.ones((2, 2)))),
    ),
    "safetensors": Parser(table_file("safetensors"), (safetensors(),)),
    "access sample": Parser(access_sample, (sample(),)),
}
