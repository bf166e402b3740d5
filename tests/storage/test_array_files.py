"""Which arrays of an NPZ or safetensors file make a table, and what is refused."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from sedp.errors import StoreError
from sedp.storage.imports.formats import open_table_file
from tests.storage.table_files import joined

Arrays = Mapping[str, NDArray[Any]]

MATRIX = np.arange(6, dtype=np.float32).reshape(3, 2)

suffixes = pytest.mark.parametrize("suffix", ["npz", "safetensors"])


def save(folder: Path, suffix: str, arrays: Arrays) -> Path:
    path = folder / f"t.{suffix}"
    if suffix == "npz":
        np.savez(path, allow_pickle=True, **arrays)
    else:
        save_file(dict(arrays), path)
    return path


@suffixes
def test_the_only_matrix_of_a_file_is_rows_by_place(suffix: str, tmp_path: Path) -> None:
    path = save(tmp_path, suffix, {"embedding.weight": MATRIX})
    keys, rows = joined(open_table_file(path))
    assert keys == [0, 1, 2]
    assert (rows == MATRIX).all()
    assert joined(open_table_file(path), 1)[0] == [1, 2]


@suffixes
def test_one_of_several_arrays_is_chosen(suffix: str, tmp_path: Path) -> None:
    arrays: Arrays = {"user": MATRIX, "item": MATRIX + 1, "bias": np.arange(3)}
    path = save(tmp_path, suffix, arrays)
    assert (joined(open_table_file(path, tensor="item"))[1] == MATRIX + 1).all()
    assert joined(open_table_file(path, tensor="bias"))[1].tolist() == [[0], [1], [2]]
    with pytest.raises(StoreError, match=r"holds 'bias', 'item', 'user'; it must .* --tensor"):
        open_table_file(path)
    with pytest.raises(StoreError, match="no array 'wight'; it holds 'bias', 'item', 'user'"):
        open_table_file(path, tensor="wight")


@suffixes
def test_all_64_bits_of_a_key_are_kept(suffix: str, tmp_path: Path) -> None:
    ids = np.array([0, 1 << 63, (1 << 64) - 1], np.uint64)
    path = save(tmp_path, suffix, {"keys": ids, "rows": MATRIX})
    [(keys, _)] = open_table_file(path).chunks
    assert (keys == ids).all()


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        ("npz", np.float16),
        ("safetensors", np.float16),
        ("safetensors", ml_dtypes.bfloat16),  # NPZ would not say what such bytes are
    ],
)
def test_short_floats_become_float32(suffix: str, dtype: Any, tmp_path: Path) -> None:
    path = save(tmp_path, suffix, {"w": (MATRIX / 3).astype(dtype)})
    file = open_table_file(path)
    assert file.dtype == "float32"
    assert (joined(file)[1] == (MATRIX / 3).astype(dtype).astype(np.float32)).all()
    with pytest.raises(StoreError, match=r"rows are float.* do not fit int32"):
        joined(open_table_file(path, dtype="int32"))


@suffixes
@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "it holds nothing; it must hold arrays 'keys' and 'rows'"),
        ({"keys": np.arange(3)}, "no array 'rows', it holds 'keys'; it must hold"),
        ({"rows": MATRIX, "key": np.arange(3)}, "no array 'keys', it holds 'key', 'rows'"),
        ({"bias": np.arange(3)}, "no array 'keys', it holds 'bias'"),
        ({"keys": np.arange(2), "rows": MATRIX}, r"keys is \[2\], but there are 3 rows"),
        ({"keys": np.zeros((3, 1), int), "rows": MATRIX}, r"keys is \[3, 1\]"),
        ({"keys": np.zeros(3), "rows": MATRIX}, "keys are float64; they must be integers"),
        ({"keys": np.arange(1), "rows": MATRIX[None]}, r"array 'rows' is \[1, 3, 2\]; rows are"),
        (
            {"keys": np.arange(2), "rows": np.ones((2, 2), bool)},
            "rows are bool; they|'rows' is BOOL; it must be",
        ),
    ],
)
def test_arrays_that_make_no_table_are_refused(
    arrays: Arrays, words: str, suffix: str, tmp_path: Path
) -> None:
    path = save(tmp_path, suffix, arrays)
    with pytest.raises(StoreError, match=words) as error:
        open_table_file(path)
    assert str(path) in str(error.value)


def test_npz_with_pickled_objects_is_never_loaded(tmp_path: Path) -> None:
    objects = np.array([[print, None]])
    path = save(tmp_path, "npz", {"keys": np.arange(1), "rows": objects})
    with pytest.raises(StoreError, match=r"'rows' holds pickled Python objects.*as numbers"):
        open_table_file(path)


def test_other_arrays_of_an_npz_are_not_looked_at(tmp_path: Path) -> None:
    arrays = {"names": np.array([{}]), "keys": np.arange(3), "rows": MATRIX}
    assert (joined(open_table_file(save(tmp_path, "npz", arrays)))[1] == MATRIX).all()


def test_npz_with_a_flipped_bit_is_told_of(tmp_path: Path) -> None:
    path = save(tmp_path, "npz", {"keys": np.arange(3), "rows": MATRIX})
    data = bytearray(path.read_bytes())
    data[data.find(MATRIX.tobytes()) + 5] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"cannot be read as NPZ: Bad CRC-32.*; save it anew"):
        joined(open_table_file(path))


def test_npz_whose_header_says_more_than_it_holds_is_told_of(tmp_path: Path) -> None:
    whole = io.BytesIO()
    np.save(whole, MATRIX)
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        archive.writestr("w.npy", whole.getvalue()[:-4])
    with pytest.raises(StoreError, match="an array ends 4 bytes early; save it anew"):
        joined(open_table_file(tmp_path / "t.npz"))
