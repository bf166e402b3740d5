"""Tables from NPZ, read a chunk at a time, compressed or not. Never unpickled."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.storage.imports.array_file import open_array_file
from sedp.storage.imports.table_file import TableFile

NPZ_ERRORS = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,  # it is encrypted, or compressed in a way that Python does not know
    tokenize.TokenError,  # numpy reads headers of Python 2 with a tokenizer
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a damaged NPZ file may raise."""

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def open_npz(
    path: Path, dtype: str = "", columns: tuple[str, ...] = (), tensor: str = ""
) -> TableFile:
    """Open an NPZ file; the arguments and errors are those of `open_array_file`."""
    return open_array_file(_open, path, dtype, columns, tensor)


@contextmanager
def _open(path: Path) -> Iterator[_NpzFile]:
    with ExitStack() as opened:
        with _damage_told(path):
            archive = opened.enter_context(zipfile.ZipFile(path))
        yield _NpzFile(path, archive, opened)


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except NPZ_ERRORS as err:
        raise StoreError(f"{path} cannot be read as NPZ: {err}; save it anew") from err


class _NpzFile:
    def __init__(self, path: Path, archive: zipfile.ZipFile, opened: ExitStack) -> None:
        self._path = path
        self._archive = archive
        self._opened = opened

    @property
    def names(self) -> list[str]:
        names = self._archive.namelist()
        return [name.removesuffix(".npy") for name in names if name.endswith(".npy")]

    def array(self, name: str) -> _Array:
        with _damage_told(self._path):
            file = self._opened.enter_context(self._archive.open(f"{name}.npy"))
            array = _Array(self._path, file)
        if array.dtype.hasobject:
            raise StoreError(
                f"{self._path} cannot be read as NPZ: array {name!r} holds pickled Python objects, "
                "which are never loaded; save it as numbers"
            )
        return array


class _Array:
    """An array whose bytes come after its header, row after row."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        version = npy.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"an array is in version {version} of its format, not (1, 0), (2, 0)")
        self.shape, self._is_fortran, self.dtype = _HEADERS[version](file)
        self._path = path
        self._file = file
        self._start = file.tell()

    def read(self, start: int, stop: int) -> NDArray[Any]:
        if self._is_fortran:
            return self._transposed[start:stop]
        row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:]))
        flat = self._bytes(start * row_bytes, (stop - start) * row_bytes)
        return np.frombuffer(flat, self.dtype).reshape(stop - start, *self.shape[1:])

    @cached_property
    def _transposed(self) -> NDArray[Any]:
        """All of an array that lies column after column."""
        size = self.dtype.itemsize * int(np.prod(self.shape))
        return np.frombuffer(self._bytes(0, size), self.dtype).reshape(self.shape[::-1]).T

    def _bytes(self, start: int, count: int) -> bytes:
        with _damage_told(self._path):
            self._file.seek(self._start + start)
            data = self._file.read(count)
            if len(data) < count:
                raise EOFError(f"an array ends {count - len(data)} bytes early")
        return data
