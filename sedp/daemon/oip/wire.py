"""The JSON of an Open Inference Protocol v2 request, as types.

Decoding into types refuses wrong structure in C, before any object of ours exists. Tensor data
stays raw text here: its type depends on the datatype that is named beside it. Fields that no one
here needs are skipped, as the protocol allows callers parameters of their own.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from multidict import istr

from sedp.daemon.oip.json_depth import DEPTH_MAX, check_depth
from sedp.errors import RequestError


class TensorParameters(msgspec.Struct, frozen=True):
    """The parameters of an input or output that mean something here; others are the caller's."""

    binary_data_size: int | None = None
    binary_data: bool | None = None
    shared_memory_region: str | None = None
    classification: int | None = None


LENGTH_HEADER = istr("Inference-Header-Content-Length")  # found faster than plain text
RANK_MAX = 9  # eight of the tensor's own, and a batch axis in front
Shape = Annotated[list[int], Meta(max_length=RANK_MAX)]
NO_DATA = msgspec.Raw()  # told apart by identity


class InputTensor(msgspec.Struct, frozen=True):
    """One of a request's `inputs`."""

    name: str
    datatype: str
    shape: Shape
    data: msgspec.Raw = NO_DATA
    parameters: TensorParameters | None = None


class OutputTensor(msgspec.Struct, frozen=True):
    """One of a request's `outputs`."""

    name: str
    parameters: TensorParameters | None = None


class RequestParameters(msgspec.Struct, frozen=True):
    """The parameters of a request that mean something here; others are the caller's."""

    timeout: int | None = None
    priority: int | None = None
    binary_data_output: bool = False
    sequence_id: int | str | None = None


class RequestBody(msgspec.Struct, frozen=True):
    """The JSON part of a request."""

    inputs: list[InputTensor]
    id: str | None = None
    outputs: list[OutputTensor] | None = None
    parameters: RequestParameters | None = None


NO_PARAMETERS = RequestParameters()

_DECODER = msgspec.json.Decoder(RequestBody)


def decode_body(text: bytes) -> RequestBody:
    """Read the JSON part of a request.

    Raises:
        RequestError: not JSON, not UTF-8, nested too deep, or of another structure.
    """
    check_depth(text)
    try:
        if not text.isascii():
            text.decode()  # fields that nobody reads are skipped unread
        return _DECODER.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as err:
        raise RequestError(f"the request is not valid: {err}") from err
    except RecursionError as err:
        raise RequestError(
            f"the request's JSON is nested too deep; {DEPTH_MAX} levels suffice"
        ) from err
