"""The caller's side of the protocol, written independently of the daemon's: plain and slow."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from sedp.columns import DTYPES, Array, TensorSpec
from sedp.pipeline import Pipeline

LENGTH = "Inference-Header-Content-Length"


def pipeline(inputs: dict[str, str], outputs: dict[str, str], rows_max: int = 8) -> Pipeline:
    """A pipeline as the codec sees it: tensors and limits, no stages."""
    return Pipeline(
        "p",
        {name: TensorSpec.parse(text) for name, text in inputs.items()},
        {name: TensorSpec.parse(text) for name, text in outputs.items()},
        {},
        (),
        rows_max=rows_max,
    )


def tensor_bytes(datatype: str, array: Array) -> bytes:
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(item)) + item for item in array.ravel())
    return array.astype(DTYPES[datatype]).tobytes()


def tensor_values(datatype: str, array: Array) -> Any:
    if datatype == "BYTES":
        return [item.decode() for item in array.ravel()]
    return array.ravel().tolist()


def request(
    tensors: Mapping[str, tuple[str, Array]],
    *,
    binary: bool = False,
    **fields: Any,
) -> tuple[bytes, str | None]:
    """A request's body and the value of its length header."""
    inputs: list[dict[str, Any]] = []
    tail = b""
    for name, (datatype, array) in tensors.items():
        item: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(array.shape)}
        if binary:
            raw = tensor_bytes(datatype, array)
            item["parameters"] = {"binary_data_size": len(raw)}
            tail += raw
        else:
            item["data"] = tensor_values(datatype, array)
        inputs.append(item)
    head = json.dumps({"inputs": inputs, **fields}).encode()
    return head + tail, str(len(head)) if binary else None


def answer(body: bytes, json_bytes: int | str | None = None) -> dict[str, Array]:
    """The outputs of a response by name."""
    end = len(body) if json_bytes is None else int(json_bytes)
    outputs = {}
    at = end
    for item in json.loads(body[:end])["outputs"]:
        dtype = DTYPES[item["datatype"]]
        size = item.get("parameters", {}).get("binary_data_size")
        if size is None:
            values = np.array(item["data"], dtype)
        elif item["datatype"] == "BYTES":
            values = np.array(list(_strings(body[at : at + size])), object)
        else:
            values = np.frombuffer(body[at : at + size], dtype)
        at += size or 0
        outputs[item["name"]] = values.reshape(item["shape"])
    assert at == len(body)
    return outputs


def _strings(raw: bytes) -> Any:
    while raw:
        (size,) = struct.unpack_from("<I", raw)
        yield raw[4 : 4 + size]
        raw = raw[4 + size :]
