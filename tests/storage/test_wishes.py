"""What readers find wanting in LMDB is moved up, and mended, by the writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sedp.storage.placement import wishes
from sedp.storage.placement.wishes import WishBook, fetch_wishes
from sedp.storage.store import ParameterStore
from tests.storage.processes import run_python
from tests.storage.tables import keys_of
from tests.storage.test_damage import KEYS as DAMAGED_KEYS
from tests.storage.test_damage import ROWS, find, flip, make_store
from tests.storage.test_placement import KEYS, SPEC, open_partial

HOT = 150
READER = """
import time
keys = some_keys(4000)[:150]
limit_s = time.monotonic() + 30
with ParameterStore.open(path, ram_bytes=0, read_only=True) as store:
    table, share = store.table("user"), 0.0
    while share < 0.9 and time.monotonic() < limit_s:
        before = store.statistics().tables[0].tiers[1].hits
        for _ in range(20):
            rows, missing = look_up(table, keys)
            assert not missing.any() and (rows == make_rows(table.spec, keys)).all()
        share = (store.statistics().tables[0].tiers[1].hits - before) / (20 * len(keys))
    print(share)
"""
MENDED = """
import time
keys = some_keys(500)
limit_s = time.monotonic() + 30
with ParameterStore.open(path, ram_bytes=0, read_only=True) as store:
    corrupt = lambda: store.statistics().tables[0].tiers[1].corrupt
    look_up(store.table("user"), keys)
    first, before, found = corrupt(), 0, 1
    while found and time.monotonic() < limit_s:
        before = corrupt()
        rows, missing = look_up(store.table("user"), keys)
        assert not missing.any()
        found = corrupt() - before
    print(first, found)
"""


@pytest.mark.slow
def test_rows_that_readers_want_move_into_lmdb(tmp_path: Path) -> None:
    with open_partial(tmp_path) as store:
        held = store.statistics().moves.promoted
        done = run_python(READER, tmp_path)
        assert done.returncode == 0, done.stderr
        assert float(done.stdout) >= 0.9
        assert store.statistics().moves.promoted > held
        assert store.verify().is_sound
        assert not list((tmp_path / wishes.FOLDER).glob("*"))  # closed readers wish for nothing


@pytest.mark.slow
def test_damaged_row_that_a_reader_met_is_mended(tmp_path: Path) -> None:
    make_store(tmp_path)
    file = tmp_path / "lmdb" / "data.mdb"
    flip(file, find(file, ROWS[7].tobytes()), 3)
    with ParameterStore.open(tmp_path, ram_bytes=0) as store:
        done = run_python(MENDED, tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["1", "0"]
        assert len(DAMAGED_KEYS) == store.statistics().tables[0].rows
        assert store.verify().is_sound


def test_reader_without_a_writer_leaves_one_file_of_bounded_size(tmp_path: Path) -> None:
    book = WishBook(tmp_path)
    for _ in range(5):
        for _ in range(3):
            book.note("a@1", np.arange(wishes.ASKED_MAX, dtype=np.uint64))
            book.want("a@1", np.arange(wishes.WANTED_MAX, dtype=np.uint64))
        book.write()
    [file] = (tmp_path / wishes.FOLDER).iterdir()
    assert file.stat().st_size < 9 * (wishes.ASKED_MAX + wishes.WANTED_MAX)
    [wish] = fetch_wishes(tmp_path)
    assert (wish.name, len(wish.asked), len(wish.wanted)) == (
        "a@1",
        wishes.ASKED_MAX,
        wishes.WANTED_MAX,
    )
    assert list(fetch_wishes(tmp_path)) == []
    book.close()


def test_nothing_is_told_where_nothing_is_wanted(tmp_path: Path) -> None:
    book = WishBook(tmp_path)
    book.note("a@1", keys_of(1, 2))
    book.write()
    assert list(fetch_wishes(tmp_path)) == []


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", bytes(100)])
def test_damaged_wishes_are_removed_and_told(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / wishes.FOLDER).mkdir()
    (tmp_path / wishes.FOLDER / "1-1.npz").write_bytes(content)
    assert list(fetch_wishes(tmp_path)) == []
    assert "are not read" in caplog.text
    assert not list((tmp_path / wishes.FOLDER).iterdir())


def test_reader_that_may_not_write_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / wishes.FOLDER).write_text("no folder")
    book = WishBook(tmp_path)
    for _ in range(3):
        book.want("a@1", keys_of(1))
        book.write()
    assert caplog.text.count("not told to the writer") == 1
    book.close()


def test_wishes_of_versions_that_are_gone_are_left_out(tmp_path: Path) -> None:
    with open_partial(tmp_path) as store:
        book = WishBook(tmp_path)
        book.want("user@9-ff", KEYS[:3])
        book.write()
        store._parts._watch()
        store.settle()
        assert store.statistics().moves.promoted == 0
        assert SPEC.name == store.tables()[0].name
