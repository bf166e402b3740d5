"""The caller's side of the Open Inference Protocol v2 over HTTP, with binary tensors.

Written from the protocol's text and sharing nothing with the daemon's own codec, so that either
side checks the other. Prior art: tritonclient.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from sedp.columns import ANY, DTYPES, Array
from sedp.errors import ConfigError, SedpError
from sedp.simulator.recording import Recording

LENGTH_HEADER = "Inference-Header-Content-Length"


class TensorMetadata(msgspec.Struct, frozen=True):
    """An input or output as the server declares it; `shape` has -1 for the candidates."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class ModelMetadata(msgspec.Struct, frozen=True):
    """What a server says about one pipeline."""

    name: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class _Sizes(msgspec.Struct, frozen=True):
    binary_data_size: int


class _Output(msgspec.Struct, frozen=True):
    name: str
    datatype: str
    shape: list[int]
    parameters: _Sizes


class _Answer(msgspec.Struct, frozen=True):
    outputs: list[_Output]


class MalformedAnswer(SedpError):
    """The server said 200, but the body is not an answer of the protocol."""


@dataclass(frozen=True, slots=True)
class _Column:
    """One input, ready to be cut into requests."""

    tensor: TensorMetadata
    array: Array
    per_item: bool


class RequestEncoder:
    """Cuts a recording into request bodies.

    Args:
        recording: where the columns are.
        inputs: what the pipeline wants; other columns of the recording are not sent.

    Raises:
        ConfigError: a column is missing, or has another type or shape than the pipeline wants.
    """

    def __init__(self, recording: Recording, inputs: list[TensorMetadata]) -> None:
        self._splits = recording.splits.tolist()
        self._columns = [_column(recording, tensor) for tensor in inputs]
        self._header = functools.lru_cache(maxsize=4096)(self._make_header)

    def encode(self, request: int) -> tuple[dict[str, str], bytes]:
        """HTTP headers and body of one request."""
        start, stop = self._splits[request : request + 2]
        header = self._header(stop - start)
        parts = [header]
        for column in self._columns:
            own = slice(start, stop) if column.per_item else slice(request, request + 1)
            parts.append(column.array[own].tobytes())
        headers = {LENGTH_HEADER: str(len(header)), "Content-Type": "application/octet-stream"}
        return headers, b"".join(parts)

    def _make_header(self, rows: int) -> bytes:
        inputs = [
            {
                "name": column.tensor.name,
                "datatype": column.tensor.datatype,
                "shape": [rows if size == ANY else size for size in column.tensor.shape],
                "parameters": {
                    "binary_data_size": column.array[:1].nbytes * (rows if column.per_item else 1)
                },
            }
            for column in self._columns
        ]
        return msgspec.json.encode({"inputs": inputs, "parameters": {"binary_data_output": True}})


_answers = msgspec.json.Decoder(_Answer)


def decode_answer(headers: Mapping[str, str], body: bytes) -> dict[str, Array]:
    """Output tensors by name.

    Raises:
        MalformedAnswer: anything but JSON with the binary tensors it announces.
    """
    try:
        at = int(headers[LENGTH_HEADER])
        outputs: dict[str, Array] = {}
        for output in _answers.decode(body[:at]).outputs:
            size = output.parameters.binary_data_size
            array: Array = np.frombuffer(body[at : at + size], DTYPES[output.datatype])
            outputs[output.name] = array.reshape(output.shape)
            at += size
    except (KeyError, ValueError, msgspec.MsgspecError) as err:
        raise MalformedAnswer(f"the answer is not valid: {type(err).__name__}: {err}") from err
    if at != len(body):
        raise MalformedAnswer(f"the answer has {len(body)} bytes, but announces {at}")
    return outputs


def decode_metadata(body: bytes) -> ModelMetadata:
    """What `GET /v2/models/NAME` says.

    Raises:
        MalformedAnswer: it is not model metadata.
    """
    try:
        return msgspec.json.decode(body, type=ModelMetadata)
    except msgspec.MsgspecError as err:
        raise MalformedAnswer(f"the model's metadata is not valid: {err}") from err


def _column(recording: Recording, tensor: TensorMetadata) -> _Column:
    array = recording.columns.get(tensor.name)
    if array is None:
        raise ConfigError(
            f"recording: no column {tensor.name!r}, which the pipeline reads; it holds: "
            + ", ".join(sorted(recording.columns))
        )
    per_item = ANY in tensor.shape
    rows = recording.row_count if per_item else len(recording)
    row_size = int(np.prod([size for size in tensor.shape if size != ANY], dtype=np.int64))
    if len(array) != rows or array.size != rows * row_size:
        raise ConfigError(
            f"recording: column {tensor.name!r} has shape {array.shape}; the pipeline wants "
            f"{tensor.datatype}{list(tensor.shape)} for {rows} rows"
        )
    return _Column(tensor, _as_datatype(array, tensor), per_item)


def _as_datatype(array: Array, tensor: TensorMetadata) -> Array:
    wanted: np.dtype[Any] | None = DTYPES.get(tensor.datatype)
    if wanted is None or wanted.hasobject or not np.can_cast(array.dtype, wanted, "safe"):
        raise ConfigError(
            f"recording: column {tensor.name!r} is {array.dtype}; the pipeline wants "
            f"{tensor.datatype}; record it in that type"
        )
    return np.ascontiguousarray(array, wanted)
