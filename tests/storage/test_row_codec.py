"""Stored rows give back the numbers that numpy makes of them, at the edges of each format too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.kernel import inlined
from sedp.storage.rows.codec import (
    ROW_FORMATS,
    Floats,
    RowFormat,
    _widen,
    decode_rows,
    encode_rows,
    stored_bytes,
)

HALVES = np.arange(1 << 16, dtype=np.uint16)
MAX = float(np.finfo(np.float32).max)

counts, dims = st.integers(0, 40), st.integers(1, 70)
formats = st.sampled_from(ROW_FORMATS)


def random_rows(count: int, dim: int, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, dim)) * 10.0 ** rng.integers(-3, 4, (count, 1))
    return rows.astype(np.float32)


def decode(stored: NDArray[np.uint8], row_format: RowFormat, dim: int) -> Floats:
    out = np.full((len(stored), dim), 77, np.float32)
    decode_rows(stored, row_format, out)
    return out


def twin(stored: NDArray[np.uint8], row_format: RowFormat, dim: int) -> Floats:
    """`decode_rows` in numpy."""
    if row_format == "int8":
        scales = stored[:, -4:].copy().view(np.float32)
        return stored[:, :dim].view(np.int8).astype(np.float32) * scales
    return stored.view(row_format)[:, :dim].astype(np.float32)


def same_bits(left: Floats, right: Floats) -> bool:
    """Also tells -0 from 0; one NaN is as good as another."""
    is_same = left.view(np.uint32) == right.view(np.uint32)
    return bool((is_same | (np.isnan(left) & np.isnan(right))).all())


def as_stored(halves: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return np.stack([halves, np.zeros_like(halves)], axis=1).view(np.uint8)


def test_stored_rows_are_padded_to_words() -> None:
    assert [stored_bytes(name, 5) for name in ROW_FORMATS] == [20, 12, 12]
    assert [stored_bytes(name, 8) for name in ROW_FORMATS] == [32, 16, 12]


@given(counts, dims, formats, st.integers(0, 99))
def test_decoding_equals_its_twin(count: int, dim: int, row_format: RowFormat, seed: int) -> None:
    stored = encode_rows(random_rows(count, dim, seed), row_format)
    assert stored.shape == (count, stored_bytes(row_format, dim))
    assert same_bits(decode(stored, row_format, dim), twin(stored, row_format, dim))


@given(counts, dims, st.integers(0, 99))
def test_float32_rows_come_back_bit_for_bit(count: int, dim: int, seed: int) -> None:
    bits = np.random.default_rng(seed).integers(0, 1 << 32, (count, dim), dtype=np.uint32)
    rows = bits.view(np.float32)
    assert (decode(encode_rows(rows, "float32"), "float32", dim).view(np.uint32) == bits).all()


def test_every_float16_is_widened_exactly() -> None:
    """Subnormals, infinities, NaN and -0 among them; one by one, and in loops that vectorise."""
    right = HALVES.view(np.float16).astype(np.float32)
    assert same_bits(decode(as_stored(HALVES), "float16", 1)[:, 0], right)
    assert same_bits(decode(HALVES.reshape(1, -1).view(np.uint8), "float16", 1 << 16)[0], right)


def test_every_float16_is_widened_exactly_without_f16c() -> None:
    widen = inlined(_widen)
    words = np.array([widen(half) for half in HALVES.tolist()], np.float32)
    assert same_bits(words, HALVES.view(np.float16).astype(np.float32))


@pytest.mark.slow
def test_decoding_runs_on_a_cpu_without_f16c(tmp_path: Path) -> None:
    """LLVM would end the process at the call of a function that is not there."""
    script = (
        "import numpy as np; from sedp.storage.rows.codec import decode_rows;"
        "halves = np.arange(1 << 16, dtype=np.uint16); out = np.empty((1, 1 << 16), np.float32);"
        "decode_rows(halves.reshape(1, -1).view(np.uint8), 'float16', out);"
        "right = halves.view(np.float16).astype(np.float32);"
        "assert np.array_equal(out[0], right, equal_nan=True)"
    )
    plain = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    environment = {**os.environ, **plain, "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=100)


def test_float16_keeps_what_is_not_finite() -> None:
    rows = np.array([[np.nan, np.inf, -np.inf, -0.0, 6e-8, 65504]], np.float32)
    back = decode(encode_rows(rows, "float16"), "float16", 6)
    assert same_bits(back, rows.astype(np.float16).astype(np.float32))


@given(st.integers(1, 40), dims, st.integers(0, 99))
def test_int8_is_off_by_half_a_step_at_most(count: int, dim: int, seed: int) -> None:
    rows = random_rows(count, dim, seed)
    back = decode(encode_rows(rows, "int8"), "int8", dim)
    steps = np.abs(rows).max(axis=1, keepdims=True) / 127
    assert (np.abs(back - rows) <= steps * 0.500001).all()


@pytest.mark.parametrize("largest", [MAX, 1.0, 1.5e-36])
def test_int8_holds_the_largest_magnitude(largest: float) -> None:
    rows = np.array([[largest, -largest, largest / 2, 0]], np.float32)
    back = decode(encode_rows(rows, "int8"), "int8", 4)
    assert np.allclose(back[0] / largest, [1, -1, 64 / 127, 0], atol=1e-6)


def test_int8_rows_too_small_for_a_scale_are_zeros() -> None:
    rows = np.array([[0, 0, 0], [1e-40, -1e-40, 0]], np.float32)
    assert not encode_rows(rows, "int8").any()
    assert not decode(encode_rows(rows, "int8"), "int8", 3).any()


@pytest.mark.parametrize(
    ("row_format", "value", "limit"),
    [
        ("float16", 65505.0, "65505.0 as element 2, but float16 ends at ±65504; clip it"),
        ("float16", -MAX, "float16 ends at"),
        ("int8", np.inf, "inf as element 2, but int8 rows hold finite numbers only"),
        ("int8", np.nan, "finite numbers only"),
    ],
)
def test_numbers_that_a_format_cannot_hold_are_refused(
    row_format: RowFormat, value: float, limit: str
) -> None:
    rows = np.zeros((5, 3), np.float32)
    rows[4, 2] = value
    with pytest.raises(StoreError, match="row 4 holds") as error:
        encode_rows(rows, row_format)
    assert limit in str(error.value)


def test_arrays_of_another_form_are_not_written_to() -> None:
    stored = encode_rows(random_rows(4, 8), "int8")
    with pytest.raises(TypeError):
        decode_rows(stored, "int8", np.zeros((8, 4), np.float32).T)  # not C-contiguous
    with pytest.raises(AssertionError, match="another dim"):
        decode_rows(stored, "int8", np.zeros((4, 12), np.float32))
