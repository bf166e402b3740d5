"""The promo-rank model: a factorization machine over embeddings plus a small net over history.

    score = sigmoid(bias + Σ w_s + Σ_{s<t} ⟨v_s, v_t⟩ + output · relu(history · hidden + offset))

where slot s of a candidate has the embedding row (w_s, v_s). Pairs are summed the usual way,
½ (‖Σ v‖² - Σ ‖v‖²), so every term under the last non-linearity is a sum over the user's part and
the item's part: the user's is computed once a request. Rendle: Factorization Machines, ICDM 2010.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array
from sedp.demo.dataset import Columns
from sedp.demo.keyed_rows import KeyedRows
from sedp.demo.slots import SLOTS

Floats = NDArray[np.float32]

CHUNK_ROWS = 1 << 14  # 17 slots × 9 numbers × 4 bytes × 16,384 rows: 10 MB at a time


@dataclass(frozen=True, slots=True)
class Model:
    """Trained parameters.

    Args:
        embedding: float32[r, 1 + k] by slot key: linear weight, then factors; unknown keys add 0.
        hidden: float32[m, h], weights of the history numbers as they are in the tables.
        offset: float32[h].
        output: float32[h].
        bias: float32[1].
    """

    embedding: KeyedRows
    hidden: Floats
    offset: Floats
    output: Floats
    bias: Floats

    def score(self, columns: Columns, history: Floats) -> Floats:
        """float32[n]: chance of purchase.

        Args:
            columns: the columns of all slots, n rows each.
            history: float32[n, m].
        """
        scores = np.empty(len(history), np.float32)
        for start in range(0, len(history), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            chunk = {name: column[rows] for name, column in columns.items()}
            scores[rows] = self._score_chunk(chunk, history[rows])
        return scores

    def _score_chunk(self, columns: Columns, history: Floats) -> Floats:
        slots = np.stack([self.embedding.find(slot.keys(columns)) for slot in SLOTS], axis=1)
        factors = slots[:, :, 1:]
        squares: Floats = np.square(factors).sum(axis=(1, 2))
        pairs = 0.5 * (np.square(factors.sum(axis=1)).sum(axis=1) - squares)
        hidden = np.maximum(history @ self.hidden + self.offset, 0)
        return sigmoid(self.bias + slots[:, :, 0].sum(axis=1) + pairs + hidden @ self.output)

    def arrays(self) -> dict[str, Array]:
        """All parameters by name, for `numpy.savez`."""
        return {
            "embedding_keys": self.embedding.keys,
            "embedding_rows": self.embedding.rows,
            "hidden": self.hidden,
            "offset": self.offset,
            "output": self.output,
            "bias": self.bias,
        }

    @classmethod
    def load(cls, path: Path) -> Model:
        """Read what `arrays` gave to `numpy.savez`."""
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        embedding = KeyedRows(arrays.pop("embedding_keys"), arrays.pop("embedding_rows"))
        return cls(embedding, **arrays)


def sigmoid(logit: Floats) -> Floats:
    """1 / (1 + exp(-logit)) in float32, without overflow."""
    scores: Floats = 0.5 * (1 + np.tanh(0.5 * logit))
    return scores
