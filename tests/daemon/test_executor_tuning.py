"""Where stages run, moved while serving: by the engine, the tuner, a plan file, or a reload."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from sedp.daemon.daemon import Daemon
from sedp.manager.loop_bounds import COMES_NS_MAX, HOLDS_NS_MAX

from . import wire
from .calls import infer_url, serving
from .load_stages import PATIENCE_S, Resting
from .test_tuning import ask

HERE = __name__.rpartition(".")[0]
CALLERS = 8  # that ask again at once: one after the other they take twice the target
CONFIG = f"""\
api_version: sedp/v1
daemon: {{listen: 127.0.0.1:0, admin: 127.0.0.1:0, workers: 1}}
pipelines:
  shop:
    inputs: {{y: "FP32[n]"}}
    outputs: {{z: "FP32[n]"}}
    slo: {{p99: 16ms}}
    admission: counters
    tuning: {{every: 10m, plan: plan.json}}  # a test looks when it likes
    stages:
      rest:
        kind: "{HERE}.load_stages:Resting"
        executor: inline
        concurrency: 2
        batch: {{rows_max: 1}}
        bounds: {{concurrency: [2, 2], batch_rows: [1, 1], executors: [inline, thread]}}
"""
BODY = wire.request({"y": ("FP32", np.array([1.0], np.float32))})[0]


def fixed(config: str) -> str:
    """Without tuning."""
    lines = config.splitlines(keepends=True)
    return "".join(line for line in lines if "tuning:" not in line and "bounds:" not in line)


@pytest.fixture(autouse=True)
def _no_runs_yet() -> None:
    Resting.ran_in.clear()


async def infer(http: aiohttp.ClientSession, daemon: Daemon) -> None:
    async with http.post(infer_url(daemon, "shop"), data=BODY) as response:
        assert response.status == 200


async def work(http: aiohttp.ClientSession, daemon: Daemon) -> None:
    """A window of callers who ask again and again, and a look at its end."""

    async def call() -> None:
        for _ in range(10):
            await infer(http, daemon)

    await asyncio.gather(*(call() for _ in range(CALLERS)))
    await daemon.server.tuning.look()


async def place(http: aiohttp.ClientSession, daemon: Daemon) -> str:
    """The kind of thread that a run happens in now."""
    Resting.ran_in.clear()
    await infer(http, daemon)
    return "thread" if Resting.ran_in[-1].startswith("sedp-stage") else "inline"


async def told_place(http: aiohttp.ClientSession, daemon: Daemon) -> dict[str, int]:
    """Processes by where the stage runs, as the status says."""
    _, status = await ask(http, daemon, "GET", "/status.json")
    told: dict[str, int] = status["stages"][0]["executors"]
    return told


def executor_moves(daemon: Daemon) -> int:
    return sum(move.knob == "executor" for move in daemon.statistics().load.recent)


async def test_runs_that_hold_the_loop_are_moved_to_threads_told_and_kept(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with serving(tmp_path, CONFIG) as daemon:
        assert await place(http, daemon) == "inline"
        while not executor_moves(daemon):
            await work(http, daemon)
        assert await place(http, daemon) == "thread"
        _, told = await ask(http, daemon, "GET", "/admin/moves")
        [move] = [move for move in told["moves"] if move["knob"] == "executor"]
        assert (move["pipeline"], move["stage"]) == ("shop", "rest")
        assert (move["before"], move["after"]) == ("inline", "thread")
        assert move["expected"]["gain"] > 1.05
        assert move["saw"]["p99_ns"] > move["saw"]["target_ns"]
        _, plan = await ask(http, daemon, "GET", "/admin/plan")
        assert plan["workers"][0]["pipelines"]["shop"]["rest"]["executor"] == "thread"
        assert await told_place(http, daemon) == {"thread": 1}
        async with http.get(f"http://{daemon.admin_address}/metrics") as response:
            metrics = await response.text()
        labels = 'executor="thread",pipeline="shop",stage="rest"'
        assert f"sedp_stage_executors{{{labels}}} 1.0" in metrics
    kept = json.loads((tmp_path / "plan.json").read_text())
    assert kept["stages"]["rest"]["executor"] == "thread"
    async with serving(tmp_path, CONFIG) as daemon:
        assert await place(http, daemon) == "thread"
        assert await told_place(http, daemon) == {"thread": 1}


async def test_auto_has_short_runs_on_the_loop_and_long_ones_in_threads(
    tmp_path: Path, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask_until(wanted: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await place(http, daemon) != wanted:
                pass

    monkeypatch.setattr(Resting, "rest_s", 0.0)
    async with serving(tmp_path, fixed(CONFIG).replace("inline", "auto")) as daemon:
        assert await place(http, daemon) == "thread", "nothing is known of its runs"
        await ask_until("inline")
        assert await told_place(http, daemon) == {"inline": 1}
        monkeypatch.setattr(Resting, "rest_s", 4 * HOLDS_NS_MAX / 1e9)
        await ask_until("thread")
        assert await told_place(http, daemon) == {"thread": 1}
        monkeypatch.setattr(Resting, "rest_s", 0.0)
        await ask_until("inline")
        assert await told_place(http, daemon) == {"inline": 1}


async def test_moves_of_auto_are_told_with_what_came_and_end_while_frozen(
    tmp_path: Path, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def told_when(count: int) -> list[dict[str, Any]]:
        """The moves, the first one first, once there are so many and all are judged."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                await infer(http, daemon)
                daemon.server.tuning.look_at_executors()
                _, told = await ask(http, daemon, "GET", "/admin/moves")
                moves: list[dict[str, Any]] = told["moves"]
                if len(moves) >= count and all(move["came"] for move in moves):
                    return moves[::-1]

    monkeypatch.setattr(Resting, "rest_s", 0.0)
    async with serving(tmp_path, fixed(CONFIG).replace("inline", "auto")) as daemon:
        first, *_ = await told_when(1)
        assert (first["pipeline"], first["stage"], first["knob"]) == ("shop", "rest", "executor")
        assert (first["before"], first["after"]) == ("thread", "inline")
        assert first["saw"]["run_usual_ns"] < first["saw"]["bound_ns"] == COMES_NS_MAX
        assert first["expected"]["run_ns"] == first["saw"]["run_usual_ns"]
        assert first["came"]["run_ns"] > 0
        assert await ask(http, daemon, "POST", "/admin/tuning/freeze") == (200, {"frozen": True})
        before = daemon.statistics().load.moves
        monkeypatch.setattr(Resting, "rest_s", 4 * HOLDS_NS_MAX / 1e9)
        for _ in range(20):
            assert await place(http, daemon) == "inline"
        daemon.server.tuning.look_at_executors()
        assert daemon.statistics().load.moves == before
        assert await ask(http, daemon, "POST", "/admin/tuning/thaw") == (200, {"frozen": False})
        last = (await told_when(before["shop"] + 1))[-1]
        assert (last["before"], last["after"]) == ("inline", "thread")
        assert last["came"]["run_ns"] >= 4 * HOLDS_NS_MAX


