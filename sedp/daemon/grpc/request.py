"""A gRPC inference request as the binary form of the REST one.

Both fronts so have one codec: the same checks, limits and messages, and the same layouts kept. Only
what protobuf adds is judged here. What becomes of the head of a message depends on its bytes and
the tensors' sizes alone, so the recent ones are kept.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from google.protobuf.message import DecodeError

from sedp.columns import DTYPES
from sedp.daemon.grpc.messages import message_class
from sedp.daemon.grpc.wire import cut
from sedp.daemon.oip.request import LAYOUT_HEAD_BYTES_MAX, LAYOUTS_MAX
from sedp.daemon.oip.tensors import write_binary
from sedp.errors import RequestError

FIELDS_PER_TENSOR = 3  # an input, its bytes, and an output
FIELDS_BESIDE_MAX = 128  # name, version, id, and parameters

# Where the protocol puts the values of each datatype; FP16 is left out: it travels raw only.
CONTENTS: dict[str, str] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}

_Request = message_class("ModelInferRequest")


class Head(NamedTuple):
    """All of a request but its raw tensors.

    Args:
        version: `None` when the caller names none.
        json: the JSON part of the same request over REST.
        contents: bytes of the tensors, when they came as typed contents.
        typed: they did; so should the answer's.
    """

    model: str
    version: str | None
    json: bytes
    contents: bytes
    typed: bool


class Translator:
    """Reads `ModelInferRequest` messages.

    Args:
        tensors_max: most inputs, and most outputs, a request may list.
    """

    def __init__(self, tensors_max: int) -> None:
        self._fields_max = FIELDS_PER_TENSOR * tensors_max + FIELDS_BESIDE_MAX
        self._recent = functools.lru_cache(LAYOUTS_MAX)(_translate)

    def read(self, message: bytes) -> tuple[Head, bytes]:
        """Decode a message; what its fields mean is for the codec of the model to judge.

        Returns:
            The head, and the body of the same request over REST.

        Raises:
            RequestError: 400, or 413 when it is too large in some way.
        """
        head_bytes, tensors = cut(message, self._fields_max)
        sizes = tuple(len(tensor) for tensor in tensors)
        translate = self._recent if len(head_bytes) <= LAYOUT_HEAD_BYTES_MAX else _translate
        head = translate(head_bytes, sizes)
        return head, b"".join((head.json, head.contents, *tensors))


def _translate(message: bytes, raw_sizes: tuple[int, ...]) -> Head:
    try:
        request = _Request.FromString(message)
    except DecodeError as err:
        raise RequestError("the bytes are no ModelInferRequest") from err
    typed = any(item.contents.ListFields() for item in request.inputs)
    if typed and raw_sizes:
        raise RequestError("send all tensors in raw_input_contents, or all in contents, not both")
    tensors = [_contents_bytes(item) for item in request.inputs] if typed else []
    sizes = tuple(len(tensor) for tensor in tensors) if typed else raw_sizes
    if len(sizes) != len(request.inputs):
        raise RequestError(
            f"raw_input_contents has {len(sizes)} entries for {len(request.inputs)} inputs; "
            "send one for each, in the order of the inputs"
        )
    json = msgspec.json.encode(_body(request, sizes))
    version = request.model_version or None
    return Head(request.model_name, version, json, b"".join(tensors), typed)


def _body(request: Any, sizes: Sequence[int]) -> dict[str, Any]:
    return {
        "id": request.id or None,
        "parameters": {**_parameters(request), "binary_data_output": True},
        "inputs": [_input(item, size) for item, size in zip(request.inputs, sizes, strict=True)],
        "outputs": [
            {"name": item.name, "parameters": {**_parameters(item), "binary_data": True}}
            for item in request.outputs
        ],
    }


def _input(item: Any, size: int) -> dict[str, Any]:
    return {
        "name": item.name,
        "datatype": item.datatype,
        "shape": list(item.shape),
        "parameters": {**_parameters(item), "binary_data_size": size},
    }


def _parameters(item: Any) -> dict[str, Any]:
    found = {}
    for name, value in item.parameters.items():
        choice = value.WhichOneof("parameter_choice")
        if choice is not None:
            found[name] = getattr(value, choice)
    return found


def _contents_bytes(item: Any) -> bytes:
    """Typed values as the raw bytes they stand for."""
    name, datatype = item.name[:64], item.datatype[:16]
    field = CONTENTS.get(datatype)
    if field is None:
        raise RequestError(
            f"tensor {name!r}: {datatype!r} has no typed contents; send raw_input_contents"
        )
    for other, _ in item.contents.ListFields():
        if other.name != field:
            raise RequestError(f"tensor {name!r}: {datatype} takes {field}, not {other.name}")
    values = getattr(item.contents, field)
    dtype = DTYPES[datatype]
    array = np.empty(len(values), dtype)
    try:
        array[:] = list(values)
    except OverflowError as err:
        raise RequestError(f"tensor {name!r} of {datatype}: {err}") from err
    return write_binary(datatype, array)
