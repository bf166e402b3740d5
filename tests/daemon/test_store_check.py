"""Damaged files of a store end a child, never the daemon."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sedp.daemon import store_check
from sedp.daemon.store_check import ASIDE, check_in_child
from sedp.errors import StoreError
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from tests.storage.tables import look_up, make_rows, some_keys

SPEC = TableSpec("user", 4, "float32")
KEYS = some_keys(3000)
TIMEOUT_S = 30.0
PAGE_BYTES = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with ParameterStore.open(tmp_path / "store", ram_bytes=0, create=True) as store:
        store.import_table(SPEC, [(KEYS, make_rows(SPEC, KEYS))])
        store.update("user", KEYS[:10], make_rows(SPEC, KEYS[:10], 2))
    return tmp_path / "store"


def check_rows(path: Path) -> None:
    with ParameterStore.open(path, ram_bytes=0) as store:
        store.settle()
        rows, missing = look_up(store.table("user"), KEYS)
        assert (rows[10:] == make_rows(SPEC, KEYS[10:])).all()
        assert not missing.any()


def test_sound_store_stays_as_it_is(path: Path) -> None:
    check_in_child(path, TIMEOUT_S)
    assert not (path / ASIDE).exists()
    check_rows(path)


def test_store_that_is_not_there_is_left_to_who_opens_it(tmp_path: Path) -> None:
    check_in_child(tmp_path, TIMEOUT_S)


def test_store_open_for_writing_can_be_checked(path: Path) -> None:
    with ParameterStore.open(path, ram_bytes=0) as store:
        store.update("user", KEYS[:10], make_rows(SPEC, KEYS[:10], 3))
        check_in_child(path, TIMEOUT_S)
    assert not (path / ASIDE).exists()


@pytest.mark.parametrize("share", [0.0001, 0.3, 0.9])
def test_lmdb_cut_short_is_put_aside_and_made_anew(
    path: Path, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    file = path / "lmdb" / "data.mdb"
    os.truncate(file, int(file.stat().st_size * share))
    check_in_child(path, TIMEOUT_S)
    assert (path / ASIDE).is_dir()
    assert not (path / "lmdb").exists()
    assert "LMDB is damaged and made anew" in caplog.text
    check_rows(path)
    check_in_child(path, TIMEOUT_S)


@pytest.mark.parametrize("page", range(2))
def test_lmdb_without_a_meta_page_is_put_aside(path: Path, page: int) -> None:
    with (path / "lmdb" / "data.mdb").open("r+b") as file:
        file.seek(page * PAGE_BYTES)
        file.write(bytes(b ^ 0xFF for b in range(256)))
    check_in_child(path, TIMEOUT_S)
    assert (path / ASIDE).is_dir()


def test_any_page_of_lmdb_may_be_rubbish(path: Path) -> None:
    """The child may die of it, or not see it; the daemon's own audit sees the rest."""
    file, dice = path / "lmdb" / "data.mdb", np.random.default_rng(0)
    sound = file.read_bytes()
    for page in dice.choice(len(sound) // PAGE_BYTES, 6, replace=False):
        (path / "lmdb").mkdir(exist_ok=True)
        file.write_bytes(sound)
        with file.open("r+b") as opened:
            opened.seek(int(page) * PAGE_BYTES + 8)
            opened.write(dice.bytes(PAGE_BYTES - 8))
        check_in_child(path, TIMEOUT_S)
    check_rows(path)


def test_child_killed_by_lmdb_is_told_of_and_survived(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store_check, "_MODULE", "tests.daemon.store_child")
    (path / "victim").write_text("lmdb")
    check_in_child(path, TIMEOUT_S)
    assert (path / ASIDE).is_dir()
    assert "SIGBUS" in caplog.text


def test_child_killed_by_rocksdb_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_check, "_MODULE", "tests.daemon.store_child")
    (path / "victim").write_text("rocksdb")
    with pytest.raises(StoreError, match=r"SIGBUS.*sedp store restore"):
        check_in_child(path, TIMEOUT_S)


@pytest.mark.parametrize(
    ("pattern", "share"),
    [("MANIFEST-*", 0.0), ("MANIFEST-*", 0.5), ("MANIFEST-*", 0.8), ("*.sst", 0.5)],
)
def test_rocksdb_cut_short_is_an_error_that_says_the_mend(
    path: Path, pattern: str, share: float
) -> None:
    file = max((path / "rocksdb").glob(pattern), key=lambda found: found.stat().st_size)
    os.truncate(file, int(file.stat().st_size * share))
    with pytest.raises(StoreError, match=r"rocksdb cannot be read.*sedp store restore"):
        check_in_child(path, TIMEOUT_S)
    assert (path / "lmdb").exists()


def test_check_that_does_not_end_is_an_error(path: Path) -> None:
    with pytest.raises(StoreError, match=r"not checked within 0\.001 s"):
        check_in_child(path, 0.001)


def test_child_imports_no_kernel() -> None:
    code = "import sys, sedp.storage.file_check as _; print('numba' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"
