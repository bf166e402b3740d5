"""What the arrays of a look-up must be like: kernels that trust them read memory by address."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.storage.table_spec import TableSpec
from sedp.storage.tier import Keys, Mask


def check_look_up(spec: TableSpec, keys: Keys, out: NDArray[Any], missing: Mask) -> None:
    """Refuse arrays that do not fit each other or the table.

    Raises:
        ValueError: the message says what they must be.
    """
    check_keys(spec, keys)
    _check(spec, "out", out, spec.row_dtype, (len(keys), spec.dim))
    _check(spec, "missing", missing, np.dtype(np.bool_), (len(keys),))


def check_keys(spec: TableSpec, keys: Keys) -> None:
    """Refuse keys that are not uint64[n], C-contiguous; else as `check_look_up`."""
    _check(spec, "keys", keys, np.dtype(np.uint64), (len(keys),), is_read=True)


def _check(
    spec: TableSpec,
    name: str,
    array: NDArray[Any],
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    is_read: bool = False,
) -> None:
    flags = array.flags
    if array.dtype != dtype or array.shape != shape or not flags.c_contiguous:
        raise ValueError(
            f"table {spec.name!r}: {name} is {array.dtype}{list(array.shape)}; it must be "
            f"{dtype}{list(shape)}, C-contiguous"
        )
    if not flags.aligned or not (flags.writeable or is_read):
        raise ValueError(f"table {spec.name!r}: {name} is unaligned or read-only; pass a copy")
