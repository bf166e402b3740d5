"""What an online update must be like before it is let near the rows that are served."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.storage.table_spec import TableSpec
from sedp.storage.tier import Keys
from sedp.storage.updates.updates import DURABILITIES, UPDATE_ROWS_MAX

ID_CHARS_MAX = 128


class UpdateGuard:
    """Checks updates of one table.

    Args:
        norm_max: most that the Euclidean norm of a row may be, as its sender says; None for any.
        table_norm_max: the same, as the table's owner says; the smaller of both holds.

    Raises:
        StoreError: the sender's bound is none.
    """

    def __init__(
        self, spec: TableSpec, norm_max: float | None, table_norm_max: float | None = None
    ) -> None:
        self.spec = spec
        check_norms({spec.name: norm_max} if norm_max is not None else {})
        named = [(norm_max, "norm_max"), (table_norm_max, "the table's norm_max")]
        bounds = [(bound, name) for bound, name in named if bound is not None]
        self._bound = min(bounds) if bounds else None

    def check(self, keys: Keys, rows: NDArray[Any], durability: str, id: str) -> None:
        """Refuse what does not fit.

        Raises:
            StoreError: the message says what, and the limit.
        """
        name = f"update of {self.spec.name!r}"
        if durability not in DURABILITIES:
            raise StoreError(
                f"{name}: durability {durability!r} is not one of {', '.join(DURABILITIES)}"
            )
        if len(id) > ID_CHARS_MAX:
            raise StoreError(f"{name}: id of {len(id)} characters; at most {ID_CHARS_MAX}")
        if keys.dtype != np.uint64 or keys.ndim != 1 or not 1 <= len(keys) <= UPDATE_ROWS_MAX:
            raise StoreError(
                f"{name}: keys are {keys.dtype}{list(keys.shape)}; they must be uint64[n], "
                f"1 ≤ n ≤ {UPDATE_ROWS_MAX}"
            )
        if rows.dtype != self.spec.row_dtype or rows.shape != (len(keys), self.spec.dim):
            raise StoreError(
                f"{name}: rows are {rows.dtype}{list(rows.shape)}; with {len(keys)} keys they must "
                f"be {self.spec.dtype}[{len(keys)}, {self.spec.dim}]"
            )
        if rows.dtype.kind == "f":
            _check_finite(name, keys, rows)
        if self._bound is not None:
            _check_norms(name, keys, rows, *self._bound)


def check_norms(norms: Mapping[str, float]) -> None:
    """Raises StoreError unless each table's greatest norm is a number above 0."""
    for table, norm_max in norms.items():
        if not 0 < norm_max < math.inf:
            raise StoreError(
                f"table {table!r}: norm_max {norm_max} must be above 0 and finite; leave it out "
                "for rows of any norm"
            )


def _check_norms(
    name: str, keys: Keys, rows: NDArray[Any], norm_max: float, bound_name: str
) -> None:
    norms = np.linalg.norm(rows.astype(np.float64), axis=1)
    worst = int(np.argmax(norms))
    if norms[worst] > norm_max:
        raise StoreError(
            f"{name}: the row of key {keys[worst]} has norm {norms[worst]}, the limit is "
            f"{norm_max}; send smaller steps, or raise {bound_name}"
        )


def _check_finite(name: str, keys: Keys, rows: NDArray[Any]) -> None:
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise StoreError(
            f"{name}: {len(bad)} of {len(keys)} rows, the first of key {keys[bad[0]]}, hold "
            "NaN or infinity; send finite numbers"
        )
