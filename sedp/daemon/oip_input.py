"""One input tensor of a request: from its JSON entry and the binary part to a column."""

from __future__ import annotations

import math

from sedp.columns import Array, Level, TensorSpec
from sedp.daemon.oip_shapes import WireShape, show
from sedp.daemon.oip_wire import NO_DATA, InputTensor, TensorParameters
from sedp.daemon.tensors import read_binary, read_json
from sedp.errors import RequestError


class InputReader:
    """Reads one input of a pipeline; what its type fixes is worked out once.

    Args:
        name: the input's.
        tensor: as declared.
        rows_max: most candidates.
    """

    __slots__ = ("_own", "_own_count", "_wire_shape", "datatype", "is_item", "name", "tensor")

    def __init__(self, name: str, tensor: TensorSpec, rows_max: int) -> None:
        self.name = name
        self.tensor = tensor
        self.datatype = tensor.column.datatype
        self.is_item = tensor.column.level is Level.ITEM
        self._own = tensor.column.shape
        self._own_count = math.prod(self._own)
        self._wire_shape = WireShape(name, tensor, rows_max)

    def rows(self, item: InputTensor) -> int:
        """Check datatype and shape: candidates, or 1 at request level.

        Raises:
            RequestError: 400, or 413 for too many rows.
        """
        if item.datatype != self.datatype:
            raise RequestError(
                f"tensor {self.name!r} has datatype {item.datatype[:16]!r}; "
                f"it must be {self.datatype}"
            )
        return self._wire_shape.rows(item.shape)

    def read(self, item: InputTensor, rows: int, body: bytes, at: int) -> tuple[Array, int]:
        """The column, and where the next binary tensor begins in `body`.

        Args:
            rows: from `rows`.
            at: where this one's bytes begin, if it has any.

        Raises:
            RequestError: 400.
        """
        count = rows * self._own_count
        size = self._binary_size(item, len(body) - at)
        if size is None:
            flat = read_json(self.name, self.datatype, item.shape, count, bytes(item.data))
        else:
            flat = read_binary(self.name, self.datatype, count, body, at, size)
            at += size
        return (flat.reshape(rows, *self._own) if self._own else flat), at

    def _binary_size(self, item: InputTensor, left: int) -> int | None:
        """Bytes of this input after the JSON part; `None` when its data is JSON."""
        size = None
        if item.parameters is not None:
            check_features(self.name, item.parameters)
            size = item.parameters.binary_data_size
        if (size is None) == (item.data is NO_DATA):
            raise RequestError(
                f"tensor {self.name!r} must have either data or the parameter binary_data_size"
            )
        if size is not None and not 0 <= size <= left:
            raise RequestError(
                f"tensor {self.name!r}: binary_data_size {show(size)}, but {left} bytes are left "
                "in the body"
            )
        return size


def check_features(name: str, parameters: TensorParameters) -> None:
    """Refuse what would otherwise be ignored although it changes the meaning.

    Raises:
        RequestError: 400.
    """
    if parameters.shared_memory_region is not None:
        raise RequestError(f"tensor {name!r}: no shared memory here; send the data in the body")
    if parameters.classification is not None:
        raise RequestError(f"output {name!r}: no classification here; ask for the tensor itself")
