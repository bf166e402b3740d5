"""ctr-rank on mosec, as its documentation configures a model: one stage, two processes, no batches.

CTR_RANK_FOLDER=… CTR_RANK_WIRE=raw|json python -m bench.ctr_rank_mosec --port 8000
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from mosec import Server, Worker  # type: ignore[import-not-found]

from bench.ctr_rank_kernel import DENSE, ITEM_SLOTS, USER_SLOTS, Kernel, parse

PROCESSES = 2


class Tensor(msgspec.Struct):
    """One tensor of an Open Inference Protocol body."""

    name: str
    datatype: str
    shape: list[int]
    data: list[int | float]


class Body(msgspec.Struct):
    """A request's JSON."""

    inputs: list[Tensor]


class Ranker(Worker):  # type: ignore[misc]
    """Raw bytes in, raw scores out."""

    def __init__(self) -> None:
        super().__init__()
        self._kernel = Kernel(Path(os.environ["CTR_RANK_FOLDER"]))

    def deserialize(self, data: bytes) -> Any:
        return parse(data)

    def forward(self, data: Any) -> Any:
        return self._kernel.score(data)

    def serialize(self, data: Any) -> bytes:
        answer: bytes = data.tobytes()
        return answer


class JsonRanker(Ranker):
    """Open Inference Protocol JSON in and out."""

    def __init__(self) -> None:
        super().__init__()
        self._decoder = msgspec.json.Decoder(Body)

    def deserialize(self, data: bytes) -> Any:
        columns = {tensor.name: tensor.data for tensor in self._decoder.decode(data).inputs}
        return (
            np.array(columns["user_ids"], np.int64).reshape(1, USER_SLOTS),
            np.array(columns["item_ids"], np.int64).reshape(-1, ITEM_SLOTS),
            np.array(columns["dense"], np.float32).reshape(-1, DENSE),
        )

    def serialize(self, data: Any) -> bytes:
        scores = Tensor("scores", "FP32", [1, len(data)], data.tolist())
        return msgspec.json.encode({"model_name": "ctr-rank", "outputs": [scores]})


if __name__ == "__main__":
    server = Server()
    kind = JsonRanker if os.environ["CTR_RANK_WIRE"] == "json" else Ranker
    server.append_worker(kind, num=PROCESSES)
    server.run()
