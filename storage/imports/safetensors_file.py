"""Tables from safetensors: mapped into memory and read a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.storage.imports.array_file import open_array_file
from sedp.storage.imports.table_file import TableFile

_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": np.float32,  # numpy has no such type: each tensor of these is widened when it is read
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
}


def open_safetensors(
    path: Path, dtype: str = "", columns: tuple[str, ...] = (), tensor: str = ""
) -> TableFile:
    """Open a safetensors file; the arguments are those of `open_array_file`.

    Raises:
        StoreError: safetensors is not installed, it is no such file, or its tensors do not fit.
    """
    return open_array_file(_open, path, dtype, columns, tensor)


@contextmanager
def _open(path: Path) -> Iterator[_SafetensorsFile]:
    try:
        import ml_dtypes  # noqa: F401 - gives numpy the bfloat16 that safetensors asks it for
        from safetensors import SafetensorError, safe_open
    except ImportError as err:
        raise StoreError(
            f"{path}: reading safetensors needs two packages; install them with "
            "`pip install sedp[safetensors]`"
        ) from err
    try:
        file = safe_open(path, framework="numpy")
    except (OSError, SafetensorError) as err:
        raise StoreError(f"{path} cannot be read as safetensors: {err}; save it anew") from err
    with file:
        yield _SafetensorsFile(path, file)


class _SafetensorsFile:
    def __init__(self, path: Path, file: Any) -> None:
        self._path = path
        self._file = file

    @property
    def names(self) -> list[str]:
        names: list[str] = self._file.keys()
        return names

    def array(self, name: str) -> _Tensor:
        part = self._file.get_slice(name)
        if part.get_dtype() not in _DTYPES:
            raise StoreError(
                f"{self._path}: tensor {name!r} is {part.get_dtype()}; it must be one of "
                + ", ".join(_DTYPES)
            )
        return _Tensor(part)


class _Tensor:
    def __init__(self, part: Any) -> None:
        self._part = part
        self.shape: list[int] = part.get_shape()
        self.dtype = np.dtype(_DTYPES[part.get_dtype()])

    def read(self, start: int, stop: int) -> NDArray[Any]:
        rows: NDArray[Any] = self._part[start:stop]
        return rows.astype(self.dtype, copy=False)
