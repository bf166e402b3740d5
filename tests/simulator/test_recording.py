from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sedp.errors import ConfigError
from sedp.simulator.recording import Recording, load_recording
from tests.simulator.recordings import recorded_arrays, save


@pytest.fixture
def arrays() -> dict[str, Any]:
    return recorded_arrays()


def rows_of(recording: Recording, request: int) -> list[int]:
    start, stop = recording.splits[request : request + 2]
    rows: list[int] = recording.columns["product_id"][start:stop].tolist()
    return rows


def test_saved_recording_comes_back_whole(tmp_path: Path, arrays: dict[str, Any]) -> None:
    recording = load_recording(save(tmp_path, arrays))
    assert len(recording) == 40
    assert recording.row_count == len(arrays["label"])
    assert set(recording.columns) == {"household_id", "store_id", "week", "product_id"}
    np.testing.assert_array_equal(recording.columns["product_id"], arrays["product_id"])


def test_weeks_keep_every_request_with_its_own_rows(tmp_path: Path, arrays: dict[str, Any]) -> None:
    whole = load_recording(save(tmp_path, arrays))
    part = whole.in_weeks(48, 49)
    assert len(part) == 20
    assert set(part.columns["week"].tolist()) == {48, 49}
    for request in range(20):
        assert rows_of(part, request) == rows_of(whole, 10 + request)
    assert part.label is not None
    assert len(part.label) == part.row_count
    assert part.expected_score is not None
    np.testing.assert_array_equal(
        part.expected_score, arrays["expected_score"][whole.splits[10] : whole.splits[30]]
    )


def test_first_keeps_the_beginning(tmp_path: Path, arrays: dict[str, Any]) -> None:
    whole = load_recording(save(tmp_path, arrays))
    part = whole.first(7)
    assert len(part) == 7
    assert rows_of(part, 6) == rows_of(whole, 6)
    assert len(whole.first(1000)) == 40


def test_requests_of_one_row_each_are_selected_alike(tmp_path: Path) -> None:
    one = {"ts_s": np.arange(4), "splits": np.arange(5), "week": np.array([1, 2, 2, 3])}
    part = load_recording(save(tmp_path, one | {"product_id": np.arange(4) + 10})).in_weeks(2, 2)
    assert part.columns["product_id"].tolist() == [11, 12]
    assert part.label is None


def test_week_without_requests_is_refused(tmp_path: Path, arrays: dict[str, Any]) -> None:
    recording = load_recording(save(tmp_path, arrays))
    with pytest.raises(ConfigError, match="weeks 60-61; it holds 47-50"):
        recording.in_weeks(60, 61)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"splits": np.array([0, 1])}, "'splits' must be int64"),
        ({"splits": np.zeros(41, np.int64)}, "at least one row"),
        ({"ts_s": np.arange(40)[::-1]}, "ascending"),
        ({"ts_s": np.arange(40.0)}, "int64"),
        ({"product_id": np.arange(3)}, "column 'product_id' has shape"),
        ({"store_id": np.int64(3)}, "column 'store_id' has shape"),
        ({"label": np.zeros(3, np.int8)}, "'label' has shape"),
        ({"product_id": np.array([object()])}, "not a readable recording"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, arrays: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        load_recording(save(tmp_path, arrays | change))


def test_missing_array_is_named(tmp_path: Path, arrays: dict[str, Any]) -> None:
    del arrays["splits"]
    with pytest.raises(ConfigError, match="'splits' is missing"):
        load_recording(save(tmp_path, arrays))


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04 cut off"])
def test_file_that_is_no_recording_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "recording.npz"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not a readable recording"):
        load_recording(path)


def test_single_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recording.npz"
    with path.open("wb") as file:
        np.save(file, np.arange(3))
    with pytest.raises(ConfigError, match="single array"):
        load_recording(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a readable recording"):
        load_recording(tmp_path / "none.npz")
