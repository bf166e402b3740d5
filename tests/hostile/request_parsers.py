"""The parsers of what callers send."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from sedp.columns import DTYPES
from tests.daemon import wire
from tests.hostile.parser import Parse, Parser

X = {"x": ("FP32", np.array([1.0, 2.5], np.float32))}
STRINGS = {
    "t": ("BYTES", np.array([b"a", "é".encode()], object)),
    "u": ("BYTES", np.array([b"u"], object)),
}
PIPELINES = [
    wire.pipeline({"x": "FP32[n]"}, {"y": "FP32[n]"}),
    wire.pipeline({"t": "BYTES[n]", "u": "BYTES[1]"}, {"t2": "BYTES[n]"}),
    wire.pipeline({"h": "FP16[1, n, 4]"}, {"h": "FP16[n, 4]"}),
    wire.pipeline(
        {"b": "BOOL[n]", "i": "INT8[n]", "u": "UINT64[3]", "f": "FP64[n, 2]"}, {"i": "INT8[n]"}
    ),
]


def json_request(_folder: Path) -> Parse:
    from sedp.daemon.oip.request import RequestReader
    from sedp.errors import RequestError

    readers = [RequestReader(pipeline, 8) for pipeline in PIPELINES]

    def parse(data: bytes) -> None:
        with contextlib.suppress(RequestError):
            readers[data[0] % len(readers) if data else 0].read(data[1:])

    return parse


def json_numbers(_folder: Path) -> Parse:
    """Numbers are read as the standard library reads them, to the last bit."""
    from sedp.daemon.oip.tensors import read_json
    from sedp.errors import RequestError

    def parse(data: bytes) -> None:
        raw = msgspec.Raw(b"[" + data[1:] + b"]")
        datatype = NUMBER_TYPES[data[0] % len(NUMBER_TYPES) if data else 0]
        count = data.count(b",") + 1
        try:
            read = read_json("x", datatype, [count], count, raw)
        except RequestError:
            return
        whole = float if datatype.startswith("FP") else int
        values = json.loads(bytes(raw), parse_int=whole)
        with np.errstate(over="ignore"):
            true = np.array(values).astype(DTYPES[datatype])
        assert read.tobytes() == true.tobytes(), (read, true)

    return parse


NUMBER_TYPES = ["FP64", "FP32", "INT64", "UINT8"]


def binary_request(_folder: Path) -> Parse:
    from sedp.daemon.oip.request import RequestReader
    from sedp.errors import RequestError

    readers = [RequestReader(pipeline, 8) for pipeline in PIPELINES]

    def parse(data: bytes) -> None:
        length, _, body = data[1:].partition(b"\n")
        with contextlib.suppress(RequestError):
            readers[data[0] % len(readers) if data else 0].read(body, length.decode("latin-1"))

    return parse


def binary_seed(number: int, tensors: dict[str, Any]) -> bytes:
    body, length = wire.request(tensors, binary=True)
    return b"%d%s\n%s" % (number, str(length).encode(), body)


def headers(_folder: Path) -> Parse:
    from sedp.daemon.deadlines import read_timeout
    from sedp.daemon.http.compression import check_encoding, choose_encoding
    from sedp.daemon.traces import parse_trace
    from sedp.errors import RequestError

    def parse(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        choose_encoding(text)
        parse_trace(text.split("\n"), [text])
        for read in (check_encoding, read_timeout):
            with contextlib.suppress(RequestError):
                read(text)

    return parse


def grpc_request(_folder: Path) -> Parse:
    from sedp.daemon.grpc.request import Translator
    from sedp.daemon.oip.request import RequestReader
    from sedp.errors import RequestError

    translator = Translator(8)
    readers = [RequestReader(pipeline, 8) for pipeline in PIPELINES]

    def parse(data: bytes) -> None:
        with contextlib.suppress(RequestError):
            head, body = translator.read(data[1:])
            readers[data[0] % len(readers) if data else 0].read(body, str(len(head.json)))

    return parse


# ModelInferRequest: model "p", id "i", input x FP32 [2], output y, 8 bytes of raw content.
GRPC = (
    b"0\x0a\x01p\x1a\x01i\x2a\x0e\x0a\x01x\x12\x04FP32\x1a\x01\x02\x32\x03\x0a\x01y\x3a\x08"
    + np.array([1, 2], np.float32).tobytes()
)
GRPC_TYPED = b"0\x0a\x01p\x2a\x17\x0a\x01x\x12\x04FP32\x1a\x01\x02\x2a\x0a\x32\x08" + bytes(8)


def table_update(_folder: Path) -> Parse:
    from sedp.daemon.admin.table_update import read_update
    from sedp.errors import RequestError
    from sedp.storage.table_spec import TableSpec

    spec = TableSpec("user", 2, "float32")

    def parse(data: bytes) -> None:
        length, _, body = data.partition(b"\n")
        header = length.decode("latin-1") or None
        with contextlib.suppress(RequestError):
            read_update(spec, body, header, "none" if header else None)

    return parse


UPDATE = {
    "keys": ("UINT64", np.array([1, 2], np.uint64)),
    "rows": ("FP32", np.ones((2, 2), np.float32)),
}


REQUEST_PARSERS = {
    "json request": Parser(
        json_request, (b"0" + wire.request(X)[0], b"1" + wire.request(STRINGS)[0])
    ),
    "json numbers": Parser(
        json_numbers,
        (b"01.5,-0.0,1e22,18446744073709551615,5e-324", b"13.4e38,0.1", b"2-9223372036854775808,7"),
    ),
    "binary request": Parser(binary_request, (binary_seed(0, X), binary_seed(1, STRINGS))),
    "grpc request": Parser(grpc_request, (GRPC, GRPC_TYPED)),
    "headers": Parser(
        headers, (b"gzip;q=0.5, *;q=0", b"00-" + b"1" * 32 + b"-" + b"1" * 16 + b"-01")
    ),
    "table update": Parser(
        table_update,
        (b'\n{"keys":[1],"rows":[[1,2]],"id":"a"}', binary_seed(0, UPDATE)[1:]),
    ),
}
