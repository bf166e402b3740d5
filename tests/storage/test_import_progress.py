"""An import that is cut off goes on where it was, from the same file only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from sedp.storage.imports import sorted_runs
from sedp.storage.imports.progress import ImportSource
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from tests.storage.tables import Keys, look_up, make_rows, some_keys

SPEC = TableSpec("user", 8, "float32")
KEYS = some_keys(9_000)
ROWS = make_rows(SPEC, KEYS)
CHUNK = 500


@pytest.fixture(autouse=True)
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1,000 rows."""
    monkeypatch.setattr(
        sorted_runs.SortedRuns.__init__, "__defaults__", ("hashed", None, 40_000, 1 << 20)
    )


class Rows:
    """Chunks of the table; the import is interrupted after `stop` rows."""

    def __init__(self, stop: int = len(KEYS)) -> None:
        self.stop = stop
        self.starts = list[int]()

    def chunks_from(self, row: int) -> Iterator[tuple[Keys, NDArray[Any]]]:
        self.starts.append(row)
        for start in range(row, len(KEYS), CHUNK):
            if start >= self.stop:
                raise KeyboardInterrupt
            yield KEYS[start : start + CHUNK], ROWS[start : start + CHUNK]


def cut_off(path: Path, name: str, stop: int) -> None:
    with (
        ParameterStore.open(path, ram_bytes=0, create=True) as store,
        pytest.raises(KeyboardInterrupt),
    ):
        store.import_table(SPEC, ImportSource(name, Rows(stop).chunks_from))


def finish(path: Path, spec: TableSpec, name: str) -> list[int]:
    """Rows the import started from."""
    rows = Rows()
    with ParameterStore.open(path, ram_bytes=0) as store:
        store.import_table(spec, ImportSource(name, rows.chunks_from))
        found, missing = look_up(store.table("user"), KEYS)
        assert (found == ROWS).all()
        assert not missing.any()
    assert not (path / "import").exists()
    return rows.starts


def test_import_goes_on_after_the_last_whole_run(tmp_path: Path) -> None:
    cut_off(tmp_path / "store", "file", 6_500)
    (start,) = finish(tmp_path / "store", SPEC, "file")
    assert start == 6_000


def test_another_file_or_table_starts_over(tmp_path: Path) -> None:
    cut_off(tmp_path / "store", "file", 6_500)
    assert finish(tmp_path / "store", SPEC, "file changed since") == [0]
    cut_off(tmp_path / "store", "file", 6_500)
    other = TableSpec("user", 8, "float32", default=(1.0,) * 8)
    assert finish(tmp_path / "store", other, "file") == [0]


def test_damaged_progress_starts_over(tmp_path: Path) -> None:
    cut_off(tmp_path / "store", "file", 6_500)
    (tmp_path / "store" / "import" / "progress.json").write_text('{"source": "file"')
    assert finish(tmp_path / "store", SPEC, "file") == [0]


def test_delta_goes_over_the_current_version_and_leaves_it_as_it_was(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path / "store", ram_bytes=0, create=True) as store:
        store.import_table(SPEC, [(KEYS[:100], ROWS[:100])])
        delta = make_rows(SPEC, KEYS[90:110], version=2)
        store.import_table(SPEC, [(KEYS[90:110], delta)], onto_current=True)
        rows, missing = look_up(store.table("user"), KEYS[:120])
        assert (rows[:90] == ROWS[:90]).all()
        assert (rows[90:110] == delta).all()
        assert missing[110:].all()
        rows, missing = look_up(store.table("user", 1), KEYS[:120])
        assert (rows[:100] == ROWS[:100]).all()
        assert missing[100:].all()
