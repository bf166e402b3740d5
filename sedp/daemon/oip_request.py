"""An Open Inference Protocol v2 request: from bytes to one event's columns.

Pure: no socket, no clock. Every byte string gives an `InferenceRequest` or a `RequestError`,
never another exception. Sizes are Python ints and are compared with limits and byte counts
before any tensor is built.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from sedp.columns import ANY, DTYPES, Array, Batch, TensorSpec
from sedp.daemon.oip_input import InputReader, check_features
from sedp.daemon.oip_shapes import show
from sedp.daemon.oip_wire import (
    NO_PARAMETERS,
    InputTensor,
    OutputTensor,
    RequestBody,
    RequestParameters,
    TensorParameters,
    decode_body,
)
from sedp.daemon.tensors import JSON_KINDS
from sedp.errors import RequestError
from sedp.pipeline import Pipeline, nearest

LENGTH_HEADER = "Inference-Header-Content-Length"
TIMEOUT_US_MAX = 2**63 // 1_000 - 1  # in nanoseconds it must stay an int64


class WantedOutput(msgspec.Struct, frozen=True):
    """An output the caller asks for, and in which form."""

    name: str
    tensor: TensorSpec
    binary: bool


class InferenceRequest(msgspec.Struct, frozen=True):
    """One event, ready for the engine.

    Args:
        id: the caller's, to be sent back; `None` when not given.
        batch: exactly one event.
        timeout_ns: from the request's arrival; `None` when not given.
        priority: 1 is the highest, 0 the default.
    """

    id: str | None
    batch: Batch
    outputs: tuple[WantedOutput, ...]
    timeout_ns: int | None = None
    priority: int = 0


class RequestReader:
    """Reads the requests of one pipeline.

    Args:
        pipeline: whose inputs and outputs are expected.
        tensors_max: most inputs, and most outputs, a request may list.
    """

    def __init__(self, pipeline: Pipeline, tensors_max: int) -> None:
        self._inputs = {
            name: InputReader(name, tensor, pipeline.rows_max)
            for name, tensor in pipeline.inputs.items()
        }
        self._outputs = pipeline.outputs
        self._tensors_max = tensors_max
        self._all_outputs = {
            binary: tuple(WantedOutput(name, t, binary) for name, t in pipeline.outputs.items())
            for binary in (False, True)
        }

    def read(self, body: bytes, json_bytes: str | None = None) -> InferenceRequest:
        """Decode and check a request.

        Args:
            body: all of it.
            json_bytes: value of the `Inference-Header-Content-Length` header, if any.

        Raises:
            RequestError: 400, or 413 for more rows or tensors than allowed.
        """
        json_end = len(body) if json_bytes is None else _json_end(json_bytes, len(body))
        if json_end == 0 and json_bytes is not None:
            wire = self._raw_form(len(body))
        else:
            wire = decode_body(body if json_end == len(body) else body[:json_end])
        self._check_tensor_count("inputs", len(wire.inputs))
        rows, columns = self._read_columns(wire.inputs, body, json_end)
        parameters = wire.parameters or NO_PARAMETERS
        return InferenceRequest(
            wire.id,
            Batch(columns, np.array((0, rows), np.int64)),
            self._wanted(wire.outputs, parameters.binary_data_output),
            _timeout_ns(parameters),
            _priority(parameters),
        )

    def _raw_form(self, body_bytes: int) -> RequestBody:
        """The request for a body that is nothing but the bytes of the only input."""
        if len(self._inputs) != 1:
            raise RequestError(
                f"{LENGTH_HEADER}: 0 means the body is the one input tensor, but this pipeline "
                f"has {len(self._inputs)}; send them with a JSON header"
            )
        [(name, only)] = self._inputs.items()
        tensor, datatype = only.tensor, only.datatype
        if datatype == "BYTES":
            raise RequestError(f"tensor {name!r}: BYTES has no raw form; send a JSON header")
        row_bytes = math.prod(tensor.column.shape) * DTYPES[datatype].itemsize
        shape = [body_bytes // row_bytes if size == ANY else size for size in tensor.dims]
        size = TensorParameters(binary_data_size=body_bytes)
        return RequestBody(
            [InputTensor(name, datatype, shape, parameters=size)],
            parameters=RequestParameters(binary_data_output=True),
        )

    def _check_tensor_count(self, what: str, count: int) -> None:
        if count > self._tensors_max:
            raise RequestError(f"{what}: {count} tensors; at most {self._tensors_max}", 413)

    def _read_columns(
        self, inputs: Sequence[InputTensor], body: bytes, start: int
    ) -> tuple[int, dict[str, Array]]:
        """The number of candidates, and the columns; all bytes from `start` must be used up."""
        columns: dict[str, Array] = {}
        rows, rows_from = 1, ""
        at = start
        for item in inputs:
            name = item.name
            reader = self._inputs.get(name)
            if reader is None:
                raise RequestError(_unknown("input", name, self._inputs))
            if name in columns:
                raise RequestError(f"input {name!r} is there twice; send it once")
            own_rows = reader.rows(item)
            if reader.is_item:
                if rows_from and own_rows != rows:
                    raise RequestError(
                        f"tensor {name!r} has {own_rows} rows, but {rows_from!r} has {rows}; "
                        "every candidate needs one row in both"
                    )
                rows, rows_from = own_rows, name
            columns[name], at = reader.read(item, own_rows, body, at)
        if len(columns) != len(self._inputs):
            missing = ", ".join(sorted(self._inputs.keys() - columns.keys()))
            raise RequestError(f"inputs: missing {missing}; send every input of the pipeline")
        if at != len(body):
            raise RequestError(
                f"{len(body) - start} bytes follow the JSON part, but the inputs' binary_data_size "
                f"add up to {at - start}; check {LENGTH_HEADER}"
            )
        return rows, columns

    def _wanted(
        self, outputs: Sequence[OutputTensor] | None, binary: bool
    ) -> tuple[WantedOutput, ...]:
        """What to send back; everything when the caller names nothing."""
        if not outputs:
            wanted = self._all_outputs[binary]
        else:
            self._check_tensor_count("outputs", len(outputs))
            wanted = tuple(self._wanted_output(item, binary) for item in outputs)
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
            check_features(item.name, item.parameters)
            own = item.parameters.binary_data
        return WantedOutput(item.name, tensor, binary if own is None else own)


def _json_end(header: str, body_bytes: int) -> int:
    digits = header.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
        raise RequestError(f"{LENGTH_HEADER}: {header[:40]!r} is not a number of bytes")
    if int(digits) > body_bytes:
        raise RequestError(f"{LENGTH_HEADER}: {digits} is more than the body's {body_bytes} bytes")
    return int(digits)


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
