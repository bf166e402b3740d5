"""A daemon whose cache is too small gives it more, says so, and is frozen by the usual call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from sedp.daemon.daemon import Daemon
from sedp.memory_room import memory_room
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec

from . import wire
from .calls import infer_url, serving
from .test_tuning import ask

ROWS, HOT = 60_000, 20_000
MIB = 1 << 20
CONFIG = """\
api_version: sedp/v1
daemon: {listen: 127.0.0.1:0, admin: 127.0.0.1:0, workers: 1}
store: {path: store, ram: 1MiB, ram_bounds: [1MiB, 8MiB]}
pipelines:
  fetch:
    inputs: {id: "INT64[n]"}
    outputs: {value: "FP32[n, 16]"}
    stages:
      fetch:
        kind: feature_fetch
        executor: thread  # only the caches move
        params:
          fetches:
            - {table: user, key: [id], datatype: FP32, output: value, dim: 16}
"""


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("sedp.daemon.tuning.IDLE_S", 0.02)
    monkeypatch.setattr("sedp.manager.cache_bytes.EVERY_NS", 0)
    return


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keys = np.arange(ROWS, dtype=np.uint64)
    with ParameterStore.open(tmp_path / "store", create=True) as store:
        rows = np.repeat(keys.astype(np.float32)[:, np.newaxis], 16, axis=1)
        store.import_table(TableSpec("user", 16, "float32"), [(keys, rows)])
    return tmp_path


async def look_up(http: aiohttp.ClientSession, daemon: Daemon, rng: np.random.Generator) -> None:
    """4,000 of the hot rows, and check them."""
    ids = rng.integers(0, HOT, 4000)
    body = wire.request({"id": ("INT64", ids)})[0]
    async with http.post(infer_url(daemon, "fetch"), data=body) as response:
        assert response.status == 200
        answer: dict[str, Any] = await response.json()
    values = np.array(answer["outputs"][0]["data"]).reshape(-1, 16)
    assert (values == ids[:, np.newaxis]).all()


async def hit_ratio(http: aiohttp.ClientSession, daemon: Daemon, rng: np.random.Generator) -> float:
    def tier() -> tuple[int, int]:
        store = daemon.statistics().store
        assert store is not None
        ram = store.tables[0].tiers[0]
        return ram.lookups, ram.hits

    before = tier()
    for _ in range(10):
        await look_up(http, daemon, rng)
    after = tier()
    return (after[1] - before[1]) / (after[0] - before[0])


async def test_cache_that_is_too_small_grows_and_answers_more(
    folder: Path, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "sedp.daemon.tuning")
    rng = np.random.default_rng(1)
    async with serving(folder, CONFIG) as daemon:
        for _ in range(10):
            await look_up(http, daemon, rng)
        before = await hit_ratio(http, daemon, rng)
        while len(daemon.statistics().load.recent) < 3:
            await look_up(http, daemon, rng)
            await asyncio.sleep(0)
        after = await hit_ratio(http, daemon, rng)
        assert after > before + 0.1
        _, told = await ask(http, daemon, "GET", "/admin/moves")
        assert told["total"][""] == len(told["moves"]) >= 3
        first = told["moves"][-1]
        assert (first["pipeline"], first["stage"], first["knob"]) == ("", "", "ram_bytes")
        assert (first["before"], first["after"]) == (MIB, MIB * 5 // 4)
        assert first["saw"].keys() == {"hit_ratio", "lookups_s", "miss_ns", "room_bytes"}
        assert first["came"]["verdict"] == "kept"
        assert first["came"]["hit_ratio"] > first["expected"]["hit_ratio"] - 0.05
        assert any(line.startswith("store: ram_bytes 1048576 → ") for line in caplog.messages)
        _, status = await ask(http, daemon, "GET", "/status.json")
        assert status["tuning"]["recent"][-1]["knob"] == "ram_bytes"
        assert status["store"]["ram_bytes_max"] > MIB
        async with http.get(f"http://{daemon.admin_address}/metrics") as response:
            assert 'sedp_tuning_moves_total{pipeline=""}' in await response.text()


async def test_nothing_moves_while_frozen(folder: Path, http: aiohttp.ClientSession) -> None:
    rng = np.random.default_rng(1)
    async with serving(folder, CONFIG) as daemon:
        assert (await ask(http, daemon, "POST", "/admin/tuning/freeze"))[0] == 200
        for _ in range(60):
            await look_up(http, daemon, rng)
        assert (await ask(http, daemon, "GET", "/admin/moves"))[1]["moves"] == []
        statistics = daemon.statistics().store
        assert statistics is not None
        assert statistics.ram_bytes_max == MIB


@pytest.mark.parametrize(("kept", "begun"), [(3 * MIB, 3 * MIB), (64 * MIB, 8 * MIB), (1, MIB)])
async def test_start_begins_with_the_ram_that_was_kept_within_the_bounds(
    kept: int, begun: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sedp.manager.cache_bytes.EVERY_NS", 1 << 60)
    (folder / "plan.json").write_text(
        json.dumps({"pipeline": "fetch", "stages": {}, "ram_bytes": kept})
    )
    tuned = "    slo: {p99: 1s}\n    tuning: {plan: plan.json}\n    stages:\n"
    text = CONFIG.replace("ram: 1MiB", "ram: 2MiB").replace("    stages:\n", tuned)
    async with serving(folder, text) as daemon:
        while True:
            statistics = daemon.statistics().store
            assert statistics is not None
            if statistics.ram_bytes_max == begun:
                break
            await asyncio.sleep(0.002)
    assert json.loads((folder / "plan.json").read_text())["ram_bytes"] == begun


async def test_where_all_tables_are_whole_there_is_nothing_to_move_and_it_is_said(
    folder: Path, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "sedp.daemon.cache_tuning")
    text = CONFIG.replace(
        "ram: 1MiB, ram_bounds: [1MiB, 8MiB]", "ram: 32MiB, ram_bounds: [1MiB, 64MiB]"
    )
    async with serving(folder, text) as daemon:
        for _ in range(20):
            await look_up(http, daemon, np.random.default_rng(1))
        assert daemon.statistics().load.recent == ()
    assert any("there is nothing to move" in line for line in caplog.messages)


def test_room_is_the_least_that_any_group_or_the_machine_has(tmp_path: Path) -> None:
    def write(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    write("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:   8000 kB\n")
    assert memory_room(tmp_path) == 8000 << 10
    write("proc/self/cgroup", "0::/a/b\n")
    write("sys/fs/cgroup/a/b/memory.max", "max\n")
    assert memory_room(tmp_path) == 8000 << 10
    write("sys/fs/cgroup/a/memory.max", "5000000\n")
    write("sys/fs/cgroup/a/memory.current", "4000000\n")
    assert memory_room(tmp_path) == 1_000_000
    write("sys/fs/cgroup/a/memory.stat", "anon 3\ninactive_file 500000\n")
    assert memory_room(tmp_path) == 1_500_000
    write("sys/fs/cgroup/a/memory.current", "6000000\n")
    assert memory_room(tmp_path) == 0
    write("proc/self/cgroup", "4:memory:/c\n")
    write("sys/fs/cgroup/memory/c/memory.limit_in_bytes", "700\n")
    write("sys/fs/cgroup/memory/c/memory.usage_in_bytes", "300\n")
    assert memory_room(tmp_path) == 400
