"""One writer, any number of readers beside it, in processes of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from tests.storage.processes import PREAMBLE, ROOT, run_python
from tests.storage.tables import make_rows, some_keys

SPEC = TableSpec("user", 4, "float32")
KEYS = some_keys(5000)

READ = """
spec, keys = TableSpec("user", 4, "float32"), some_keys(5000)
with ParameterStore.open(path, read_only=True) as store:
    rows, missing = look_up(store.table("user"), keys)
    assert (rows == make_rows(spec, keys)).all() and not missing.any()
    assert store.verify().is_sound
    print([tier.tier for tier in store.statistics().tables[0].tiers])
    try:
        store.import_table(spec, [])
    except Exception as err:
        print(err)
"""


@pytest.fixture
def filled(store: ParameterStore) -> ParameterStore:
    store.import_table(SPEC, [(KEYS, make_rows(SPEC, KEYS))])
    return store


@pytest.mark.slow
def test_reader_opens_beside_the_writer(filled: ParameterStore, tmp_path: Path) -> None:
    result = run_python(READ, tmp_path / "store")
    assert result.returncode == 0, result.stderr
    tiers, error = result.stdout.splitlines()
    assert tiers == "['ram', 'lmdb', 'rocksdb', 'absent']"
    assert error.endswith("is open read-only; open it for writing to import")


@pytest.mark.slow
def test_reader_follows_while_the_writer_publishes_and_drops(tmp_path: Path) -> None:
    keys = some_keys(20_000)
    code = """
spec, keys = TableSpec("user", 4, "float32"), some_keys(20_000)
with ParameterStore.open(path, ram_bytes=0, read_only=True) as store:
    held = store.table("user")
    for version in sys.stdin:
        store.refresh()
        assert held.spec.version == int(version)
        assert (look_up(held, keys)[0] == make_rows(spec, keys, int(version))).all()
        _, lmdb, truth, _ = store.statistics().tables[0].tiers
        print("right", lmdb.corrupt, lmdb.hits + truth.hits, flush=True)
"""
    command = [sys.executable, "-c", PREAMBLE + code, str(tmp_path)]
    pipe = subprocess.PIPE
    with ParameterStore.open(tmp_path, create=True) as store:
        store.import_table(SPEC, [(keys, make_rows(SPEC, keys))])
        with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as reader:
            assert reader.stdin is not None
            assert reader.stdout is not None
            for version in (1, 2, 3, 4):
                print(version, file=reader.stdin, flush=True)
                assert reader.stdout.readline() == "right 0 20000\n"
                store.import_table(SPEC, [(keys, make_rows(SPEC, keys, version + 1))])
            reader.stdin.close()
    assert reader.returncode == 0


@pytest.mark.slow
def test_reader_does_without_a_warm_tier(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, create=True) as store:
        store.import_table(SPEC, [(KEYS, make_rows(SPEC, KEYS))])
    shutil.rmtree(tmp_path / "lmdb")
    result = run_python(READ, tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == "['ram', 'rocksdb', 'absent']"


@pytest.mark.slow
def test_second_writer_is_told_whose_turn_it_is(filled: ParameterStore, tmp_path: Path) -> None:
    result = run_python("ParameterStore.open(path)", tmp_path / "store")
    assert result.returncode == 1
    assert (
        f"sedp.errors.StoreError: store {tmp_path / 'store'} cannot be opened: it is open for "
        "writing already, here or in another process; close that one, or open this one with "
        "read_only=True"
    ) in result.stderr
