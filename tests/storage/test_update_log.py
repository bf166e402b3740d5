"""The log gives back which rows changed; what is damaged counts as everything."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sedp.storage.lmdb.update_log import ALL_CHANGED, Changes, collect, encode_entry
from tests.storage.tables import keys_of

entries = st.lists(
    st.dictionaries(
        st.text(min_size=1, max_size=80),
        st.lists(st.integers(0, (1 << 64) - 1), max_size=20),
        max_size=4,
    ),
    max_size=6,
)


@given(entries)
def test_entries_come_back_as_one(changes: list[dict[str, list[int]]]) -> None:
    encoded = [
        encode_entry({name: keys_of(*keys) for name, keys in entry.items()}) for entry in changes
    ]
    found = collect(encoded)
    names = {name for entry in changes for name in entry}
    assert set(found.keys) == names
    for name in names:
        expected = {key for entry in changes for key in entry.get(name, [])}
        assert found.keys[name].tolist() == sorted(expected)
    assert found.catalogue == any(not entry for entry in changes)
    assert not found.has_gap


def test_no_entries_change_nothing() -> None:
    assert collect([]) == Changes()


def test_every_flipped_bit_of_an_entry_means_that_all_may_have_changed() -> None:
    entry = encode_entry({"user@1": keys_of(1, 2), "item@1": np.empty(0, np.uint64)})
    for bit in range(8 * len(entry)):
        broken = bytearray(entry)
        broken[bit // 8] ^= 1 << bit % 8
        assert collect([entry, bytes(broken)]) == ALL_CHANGED
    assert collect([entry[:-1]]) == collect([b""]) == ALL_CHANGED
