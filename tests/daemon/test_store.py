"""A daemon and its parameter store: who may write, what a config says of tables, what is seen."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from click.testing import CliRunner

from sedp.cli.main import group
from sedp.config.loading import load
from sedp.config.settings import MissSettings, StoreSettings, TableSettings
from sedp.daemon.daemon import Daemon
from sedp.daemon.parameter_store import open_store
from sedp.errors import ConfigError, StoreError
from sedp.storage.advice.access_log import load_sample
from sedp.storage.rocksdb.database import RocksDatabase
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec

from .calls import infer_url

CONFIG = """\
api_version: sedp/v1
daemon: {{listen: 127.0.0.1:0, admin: 127.0.0.1:0, workers: 1}}
store: {{path: store, {store}}}
pipelines:
  fetch:
    inputs: {{id: "INT64[n]"}}
    outputs: {{value: "FP32[n, 1]"}}
    stages:
      fetch:
        kind: feature_fetch
        params:
          fetches:
            - {{table: user, key: [id], datatype: FP32, output: value, dim: 1}}
"""
SPEC = TableSpec("user", 1, "float32")
KEYS = np.arange(10, dtype=np.uint64)

Start = Callable[..., Awaitable[Daemon]]


def fill(path: Path, value: float) -> None:
    with ParameterStore.open(path, create=True) as store:
        store.import_table(SPEC, [(KEYS, np.full((10, 1), value, np.float32))])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store whose table `user` has two versions of ten rows: of ones, and of twos, current."""
    for value in (1, 2):
        fill(tmp_path / "store", value)
    return tmp_path / "store"


@pytest.fixture
async def start(path: Path, tmp_path: Path) -> AsyncIterator[Start]:
    """Start a daemon over that store with more settings of it."""
    async with AsyncExitStack() as stack:

        async def run(store: str) -> Daemon:
            (tmp_path / "c.yaml").write_text(CONFIG.format(store=store))
            daemon = await Daemon.start(load(tmp_path / "c.yaml", {}))
            stack.push_async_callback(daemon.stop)
            return daemon

        yield run


async def ask(http: aiohttp.ClientSession, daemon: Daemon, key: int) -> float:
    tensor = {"name": "id", "datatype": "INT64", "shape": [1], "data": [key]}
    async with http.post(infer_url(daemon, "fetch"), json={"inputs": [tensor]}) as response:
        answer = await response.json()
        return float(answer["outputs"][0]["data"][0])