async def test_where_no_bounds_name_executors_the_config_holds_against_the_plan_file(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    stage = {
        "concurrency": 2,
        "batch_rows_max": 1,
        "batch_wait_ns": 0,
        "queue_rows_max": 16_384,
        "executor": "thread",
    }
    kept = {"pipeline": "shop", "stages": {"rest": stage}}
    (tmp_path / "plan.json").write_text(json.dumps(kept))
    async with serving(tmp_path, CONFIG.replace(", executors: [inline, thread]", "")) as daemon:
        assert await place(http, daemon) == "inline"
        for _ in range(4):
            await work(http, daemon)
        assert not executor_moves(daemon)


async def test_reload_moves_runs_with_stages_as_they_are(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with serving(tmp_path, fixed(CONFIG)) as daemon:
        served = daemon.server.repository.find("shop")
        assert await place(http, daemon) == "inline"
        (tmp_path / "c.yaml").write_text(
            fixed(CONFIG).replace("executor: inline", "executor: thread")
        )
        assert (await ask(http, daemon, "POST", "/admin/reload"))[0] == 200
        assert daemon.server.repository.find("shop").engine is served.engine
        assert await place(http, daemon) == "thread"
        assert await told_place(http, daemon) == {"thread": 1}


async def test_pipeline_that_is_opened_anew_goes_on_where_its_runs_were(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with serving(tmp_path, CONFIG) as daemon:
        while not executor_moves(daemon):
            await work(http, daemon)
        await daemon.server.tuning.write()
        assert (await ask(http, daemon, "POST", "/v2/repository/models/shop/load"))[0] == 200
        assert await place(http, daemon) == "thread"
        await daemon.server.tuning.look()
        assert await told_place(http, daemon) == {"thread": 1}
