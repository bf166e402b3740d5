"""What everybody would write who serves ctr-rank with numpy and onnxruntime; nothing of SEDP.

mosec's workers and the in-process bounds run this; it imports nothing else, so that it runs in
mosec's own environment. Bodies are `user_ids | item_ids | dense`, as they lie in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

USER_SLOTS, ITEM_SLOTS, DENSE = 10, 16, 13
USER_BYTES, ROW_BYTES = USER_SLOTS * 8, ITEM_SLOTS * 8 + DENSE * 4
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

Floats = NDArray[np.float32]
Request = tuple[NDArray[np.int64], NDArray[np.int64], Floats]


class Kernel:
    """One process's copy of table and network.

    Args:
        folder: with `table.npy`, `salts.npz` and the models.
        split: take the network that computes the user's part once a request.
    """

    def __init__(self, folder: Path, split: bool = False) -> None:
        import onnxruntime

        self._table: Floats = np.load(folder / "table.npy")
        salts = np.load(folder / "salts.npz")
        self._user, self._item = salts["user"] + GOLDEN, salts["item"] + GOLDEN
        self._split = split
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        model = folder / ("split.onnx" if split else "plain.onnx")
        self._session: Any = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )

    def score(self, request: Request) -> Floats:
        """float32[C]: scores of a request's candidates."""
        user_ids, item_ids, dense = request
        user, item = self._rows(user_ids, self._user), self._rows(item_ids, self._item)
        return self._run(_split(user, item, dense) if self._split else _whole(user, item, dense))

    def _run(self, feed: dict[str, Any]) -> Floats:
        answer: list[Floats] = self._session.run(["scores"], feed)
        return answer[0]

    def _rows(self, ids: NDArray[np.int64], salts: NDArray[np.uint64]) -> Floats:
        word = salts ^ ids.view(np.uint64)
        word = (word ^ (word >> np.uint64(30))) * FIRST
        word = (word ^ (word >> np.uint64(27))) * SECOND
        word ^= word >> np.uint64(31)
        buckets = ((word >> np.uint64(32)) * np.uint64(len(self._table))) >> np.uint64(32)
        rows: Floats = self._table.take(buckets.view(np.int64), axis=0)
        return rows


def _split(user: Floats, item: Floats, dense: Floats) -> dict[str, Any]:
    owners = np.zeros(len(dense), np.int64)
    return {"dense": dense, "user_embedding": user, "item_embedding": item, "owners": owners}


def _whole(user: Floats, item: Floats, dense: Floats) -> dict[str, Any]:
    width = DENSE + user.size
    rows = np.empty((len(dense), width + item[0].size), np.float32)
    rows[:, :DENSE] = dense
    rows[:, DENSE:width] = user.reshape(1, -1)
    rows[:, width:] = item.reshape(len(dense), -1)
    return {"rows": rows}


def parse(body: bytes) -> Request:
    """The columns of a raw body, as views."""
    rows = (len(body) - USER_BYTES) // ROW_BYTES
    user = np.frombuffer(body, np.int64, USER_SLOTS).reshape(1, USER_SLOTS)
    item = np.frombuffer(body, np.int64, rows * ITEM_SLOTS, USER_BYTES)
    dense = np.frombuffer(body, np.float32, rows * DENSE, USER_BYTES + rows * ITEM_SLOTS * 8)
    return user, item.reshape(rows, ITEM_SLOTS), dense.reshape(rows, DENSE)