def sedp_store(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sedp", "store", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


async def test_daemon_follows_updates_and_rollbacks(
    start: Start, http: aiohttp.ClientSession, path: Path, tmp_path: Path
) -> None:
    daemon = await start("mode: follow")
    assert await ask(http, daemon, 3) == 2
    np.savez(tmp_path / "new.npz", keys=np.array([3]), rows=np.array([[7.0]]))
    for words, value in (
        (("update", path, "user", tmp_path / "new.npz"), 7),
        (("rollback", path, "user"), 1),
    ):
        result = sedp_store(*words)
        assert result.returncode == 0, result.stderr
        while await ask(http, daemon, 3) != value:  # the test's time limit ends it otherwise
            pass
    statistics = daemon.statistics().store
    assert statistics is not None
    assert [table.spec.version for table in statistics.tables] == [1]


async def test_daemon_that_writes_keeps_commands_out(start: Start, path: Path) -> None:
    await start("mode: write")
    result = sedp_store("rollback", path, "user")
    assert result.returncode == 1
    assert "it is open for writing already" in result.stderr


async def test_access_log_is_saved_and_gives_advice(
    start: Start, http: aiohttp.ClientSession, path: Path
) -> None:
    daemon = await start("access_log: true")
    for key in (3, 5, 99):
        await ask(http, daemon, key)
    await daemon.stop()
    assert load_sample(path / "access" / "user.npz").keys.tolist() == [3, 5, 99]
    result = CliRunner().invoke(group, ["store", "advise", str(path)], catch_exceptions=False)
    assert "user: 10 rows, 3 look-ups logged" in result.output


async def test_without_access_log_nothing_is_recorded(
    start: Start, http: aiohttp.ClientSession, path: Path
) -> None:
    daemon = await start("mode: follow")
    await ask(http, daemon, 3)
    await daemon.stop()
    assert not (path / "access").exists()


def warm_rows(path: Path) -> int:
    """How many LMDB has, as a daemon that follows sees it."""
    with open_store(StoreSettings(path=str(path))) as store:
        [table] = store.statistics().tables
        with pytest.raises(StoreError, match="read-only"):
            store.roll_back("user")
    return next(tier.rows for tier in table.tiers if tier.tier == "lmdb")


def test_deleted_lmdb_folder_is_made_again_before_serving(path: Path) -> None:
    shutil.rmtree(path / "lmdb")
    assert warm_rows(path) == 10


def test_damaged_lmdb_folder_is_made_anew_before_serving(path: Path) -> None:
    (path / "lmdb" / "data.mdb").write_bytes(bytes(1 << 16))
    assert warm_rows(path) == 10


def test_lmdb_that_lacks_updates_is_brought_up_before_serving(path: Path) -> None:
    (path / "lmdb" / "complete").unlink()
    with open_store(StoreSettings(path=str(path))) as store:
        assert not store.lags


def test_store_with_all_copies_is_not_written_to(path: Path) -> None:
    before = (path / "rocksdb" / "CURRENT").read_text()
    open_store(StoreSettings(path=str(path))).close()
    assert (path / "rocksdb" / "CURRENT").read_text() == before


def test_copies_that_cannot_be_made_leave_rocksdb_to_answer(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(path / "lmdb")
    writer = RocksDatabase(path / "rocksdb", read_only=False, create=False)
    rows, missing = np.empty((10, 1), np.float32), np.empty(10, np.bool_)
    with open_store(StoreSettings(path=str(path), ram=0)) as store:
        assert store.table("user").lookup(KEYS, rows, missing) == 0
    writer.close()
    assert (rows == 2).all()
    assert "copies are not made: " in caplog.text
    assert "open for writing already" in caplog.text


def test_store_that_is_not_there_is_told_as_such(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StoreError, match=r"does not exist; create it with"):
        open_store(StoreSettings(path=str(tmp_path / "none")))
    assert caplog.text == ""


def test_table_that_the_store_has_not_is_refused_with_the_nearest(path: Path) -> None:
    settings = StoreSettings(path=str(path), tables={"usr": TableSettings()})
    with pytest.raises(ConfigError, match=r"store.tables.usr: .*did you mean 'user'\?"):
        open_store(settings)
    open_store(StoreSettings(path=str(path), mode="write")).close()  # it was closed again


def test_miss_rules_reach_their_table(path: Path) -> None:
    rule = TableSettings(misses=MissSettings(mode="default"))
    unknown = np.array([77], np.uint64)
    with open_store(StoreSettings(path=str(path), ram=0, tables={"user": rule})) as store:
        store.table("user").lookup(unknown, np.empty((1, 1), np.float32), np.empty(1, np.bool_))
        misses = store.statistics().tables[0].misses
    assert (misses.waited, misses.deferred) == (0, 1)


def test_bounds_of_norms_reach_their_table(path: Path) -> None:
    tables = {"user": TableSettings(norm_max=8.0)}
    keys = np.array([77], np.uint64)
    with open_store(StoreSettings(path=str(path), mode="write", ram=0, tables=tables)) as store:
        store.update("user", keys, np.array([[8]], np.float32))
        with pytest.raises(
            StoreError, match=r"key 77 has norm 9.0, the limit is 8.0; .*the table's"
        ):
            store.update("user", keys, np.array([[9]], np.float32))
