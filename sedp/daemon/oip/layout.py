"""What the JSON part of a request says about it, checked: everything but the tensors' values.

A layout follows from the JSON part and the number of bytes behind it alone, and callers who send
binary tensors send the same JSON part again and again: `RequestReader` therefore keeps the recent
ones. Sizes are Python ints and are compared with limits and byte counts before any tensor is built.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from sedp.columns import ANY, DTYPES, Level, TensorSpec
from sedp.daemon.oip.outputs import WantedOutput, WantedOutputs
from sedp.daemon.oip.shapes import WireShape, show
from sedp.daemon.oip.tensors import JSON_KINDS
from sedp.daemon.oip.wire import (
    LENGTH_HEADER,
    NO_DATA,
    NO_PARAMETERS,
    InputTensor,
    OutputTensor,
    RequestBody,
    RequestParameters,
    TensorParameters,
    decode_body,
)
from sedp.errors import RequestError
from sedp.pipeline import Pipeline
from sedp.pipeline_checks import nearest

TIMEOUT_US_MAX = 2**63 // 1_000 - 1  # in nanoseconds it must stay an int64


class PlacedInput(msgspec.Struct, frozen=True):
    """Where an input's values are, and how many.

    Args:
        wire_shape: as the caller wrote it; `shape` is the column's.
        count: the product of either.
        data: the values as JSON, when `size` is `None`.
        start, size: the values' bytes, counted from the end of the JSON part.
    """

    name: str
    datatype: str
    wire_shape: list[int]
    shape: tuple[int, ...]
    count: int
    data: msgspec.Raw
    start: int
    size: int | None


class Layout(msgspec.Struct, frozen=True):
    """A request without its values.

    Args:
        id: the caller's, to be sent back; `None` when not given.
        rows: candidates; 1 when no input is at item level.
        splits: int64[2], of a batch of this request alone.
        timeout_ns: from the request's arrival; `None` when not given.
        priority: 1 is the highest, 0 the default.
    """

    id: str | None
    inputs: tuple[PlacedInput, ...]
    rows: int
    splits: NDArray[np.int64]
    outputs: WantedOutputs
    timeout_ns: int | None
    priority: int


class LayoutReader:
    """Reads layouts of one pipeline's requests.

    Args:
        pipeline: whose inputs and outputs are expected.
        tensors_max: most inputs, and most outputs, a request may list.
    """

    def __init__(self, pipeline: Pipeline, tensors_max: int) -> None:
        self._inputs = pipeline.inputs
        self._outputs = pipeline.outputs
        self._tensors_max = tensors_max
        self._shapes = {
            name: WireShape(name, tensor, pipeline.rows_max)
            for name, tensor in pipeline.inputs.items()
        }
        self._all_outputs = {
            binary: WantedOutputs(
                WantedOutput(name, t, binary) for name, t in pipeline.outputs.items()
            )
            for binary in (False, True)
        }

    def read(self, head: bytes, tail_bytes: int) -> Layout:
        """Decode and check a request's JSON part.

        Args:
            head: the JSON part.
            tail_bytes: bytes behind it; the inputs must use up all of them.

        Raises:
            RequestError: 400, or 413 for more rows or tensors than allowed.
        """
        return self._lay_out(decode_body(head), tail_bytes)

    def raw(self, body_bytes: int) -> Layout:
        """The layout of a body that is nothing but the bytes of the only input.

        Raises:
            RequestError: 400, there are several inputs, or the bytes make no whole rows.
        """
        if len(self._inputs) != 1:
            raise RequestError(
                f"{LENGTH_HEADER}: 0 means the body is the one input tensor, but this pipeline "
                f"has {len(self._inputs)}; send them with a JSON part"
            )
        [(name, tensor)] = self._inputs.items()
        datatype = tensor.column.datatype
        if datatype == "BYTES":
            raise RequestError(f"tensor {name!r}: BYTES has no raw form; send a JSON part")
        row_bytes = math.prod(tensor.column.shape) * DTYPES[datatype].itemsize
        shape = [body_bytes // row_bytes if size == ANY else size for size in tensor.dims]
        item = InputTensor(
            name, datatype, shape, parameters=TensorParameters(binary_data_size=body_bytes)
        )
        parameters = RequestParameters(binary_data_output=True)
        return self._lay_out(RequestBody([item], parameters=parameters), body_bytes)

    def _lay_out(self, body: RequestBody, tail_bytes: int) -> Layout:
        self._check_tensor_count("inputs", len(body.inputs))
        rows, inputs = self._place(body.inputs, tail_bytes)
        parameters = body.parameters or NO_PARAMETERS
        return Layout(
            body.id,
            tuple(inputs.values()),
            rows,
            np.array((0, rows), np.int64),
            self._wanted(body.outputs, parameters.binary_data_output),
            _timeout_ns(parameters),
            _priority(parameters),
        )

    def _check_tensor_count(self, what: str, count: int) -> None:
        if count > self._tensors_max:
            raise RequestError(f"{what}: {count} tensors; at most {self._tensors_max}", 413)

    def _place(
        self, items: Sequence[InputTensor], tail_bytes: int
    ) -> tuple[int, dict[str, PlacedInput]]:
        """The number of candidates, and every input in its place."""
        placed: dict[str, PlacedInput] = {}
        rows, rows_from = 1, ""
        at = 0
        for item in items:
            tensor = self._expected(item, placed)
            own_rows = self._shapes[item.name].rows(item.shape)
            if tensor.column.level is Level.ITEM:
                if rows_from and own_rows != rows:
                    raise RequestError(
                        f"tensor {item.name!r} has {own_rows} rows, but {rows_from!r} has {rows}; "
                        "every candidate needs one row in both"
                    )
                rows, rows_from = own_rows, item.name
            shape = (own_rows, *tensor.column.shape)
            size = _binary_size(item, tail_bytes - at)
            placed[item.name] = PlacedInput(
                item.name, item.datatype, item.shape, shape, math.prod(shape), item.data, at, size
            )
            at += size or 0
        if len(placed) != len(self._inputs):
            missing = ", ".join(sorted(self._inputs.keys() - placed.keys()))
            raise RequestError(f"inputs: missing {missing}; send every input of the pipeline")
        if at != tail_bytes:
            raise RequestError(
                f"{tail_bytes} bytes follow the JSON part, but the inputs' binary_data_size add "
                f"up to {at}; check {LENGTH_HEADER}"
            )
        return rows, placed

    def _expected(self, item: InputTensor, placed: Mapping[str, PlacedInput]) -> TensorSpec:
        """The declared type of an input, once name and datatype fit."""
        tensor = self._inputs.get(item.name)
        if tensor is None:
            raise RequestError(_unknown("input", item.name, self._inputs))
        if item.name in placed:
            raise RequestError(f"input {item.name!r} is there twice; send it once")
        if item.datatype != tensor.column.datatype:
            raise RequestError(
                f"tensor {item.name!r} has datatype {item.datatype[:16]!r}; "
                f"it must be {tensor.column.datatype}"
            )
        return tensor

    def _wanted(self, items: Sequence[OutputTensor] | None, binary: bool) -> WantedOutputs:
        """What to send back; everything when the caller names nothing."""
        if not items:
            wanted = self._all_outputs[binary]
        else:
            self._check_tensor_count("outputs", len(items))
            wanted = WantedOutputs(self._wanted_output(item, binary) for item in items)
            if len({item.name for item in wanted}) != len(wanted):
                raise RequestError("outputs: a name is there twice; ask for each output once")
        for item in wanted:
            if not item.binary and item.tensor.column.datatype not in JSON_KINDS:
                raise RequestError(
                    f"output {item.name!r} is {item.tensor.column.datatype}, which has no JSON "
                    "form; set binary_data in its parameters or binary_data_output in the request's"
                )
        return wanted

    def _wanted_output(self, item: OutputTensor, binary: bool) -> WantedOutput:
        tensor = self._outputs.get(item.name)
        if tensor is None:
            raise RequestError(_unknown("output", item.name, self._outputs))
        own = None
        if item.parameters is not None:
            _check_features(item.name, item.parameters)
            own = item.parameters.binary_data
        return WantedOutput(item.name, tensor, binary if own is None else own)


def _binary_size(item: InputTensor, left: int) -> int | None:
    """Bytes of an input behind the JSON part; `None` when its data is JSON."""
    size = None
    if item.parameters is not None:
        _check_features(item.name, item.parameters)
        size = item.parameters.binary_data_size
    if (size is None) == (item.data is NO_DATA):
        raise RequestError(
            f"tensor {item.name!r} must have either data or the parameter binary_data_size"
        )
    if size is not None and not 0 <= size <= left:
        raise RequestError(
            f"tensor {item.name!r}: binary_data_size {show(size)}, but {left} bytes are left "
            "in the body"
        )
    return size


def _check_features(name: str, parameters: TensorParameters) -> None:
    """Refuse what would otherwise be ignored although it changes the meaning."""
    if parameters.shared_memory_region is not None:
        raise RequestError(f"tensor {name!r}: no shared memory here; send the data in the body")
    if parameters.classification is not None:
        raise RequestError(f"output {name!r}: no classification here; ask for the tensor itself")


def _timeout_ns(parameters: RequestParameters) -> int | None:
    """The `timeout` parameter is in microseconds; 0 asks for the default."""
    timeout_us = parameters.timeout or 0
    if timeout_us < 0:
        raise RequestError(f"timeout: {show(timeout_us)} µs; it must not be negative")
    return min(timeout_us, TIMEOUT_US_MAX) * 1_000 or None


def _priority(parameters: RequestParameters) -> int:
    if parameters.sequence_id:
        raise RequestError("sequence_id: requests are independent here; leave it out")
    priority = parameters.priority or 0
    if not 0 <= priority < 2**32:
        raise RequestError(f"priority: {show(priority)}; 1 is the highest, 0 the default")
    return priority


def _unknown(what: str, name: str, known: Mapping[str, object]) -> str:
    return (
        f"there is no {what} {name[:64]!r}{nearest(name[:64], known)}; "
        f"known: {', '.join(sorted(known))}"
    )
