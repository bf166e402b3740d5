"""An Open Inference Protocol v2 request: from bytes to one event's columns.

Pure: no socket, no clock. Every byte string gives an `InferenceRequest` or a `RequestError`,
never another exception.
"""

from __future__ import annotations

import functools

import msgspec

from sedp.columns import Array, Batch
from sedp.daemon.oip.layout import Layout, LayoutReader
from sedp.daemon.oip.outputs import WantedOutputs
from sedp.daemon.oip.tensors import read_binary, read_json
from sedp.daemon.oip.wire import LENGTH_HEADER
from sedp.errors import RequestError
from sedp.pipeline import Pipeline

# Recent layouts kept of a pipeline: one for each number of candidates; some megabytes at most.
LAYOUTS_MAX = 1024
LAYOUT_HEAD_BYTES_MAX = 2048


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
    outputs: WantedOutputs
    timeout_ns: int | None = None
    priority: int = 0


class RequestReader:
    """Reads the requests of one pipeline.

    Args:
        pipeline: whose inputs and outputs are expected.
        tensors_max: most inputs, and most outputs, a request may list.
    """

    def __init__(self, pipeline: Pipeline, tensors_max: int) -> None:
        self._layouts = LayoutReader(pipeline, tensors_max)
        self._recent = functools.lru_cache(LAYOUTS_MAX)(self._layouts.read)

    def read(self, body: bytes, json_bytes: str | None = None) -> InferenceRequest:
        """Decode and check a request.

        Args:
            body: all of it.
            json_bytes: value of the `Inference-Header-Content-Length` header, if any.

        Raises:
            RequestError: 400, or 413 for more rows or tensors than allowed.
        """
        if json_bytes is None:
            start, layout = len(body), self._layouts.read(body, 0)
        else:
            start = _json_end(json_bytes, len(body))
            layout = self._binary_layout(body, start)
        columns = _columns(layout, body, start)
        batch = Batch(columns, layout.splits.copy())  # layouts are kept, and stages are strangers
        return InferenceRequest(
            layout.id, batch, layout.outputs, layout.timeout_ns, layout.priority
        )

    def _binary_layout(self, body: bytes, start: int) -> Layout:
        if start == 0:
            return self._layouts.raw(len(body))
        read = self._recent if start <= LAYOUT_HEAD_BYTES_MAX else self._layouts.read
        return read(body[:start], len(body) - start)


def _columns(layout: Layout, body: bytes, start: int) -> dict[str, Array]:
    columns: dict[str, Array] = {}
    for item in layout.inputs:
        name, datatype, count = item.name, item.datatype, item.count
        if item.size is None:
            flat = read_json(name, datatype, item.wire_shape, count, item.data)
        else:
            flat = read_binary(name, datatype, count, body, start + item.start, item.size)
        columns[name] = flat if len(item.shape) == 1 else flat.reshape(item.shape)
    return columns


def _json_end(header: str, body_bytes: int) -> int:
    digits = header.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
        raise RequestError(f"{LENGTH_HEADER}: {header[:40]!r} is not a number of bytes")
    end = int(digits)
    if end > body_bytes:
        raise RequestError(f"{LENGTH_HEADER}: {digits} is more than the body's {body_bytes} bytes")
    return end
