"""A record gives its row back, and no row at all once any bit, its key or its seed is another."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sedp.storage.rows.checksum import MULTIPLIERS, PRIME
from sedp.storage.rows.pairs import (
    as_key_list,
    as_pairs,
    as_record_list,
    join,
    join_found,
    join_slices,
)
from sedp.storage.rows.record import EPOCHS, TRAILER_BYTES, seal, unseal
from sedp.storage.rows.scan import check_records
from tests.storage.tables import Keys, keys_of, some_keys


def twin(keys: Keys, rows: NDArray[np.uint8], epoch: int, seed: int) -> NDArray[np.uint8]:
    """`seal` in numpy, a column of words at a time."""

    epochs = np.full((len(keys), 1), epoch % EPOCHS, np.uint32).view(np.uint8)
    body = np.concatenate([rows, epochs], axis=1)
    sums = checksums(keys, body, seed)
    return np.concatenate([body, sums[:, np.newaxis].view(np.uint8)], axis=1)


def checksums(keys: Keys, body: NDArray[np.uint8], seed: int) -> NDArray[np.uint32]:
    def step(state: Keys) -> Keys:
        return (state ^ (state >> np.uint64(32))) * PRIME

    state = (np.uint64(seed) ^ keys) * PRIME
    whole = body.shape[1] // 64 * 64
    for start in range(0, whole, 64):
        words = np.ascontiguousarray(body[:, start : start + 64]).view(np.uint64)
        state = step(state) + (words * MULTIPLIERS).sum(axis=1, dtype=np.uint64)
    rest = np.zeros((len(keys), 64), dtype=np.uint8)
    rest[:, : body.shape[1] - whole] = body[:, whole:]
    state = step(state) + (rest.view(np.uint64) * MULTIPLIERS).sum(axis=1, dtype=np.uint64)
    return (step(state) >> np.uint64(32)).astype(np.uint32)


def open_one(
    key: int, record: bytes, seed: int, row_bytes: int
) -> tuple[NDArray[np.uint8], bool, int]:
    rows, missing = np.zeros((1, row_bytes), np.uint8), np.empty(1, np.bool_)
    corrupt = unseal(keys_of(key), keys_of(key), record, seed, rows, missing)
    return rows, bool(missing[0]), corrupt


words = st.integers(0, (1 << 64) - 1)


@given(st.integers(0, 50), st.integers(1, 70), words, words)
def test_kernel_equals_its_twin(count: int, width: int, epoch: int, seed: int) -> None:
    keys = some_keys(count)
    rows = np.random.default_rng(count).integers(0, 256, (count, 4 * width), dtype=np.uint8)
    records = seal(keys, rows, epoch, seed)
    assert (records == twin(keys, rows, epoch, seed)).all()
    back, missing = np.zeros_like(rows), np.empty(count, np.bool_)
    assert unseal(keys, keys, records.tobytes(), seed, back, missing) == 0
    assert (back == rows).all()
    assert not missing.any()


def test_every_single_bit_flip_is_refused() -> None:
    row = np.arange(20, dtype=np.uint8)[np.newaxis]
    record = seal(keys_of(5), row, 3, 9).tobytes()
    for bit in range(8 * (20 + TRAILER_BYTES)):
        broken = bytearray(record)
        broken[bit // 8] ^= 1 << bit % 8
        back, missing, corrupt = open_one(5, bytes(broken), 9, 20)
        assert (missing, corrupt) == (True, 1)
        assert not back.any()


def test_record_of_another_key_or_import_is_refused() -> None:
    record = seal(keys_of(5), np.ones((1, 8), np.uint8), 3, 9).tobytes()
    assert open_one(5, record, 9, 8)[1:] == (False, 0)
    assert open_one(6, record, 9, 8)[1:] == (True, 1)
    assert open_one(5, record, 10, 8)[1:] == (True, 1)


def test_found_records_are_aligned_with_repeated_and_absent_keys() -> None:
    keys, found = keys_of(7, 3, 7, 9, 1), keys_of(7, 7, 1)
    sealed = np.array([[7], [7], [1]], np.uint32).view(np.uint8)
    rows, missing = np.zeros((5, 4), np.uint8), np.zeros(5, np.bool_)
    assert unseal(keys, found, seal(found, sealed, 1, 2).tobytes(), 2, rows, missing) == 0
    assert missing.tolist() == [False, True, False, True, False]
    assert rows.view(np.uint32).ravel().tolist() == [7, 0, 7, 0, 1]


def test_pairs_keep_bytes_that_are_zero() -> None:
    """An `S` dtype would strip them without a word."""
    keys, records = keys_of(0, 256), np.zeros((2, 16), np.uint8)
    assert as_key_list(keys) == [bytes(8), bytes(6) + b"\1\0"]
    assert as_record_list(records) == [bytes(16)] * 2


def test_misshapen_pairs_are_left_out_and_counted() -> None:
    pairs = list(as_pairs(keys_of(1, 2), np.ones((2, 4), np.uint8)))
    keys, records, misshapen = join([*pairs, (b"short", b"abcd"), (bytes(8), b"abc")], 4)
    assert keys.tolist() == [1, 2]
    assert (records.tolist(), misshapen) == ([[1] * 4] * 2, 2)


def test_misshapen_records_are_told_from_absent_ones() -> None:
    found, joined, misshapen = join_found([b"abcd", None, b"", b"abc", b"efgh", b"efghi"], 4)
    assert found.tolist() == [True, False, False, False, True, False]
    assert (joined, misshapen) == (b"abcdefgh", 3)
    assert join_found([None], 4)[1:] == join_found([], 4)[1:] == (b"", 0)


def test_lengths_that_make_up_for_each_other_pass_no_checksum() -> None:
    keys, rows = keys_of(1, 2, 3, 4), np.ones((4, 4), np.uint8)
    pairs = list(as_pairs(keys, seal(keys, rows, 1, 2)))
    pairs[1], pairs[2] = (pairs[1][0], pairs[1][1][:-1]), (pairs[2][0], pairs[2][1] + b"x")
    [(keys, records, misshapen)] = join_slices(iter(pairs), 4 + TRAILER_BYTES)
    part = check_records(keys, records, 2)
    corrupt = part.corrupt + misshapen
    assert (part.keys.tolist(), part.rows.tolist(), corrupt) == ([1, 4], [[1] * 4] * 2, 2)
