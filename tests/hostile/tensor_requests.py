"""Requests in parts, and a plain reader of them: slow, independent of the daemon's, merciless."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.hostile.responses import Response

LENGTH = "Inference-Header-Content-Length"
ROWS_MAX = 64

Spec = tuple[str, list[int], bool]  # datatype, a row's own shape, whether it has rows

PIPELINES: dict[str, dict[str, Spec]] = {
    "double": {"x": ("FP32", [], True)},
    "numbers": {
        "flag": ("BOOL", [], True),
        "key": ("INT64", [], True),
        "pair": ("FP64", [2], True),
        "big": ("UINT64", [], False),
    },
    "strings": {"t": ("BYTES", [], True), "u": ("BYTES", [], False)},
    "halves": {"h": ("FP16", [4], True)},
}
DTYPES = {
    "BOOL": "?", "INT64": "<i8", "UINT64": "<u8", "FP64": "<f8", "FP32": "<f4", "FP16": "<f2",
}  # fmt: skip


@dataclass
class Sent:
    """A request in parts, each of which may lie.

    Args:
        tail: the binary tensors, in the order of `inputs`.
        length: value of the length header; `None` to tell the truth, "" to leave it out.
    """

    pipeline: str
    inputs: list[dict[str, Any]]
    tail: list[bytes]
    others: dict[str, Any] = field(default_factory=dict)
    length: str | None = None
    more_headers: str = ""
    is_raw: bool = False

    def parts(self) -> tuple[bytes, bytes]:
        """The JSON part and the tensors behind it."""
        head = b"" if self.is_raw else json.dumps({"inputs": self.inputs, **self.others}).encode()
        return head, b"".join(self.tail)

    def write(self) -> bytes:
        head, tail = self.parts()
        length = str(len(head)) if self.length is None else self.length
        line = f"{LENGTH}: {length}\r\n" if length else ""
        return (
            (
                f"POST /v2/models/{self.pipeline}/infer HTTP/1.1\r\nHost: hostile\r\n"
                f"Content-Length: {len(head) + len(tail)}\r\n{line}{self.more_headers}\r\n"
            ).encode("latin-1")
            + head
            + tail
        )


def wrong(sent: Sent, response: Response) -> str:
    """Why a 200 is wrong, by a plain reader of request and response; "" when nothing is."""
    head, tail = sent.parts()
    try:
        # The header may move the border; what counts is what it says.
        length = str(len(head)) if sent.length is None or sent.more_headers else sent.length
        if length and int(length) == 0:
            asked = _raw_values(sent.pipeline, head + tail)
        else:
            asked = _read(*_parts(head + tail, length, "inputs"), PIPELINES[sent.pipeline])
        told = _parts(response.body, response.header(LENGTH.lower()), "outputs")
        got = _read(*told, None)
    except (ValueError, KeyError, TypeError, AssertionError, struct.error) as err:
        return repr(err)[:300]
    for name, values in got.items():
        if name == "y":
            true, values = _floats(asked["x"], 2), _floats(values, 1)
        else:
            true = asked[name[:-1]]
        if true != values:
            return f"{name}: {true} became {values}"[:300]
    return ""


def _floats(values: list[float], factor: int) -> list[float]:
    floats: list[float] = (np.array(values, np.float32) * np.float32(factor)).tolist()
    return floats


def _parts(body: bytes, length: str, what: str) -> tuple[list[dict[str, Any]], bytes]:
    """The listed tensors, and the bytes behind the JSON part."""
    end = int(length) if length else len(body)
    return json.loads(body[:end])[what], body[end:]


def _raw_values(pipeline: str, tail: bytes) -> dict[str, list[Any]]:
    [(name, (datatype, _, _))] = PIPELINES[pipeline].items()
    return {name: np.frombuffer(tail, DTYPES[datatype]).tolist()}


def _read(
    items: list[dict[str, Any]], tail: bytes, specs: dict[str, Spec] | None
) -> dict[str, list[Any]]:
    """Values by name; an AssertionError for what does not add up."""
    found: dict[str, list[Any]] = {}
    at = 0
    for item in items:
        name, datatype, shape = item["name"], item["datatype"], item["shape"]
        assert name not in found, name
        assert all(type(size) is int and size > 0 for size in shape), shape
        count = math.prod(shape)
        if specs is not None:
            _check_shape(specs[name], datatype, shape)
        size = (item.get("parameters") or {}).get("binary_data_size")
        assert (size is None) == ("data" in item), item
        raw = tail[at : at + (size or 0)]
        assert len(raw) == (size or 0), size
        at += size or 0
        found[name] = _decode(datatype, raw) if size is not None else item["data"]
        assert len(found[name]) == count or specs is not None, (name, count)
    assert at == len(tail), (at, len(tail))
    return found


def _check_shape(spec: Spec, datatype: str, shape: list[int]) -> None:
    known, own, has_rows = spec
    assert datatype == known, datatype
    rank = len(own) + has_rows
    leading_max = 1 if has_rows else 2  # the batch axis is optional, and [1] has one already
    leading, rest = shape[: len(shape) - rank], shape[len(shape) - rank :]
    assert leading in ([], [1], [1, 1][:leading_max]), shape
    assert rest[has_rows:] == own, shape
    assert not has_rows or rest[0] <= ROWS_MAX, shape


def _decode(datatype: str, raw: bytes) -> list[Any]:
    if datatype != "BYTES":
        values: list[Any] = np.frombuffer(raw, DTYPES[datatype]).tolist()
        assert datatype != "BOOL" or raw.strip(b"\0\1") == b"", raw
        assert all(math.isfinite(value) for value in values), raw
        return values
    values = []
    while raw:
        (size,) = struct.unpack_from("<I", raw)
        assert len(raw) >= 4 + size, raw
        values.append(raw[4 : 4 + size].decode(errors="surrogateescape"))
        raw = raw[4 + size :]
    return values
