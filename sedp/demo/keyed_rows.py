"""Rows found by 64-bit key: a table of the parameter store as two arrays in memory.

Training reads its features and embeddings through this, with the keys under which they are later
published, so what the store answers while serving is what the model was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array

Keys = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class KeyedRows:
    """A table's content.

    Args:
        keys: uint64[r], sorted, without repeats.
        rows: dtype[r, dim].
    """

    keys: Keys
    rows: Array

    @classmethod
    def from_unsorted(cls, keys: Keys, rows: Array) -> KeyedRows:
        """Sort by key; keys must not repeat."""
        order = np.argsort(keys)
        sorted_keys = keys[order]
        assert np.all(sorted_keys[1:] > sorted_keys[:-1])
        return cls(sorted_keys, rows[order])

    def find(self, keys: Keys) -> Array:
        """dtype[n, dim]: the row of each key, zeros for an unknown one."""
        if not self.keys.size:
            return np.zeros((len(keys), self.rows.shape[1]), self.rows.dtype)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        found = self.rows[places]
        found[self.keys[places] != keys] = 0
        return found
