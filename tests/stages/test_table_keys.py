"""An id is its own key, whatever integers its column is of and however they lie in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sedp.stages.table_keys import INTEGERS, raw_keys

DTYPES = sorted(name.lower() for name in INTEGERS)


def spread(ids: NDArray[Any]) -> list[NDArray[Any]]:
    """The same ids in other places: every other one, backwards, as an element of rows, unaligned,
    read-only."""
    table = np.repeat(ids[:, np.newaxis], 3, axis=1)
    odd = np.zeros(ids.nbytes + 1, np.uint8)[1:].view(ids.dtype)
    odd[:] = ids
    fixed = ids.copy()
    fixed.flags.writeable = False
    return [ids, np.repeat(ids, 2)[::2], ids[::-1].copy()[::-1], table[:, 1], odd, fixed]


@given(st.data(), st.sampled_from(DTYPES))
def test_raw_keys_are_the_64_bits_of_the_id(data: st.DataObject, dtype: str) -> None:
    bounds = np.iinfo(dtype)
    values = data.draw(st.lists(st.integers(int(bounds.min), int(bounds.max)), max_size=5))
    expected = [value % (1 << 64) for value in values]
    for column in spread(np.array(values, dtype)):
        keys = raw_keys(column)
        assert keys.dtype == np.uint64
        assert keys.flags.c_contiguous
        assert keys.flags.aligned
        assert keys.tolist() == expected
