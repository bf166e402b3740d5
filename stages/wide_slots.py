"""Keys of slots that come as one column of ids, and buckets for keys of any slot.

Where ids come as one tensor, `INT64[n, 16]` say, the value at place `i` is slot `NAME.i`: its key
is what a slot of that name, with one column, would get.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Batch
from sedp.kernel import kernel
from sedp.storage.rows.keys import GOLDEN, mix, salt_of

BUCKETS_MAX = 1 << 32  # a key's upper 32 bits choose its bucket


def place_salts(name: str, width: int) -> NDArray[np.uint64]:
    """uint64[width]: what keeps the places of slot `name` apart."""
    return np.array([salt_of(f"{name}.{place}") for place in range(width)], np.uint64)


class Wide:
    """A slot for each place of a column.

    Args:
        name: of the slots together.
        column: integers, one further size.
        width: that size.
    """

    def __init__(self, name: str, column: str, width: int) -> None:
        self.width = width
        self._column = column
        self._salts = place_salts(name, width)

    def keys(self, batch: Batch, count: int) -> NDArray[np.uint64]:
        """uint64[count, width]; `count` is the rows of the column."""
        keys = np.empty((count, self.width), np.uint64)
        hash_places(np.ascontiguousarray(batch[self._column], np.int64), self._salts, keys)
        return keys


@kernel(
    "void(Array(int64, 2, 'C', readonly=True), Array(uint64, 1, 'C', readonly=True),"
    " uint64[:, ::1])"
)
def hash_places(
    ids: NDArray[np.int64], salts: NDArray[np.uint64], keys: NDArray[np.uint64]
) -> None:
    """Write the key of every id (int64[n, w]) with its place's salt (uint64[w])."""
    for row in range(ids.shape[0]):
        for place in range(ids.shape[1]):
            keys[row, place] = mix((salts[place] + GOLDEN) ^ np.uint64(ids[row, place]))


@kernel("void(uint64[::1], uint64)")
def share_out(keys: NDArray[np.uint64], buckets: int) -> None:
    """The hashing trick: replace keys by numbers of buckets, 0..buckets - 1, evenly."""
    shift = np.uint64(32)
    for i in range(keys.size):
        keys[i] = ((keys[i] >> shift) * np.uint64(buckets)) >> shift
