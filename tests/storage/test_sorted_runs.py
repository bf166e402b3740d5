"""Sorted runs give back what a dict would hold, by place, whatever the sizes of run and block."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.storage.imports.sorted_runs import SortedRuns
from sedp.storage.rows.bucket import Layout, keys_at, places_of

chunks = st.lists(st.lists(st.integers(0, 30), max_size=20), max_size=8)


@settings(max_examples=60, deadline=None)
@given(chunks, st.integers(1, 20), st.integers(1, 20), st.sampled_from(["hashed", "dense"]))
def test_equals_a_dict(
    batches: list[list[int]], run_rows: int, block_rows: int, layout: Layout
) -> None:
    expected: dict[int, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        runs = SortedRuns(
            Path(folder), 4, layout, run_bytes=run_rows * 12, block_bytes=block_rows * 12
        )
        serial = 0
        for batch in batches:
            values = np.arange(serial, serial + len(batch), dtype=np.uint32)
            serial += len(batch)
            expected.update(zip(batch, values.tolist(), strict=True))
            runs.add(np.array(batch, np.uint64), values[:, np.newaxis].view(np.uint8))
        blocks = list(runs.blocks())
        places = [place for part, _ in blocks for place in part.tolist()]
        rows = [row for _, part in blocks for row in part.view(np.uint32)[:, 0].tolist()]
        run_count = serial // run_rows + 1
        assert all(len(part) <= max(block_rows, run_count) for part, _ in blocks)
    assert runs.row_count == serial
    assert places == sorted(places_of(np.array([*expected], np.uint64), layout).tolist())
    keys = keys_at(np.array(places, np.uint64), layout).tolist()
    assert dict(zip(keys, rows, strict=True)) == expected


def test_nothing_is_written_after_an_interruption(tmp_path: Path) -> None:
    told = list[int]()
    runs = SortedRuns(tmp_path, 4, spilled=lambda count, _: told.append(count), run_bytes=120)
    keys, rows = np.arange(35, dtype=np.uint64), np.zeros((35, 4), dtype=np.uint8)

    def fill() -> None:
        with runs.filling():
            runs.add(keys, rows)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill()
    assert told == [1, 2, 3]
    assert len(list(tmp_path.iterdir())) == 6
    with pytest.raises(RuntimeError, match="after shutdown"):
        runs.add(keys, rows)
