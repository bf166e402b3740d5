"""Knobs that are moved while serving: by looks at what is served, told, frozen, kept."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sedp.daemon.daemon import Daemon
from sedp.engine.graph import StagePlan

from .calls import GOOD, infer_url, serving
from .load_stages import Keeper

HERE = __name__.rpartition(".")[0]
CONFIG = f"""\
api_version: sedp/v1
daemon: {{listen: 127.0.0.1:0, admin: 127.0.0.1:0, workers: 1, audit_log: audit.log}}
pipelines:
  shop:
    inputs: {{x: "FP32[n]"}}
    outputs: {{z: "FP32[n]"}}
    slo: {{p99: 500ms}}
    tuning: {{every: 10m, plan: plan.json}}  # a test looks when it likes
    stages:
      scale: {{kind: "{HERE}.user_stages:Double", executor: thread}}  # the tuner alone moves
      bonus:
        kind: "{HERE}.load_stages:Keeper"
        executor: thread
        bounds: {{queue_rows: [4096, 16384], concurrency: [1, 1]}}
  plain:
    inputs: {{x: "FP32[n]"}}
    outputs: {{y: "FP32[n]"}}
    stages:
      only: {{kind: "{HERE}.user_stages:Double", executor: thread}}
"""


async def ask(
    http: aiohttp.ClientSession, daemon: Daemon, method: str, path: str, body: Any = None
) -> tuple[int, Any]:
    url = f"http://{daemon.admin_address}{path}"
    async with http.request(method, url, json=body) as response:
        return response.status, await response.json()


async def work(http: aiohttp.ClientSession, daemon: Daemon, windows: int) -> None:
    """Some windows of requests, each with a look at its end."""
    for _ in range(windows):
        for _ in range(60):
            async with http.post(infer_url(daemon, "shop"), data=GOOD) as response:
                assert response.status == 200
        await daemon.server.tuning.look()


async def move(http: aiohttp.ClientSession, daemon: Daemon) -> None:
    """Work until a knob has moved: queues that are longer than the target asks for are cut."""
    while not daemon.statistics().load.moves:
        await work(http, daemon, 1)


def plans(daemon: Daemon) -> dict[str, StagePlan]:
    return {stage.name: stage.plan for stage in daemon.statistics().engine.stages}


async def test_moves_are_made_told_and_counted(
    tmp_path: Path, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "sedp.daemon.tuning")
    async with serving(tmp_path, CONFIG) as daemon:
        before = plans(daemon)
        await move(http, daemon)
        status, told = await ask(http, daemon, "GET", "/admin/moves")
        assert status == 200
        assert not told["frozen"]
        assert told["total"] == {"shop": len(told["moves"])}
        last = told["moves"][-1]
        assert last["pipeline"] == "shop"
        assert {"saw", "expected", "came", "reason", "at", "pid"} <= last.keys()
        assert getattr(before[last["stage"]], last["knob"]) == last["before"]
        latest = next(m for m in told["moves"] if m["stage"] == last["stage"])
        assert getattr(plans(daemon)[last["stage"]], latest["knob"]) == latest["after"]
        assert any(last["reason"] in line for line in caplog.messages)
        _, status_page = await ask(http, daemon, "GET", "/status.json")
        assert [m["number"] for m in status_page["tuning"]["recent"]] == [
            m["number"] for m in told["moves"]
        ]
        _, plan = await ask(http, daemon, "GET", "/admin/plan")
        [worker] = plan["workers"]
        assert worker["pipelines"].keys() == {"shop"}
        shop = worker["pipelines"]["shop"]
        assert shop["scale"]["queue_rows_max"] == plans(daemon)["scale"].queue_rows_max
        assert shop["scale"]["cost"]["fixed_ns"] >= 0


async def test_nothing_moves_while_frozen_and_both_are_in_the_audit_log(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with serving(tmp_path, CONFIG) as daemon:
        assert await ask(http, daemon, "POST", "/admin/tuning/freeze") == (200, {"frozen": True})
        assert (await ask(http, daemon, "POST", "/v2/repository/models/plain/load"))[0] == 200
        await work(http, daemon, 8)
        assert (await ask(http, daemon, "GET", "/admin/moves"))[1] == {
            "frozen": True,
            "total": {},
            "moves": [],
        }
        assert await ask(http, daemon, "POST", "/admin/tuning/thaw") == (200, {"frozen": False})
        await move(http, daemon)
    lines = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    assert [line["action"] for line in lines if line["outcome"] == "done"] == [
        "tuning.freeze",
        "pipeline.load",
        "tuning.thaw",
    ]


async def test_bounds_hold_and_pipelines_without_tuning_are_left_alone(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with serving(tmp_path, CONFIG) as daemon:
        await move(http, daemon)
        await work(http, daemon, 10)
        found = plans(daemon)
        assert 4096 <= found["bonus"].queue_rows_max <= 16_384
        assert found["bonus"].concurrency == 1
        assert found["only"] == StagePlan()


async def test_what_was_learned_is_kept_at_the_end_and_begun_with(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with serving(tmp_path, CONFIG) as daemon:
        start = plans(daemon)
        await move(http, daemon)
        learned = plans(daemon)
        assert not (tmp_path / "plan.json").exists()
    assert learned != start
    async with serving(tmp_path, CONFIG) as daemon:
        assert plans(daemon) == learned
        assert (await ask(http, daemon, "POST", "/v2/repository/models/shop/load"))[0] == 200
        assert plans(daemon) == learned
    text = json.loads((tmp_path / "plan.json").read_text())
    assert text["pipeline"] == "shop"
    assert text["stages"]["scale"]["cost"] is not None


async def test_moves_stay_told_when_pipelines_come_and_go(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with serving(tmp_path, CONFIG) as daemon:
        await move(http, daemon)
        moves = daemon.statistics().load.moves
        assert (await ask(http, daemon, "POST", "/v2/repository/models/plain/unload"))[0] == 200
        await daemon.server.tuning.look()
        await work(http, daemon, 2)
        assert daemon.statistics().load.moves["shop"] >= moves["shop"]
        assert (await ask(http, daemon, "POST", "/v2/repository/models/plain/load"))[0] == 200
        assert "only" in plans(daemon)
        await daemon.server.tuning.look()


async def test_reload_changes_who_tunes(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with serving(tmp_path, CONFIG) as daemon:
        tuned = "    tuning: {every: 10m, plan: plan.json}  # a test looks when it likes\n"
        bounds = "        bounds: {queue_rows: [4096, 16384], concurrency: [1, 1]}\n"
        text = CONFIG.replace(tuned, "").replace(bounds, "")
        (tmp_path / "c.yaml").write_text(text)
        status, body = await ask(http, daemon, "POST", "/admin/reload")
        assert status == 200
        assert any("pipelines.shop.tuning" in line for line in body["changes"])
        await work(http, daemon, 8)
        assert daemon.statistics().load.moves == {}
        assert (await ask(http, daemon, "GET", "/admin/plan"))[1]["workers"][0]["pipelines"] == {}


async def test_users_who_have_acted_are_told_to_stages_that_keep_answers(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    Keeper.heard.clear()
    async with serving(tmp_path, CONFIG) as daemon:
        body = {"pipeline": "shop", "users": [1, -1, 2**64 - 2]}
        answer = await ask(http, daemon, "POST", "/admin/feedback", body)
        assert answer == (200, {"users": 3, "stages": 1})
        assert Keeper.heard == [1, 2**64 - 1, 2**64 - 2]
    lines = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    assert lines[0]["detail"] == "shop: 3 users"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"pipeline": "plain", "users": [1]}, 409, "keeps answers"),
        ({"pipeline": "shpo", "users": [1]}, 404, "did you mean 'shop'?"),
        ({"pipeline": "shop", "users": [2**64]}, 400, "above 2**64 - 1"),
        ({"pipeline": "shop", "users": [1.5]}, 400, "int"),
        ({"pipeline": "shop"}, 400, "users"),
        ({"pipeline": "shop", "users": [1], "more": 1}, 400, "more"),
    ],
)
async def test_feedback_that_is_wrong_is_refused(
    body: dict[str, Any], status: int, words: str, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with serving(tmp_path, CONFIG) as daemon:
        got, answer = await ask(http, daemon, "POST", "/admin/feedback", body)
    assert got == status
    assert words in answer["error"]


async def test_tuner_that_fails_is_told_of_and_serving_goes_on(
    tmp_path: Path,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("sedp.daemon.tuning.LiveTuning._every_s", lambda self: 0.0)
    monkeypatch.setattr("sedp.daemon.tuning.LiveTuning.look", lambda self: 1 // 0)
    async with serving(tmp_path, CONFIG) as daemon:
        while not any("tuning has failed" in line for line in caplog.messages):
            await asyncio.sleep(0)
        async with http.post(infer_url(daemon, "shop"), data=GOOD) as response:
            assert response.status == 200
