"""Shapes as callers write them, matched with the shapes a pipeline declares.

A leading batch axis of 1 is optional, whichever way the pipeline declares the tensor: `INT64[n]`
takes shape `[7]` or `[1, 7]`, and `FP32[1, n, 16]` takes `[1, 7, 16]` or `[7, 16]`. Sizes stay
Python ints until they are known to be small: `2**63` must not become negative on the way.
"""

from __future__ import annotations

from collections.abc import Sequence

from sedp.columns import Level, TensorSpec
from sedp.errors import RequestError


class WireShape:
    """The shapes that callers may write for one tensor.

    Args:
        name: the tensor's, for messages.
        tensor: as declared.
        rows_max: most candidates.
    """

    __slots__ = ("_is_item", "_leading_max", "_name", "_own", "_rank", "_rows_max", "_tensor")

    def __init__(self, name: str, tensor: TensorSpec, rows_max: int) -> None:
        self._name = name
        self._tensor = tensor
        self._rows_max = rows_max
        self._is_item = tensor.column.level is Level.ITEM
        self._own = list(tensor.column.shape)
        self._rank = len(self._own) + self._is_item
        self._leading_max = len(tensor.dims) - self._rank + 1

    def rows(self, written: list[int]) -> int:
        """Rows of the column that a shape stands for: candidates, or 1 at request level.

        Raises:
            RequestError: 400 for a shape the tensor cannot have, 413 for too many rows.
        """
        shape = written
        leading = len(shape) - self._rank
        if leading:
            if not 0 < leading <= self._leading_max or shape[:leading] != [1] * leading:
                raise self._unfit(written)
            shape = shape[leading:]
        rows = 1
        if self._is_item:
            rows, shape = shape[0], shape[1:]
        if shape != self._own:
            raise self._unfit(written)
        if not 1 <= rows <= self._rows_max:
            raise self._unfit_rows(rows)
        return rows

    def _unfit(self, written: list[int]) -> RequestError:
        return RequestError(
            f"tensor {self._name!r} has shape {show(written)}; it must be {self._tensor}"
        )

    def _unfit_rows(self, rows: int) -> RequestError:
        if rows < 1:
            return RequestError(f"tensor {self._name!r} has {show(rows)} rows; send at least 1")
        return RequestError(
            f"tensor {self._name!r} has {show(rows)} rows; at most {self._rows_max} are allowed: "
            "send fewer candidates a request",
            status=413,
        )


def show(value: int | Sequence[int]) -> str:
    """A caller's number or shape in a message, cut to a decent length."""
    if isinstance(value, Sequence):
        return f"[{', '.join(show(size) for size in value[:9])}{', …' * (len(value) > 9)}]"
    if abs(value) >= 2**64:
        return "over 2**64" if value > 0 else "under -2**64"
    return str(value)
