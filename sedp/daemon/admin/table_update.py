"""An online update as a caller sends it: keys and rows of one table.

Two forms. Plain JSON is for hands and scripts: `{"keys": [1], "rows": [[0.5, 0.5]]}`. For many
rows there is the binary form of an inference request whose inputs are `keys` and `rows`; what may
be wrong with one is checked by the reader of such requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from sedp.columns import ANY, DATATYPES, ColumnSpec, Level, TensorSpec
from sedp.daemon.oip.request import RequestReader
from sedp.errors import RequestError
from sedp.pipeline import Pipeline
from sedp.storage.table_spec import TableSpec
from sedp.storage.updates.updates import DURABILITIES, UPDATE_ROWS_MAX, Durability

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TableUpdate:
    """Rows to write.

    Args:
        keys: uint64[n].
        rows: dtype[n, dim] of the table.
        id: of the sender's choice, to send it again safely; "" for none.
    """

    keys: NDArray[Any]
    rows: NDArray[Any]
    durability: Durability
    id: str


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: list[int]
    rows: list[list[int | float]]
    durability: Literal["none", "async", "sync"] = "sync"
    id: str = ""


def read_update(
    spec: TableSpec, body: bytes, json_bytes: str | None, durability: str | None
) -> TableUpdate:
    """Decode an update.

    Args:
        spec: of the table.
        json_bytes: value of `Inference-Header-Content-Length`; `None` means plain JSON.
        durability: of the binary form; "sync" when `None`.

    Raises:
        RequestError: 400, or 413 for too many rows.
    """
    if json_bytes is None:
        return _read_plain(spec, decode_json(body, _Body))
    if durability not in (None, *DURABILITIES):
        raise RequestError(f"durability {durability!r}; use one of {', '.join(DURABILITIES)}")
    request = _reader(spec).read(body, json_bytes)
    columns = request.batch.columns
    chosen: Durability = durability or "sync"  # type: ignore[assignment]
    return TableUpdate(columns["keys"], columns["rows"], chosen, request.id or "")


def decode_json(body: bytes, kind: type[T]) -> T:
    """A `kind` from JSON.

    Raises:
        RequestError: 400, it is none.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as err:
        raise RequestError(f"the body is not valid: {err}") from err


def _read_plain(spec: TableSpec, body: _Body) -> TableUpdate:
    try:
        keys = np.array(body.keys, np.uint64)
    except OverflowError as err:
        raise RequestError("keys: one is below 0 or above 2**64 - 1") from err
    if any(len(row) != spec.dim for row in body.rows) or len(body.rows) != len(keys):
        raise RequestError(f"rows: send one for each key, of {spec.dim} numbers")
    if spec.row_dtype.kind != "f" and any(type(n) is float for row in body.rows for n in row):
        raise RequestError(f"rows: table {spec.name!r} holds {spec.dtype}; send whole numbers")
    try:
        with np.errstate(over="ignore"):  # infinities are refused with the rows they are in
            rows = np.array(body.rows, spec.row_dtype).reshape(len(keys), spec.dim)
    except OverflowError as err:
        raise RequestError(f"rows: a number does not fit into {spec.dtype}") from err
    return TableUpdate(keys, rows, body.durability, body.id)


def _reader(spec: TableSpec) -> RequestReader:
    keys = TensorSpec(ColumnSpec("UINT64", Level.ITEM), (ANY,))
    datatype = DATATYPES[spec.row_dtype]
    rows = TensorSpec(ColumnSpec(datatype, Level.ITEM, (spec.dim,)), (ANY, spec.dim))
    inputs = {"keys": keys, "rows": rows}
    return RequestReader(Pipeline(spec.name, inputs, {}, {}, (), UPDATE_ROWS_MAX), len(inputs))
