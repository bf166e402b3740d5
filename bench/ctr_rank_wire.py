"""ctr-rank's requests as bytes on the wire, HTTP head and all, and replies back to scores."""

from __future__ import annotations

import http.client
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array
from sedp.simulator.oip_client import LENGTH_HEADER, decode_answer

SEDP_PATH, MOSEC_PATH = "/v2/models/ctr-rank/infer", "/inference"

Scores = NDArray[np.float32]


class Requests:
    """Requests of one number of candidates, in each form."""

    def __init__(self, columns: Mapping[str, Array], candidates: int) -> None:
        self.candidates = candidates
        count = len(columns["user_ids"])
        self._tensors: list[tuple[str, str, list[int], Array]] = [
            ("user_ids", "INT64", [1, 10], columns["user_ids"]),
            (
                "item_ids",
                "INT64",
                [1, candidates, 16],
                columns["item_ids"].reshape(count, candidates, 16),
            ),
            ("dense", "FP32", [1, candidates, 13], columns["dense"].reshape(count, candidates, 13)),
        ]
        parts = zip(*(tensor[3] for tensor in self._tensors), strict=True)
        self.bodies = [b"".join(part.tobytes() for part in request) for request in parts]

    def raw(self) -> list[bytes]:
        """The tensors' bytes alone."""
        return [post(MOSEC_PATH, body) for body in self.bodies]

    def oip_binary(self, priority: int = 0, key: str = "") -> list[bytes]:
        """Open Inference Protocol with binary tensors, both ways.

        Args:
            priority: 0 names none.
            key: the caller's, "" is none.
        """
        inputs = [
            {
                "name": name,
                "datatype": datatype,
                "shape": shape,
                "parameters": {"binary_data_size": array[0].nbytes},
            }
            for name, datatype, shape, array in self._tensors
        ]
        parameters = {"binary_data_output": True} | ({"priority": priority} if priority else {})
        document = {"inputs": inputs, "parameters": parameters}
        head = msgspec.json.encode(document)
        extra = f"{LENGTH_HEADER}: {len(head)}\r\n"
        if key:
            extra += f"X-API-Key: {key}\r\n"
        return [post(SEDP_PATH, head + body, extra) for body in self.bodies]

    def oip_json(self, path: str, count: int) -> list[bytes]:
        """Open Inference Protocol in JSON, the first `count` requests; lists are flat."""
        return [
            post(path, self._json_body(request), "Content-Type: application/json\r\n")
            for request in range(min(count, len(self.bodies)))
        ]

    def _json_body(self, request: int) -> bytes:
        inputs = [
            {
                "name": name,
                "datatype": datatype,
                "shape": shape,
                "data": array[request].reshape(-1).tolist(),
            }
            for name, datatype, shape, array in self._tensors
        ]
        return msgspec.json.encode({"inputs": inputs})


def post(path: str, body: bytes, extra: str = "") -> bytes:
    """A whole POST request."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def read_scores(wire: str, headers: http.client.HTTPMessage, body: bytes) -> Scores:
    """The scores of a reply; `wire` is raw, binary or json."""
    if wire == "raw":
        return np.frombuffer(body, np.float32)
    if wire == "binary":
        return decode_answer(dict(headers.items()), body)["scores"].reshape(-1)
    outputs: Sequence[Mapping[str, object]] = msgspec.json.decode(body)["outputs"]
    return np.array(outputs[0]["data"], np.float32)
