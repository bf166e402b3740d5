"""Loading, unloading and replacing pipelines of a running daemon, one without the others."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sedp.daemon.failures import what_callers_see

from .calls import until
from .config_file import ConfigFile, keep_asking
from .conftest import StartFrom
from .served_stages import Scale


async def test_unloaded_pipeline_is_unknown_until_it_is_loaded_again(
    start_from: StartFrom, config: ConfigFile
) -> None:
    config.write(one="factor: 2", other="factor: 3")
    operator = await start_from(config)
    assert await operator.unload("one") == (200, {})
    assert "not loaded: unloaded" in str(await operator.infer("one"))
    assert await operator.infer("other") == 3
    assert await operator.index() == {"one": ("UNAVAILABLE", "unloaded"), "other": ("READY", "")}
    assert await operator.load("one") == (200, {})
    assert await operator.infer("one") == 2
    assert [stage.factor for stage in Scale.open_now] == [3, 2]


async def test_loading_what_is_served_reads_its_files_anew(
    start_from: StartFrom, config: ConfigFile, tmp_path: Path
) -> None:
    (tmp_path / "model").write_text("5")
    config.write(one="file: model")
    operator = await start_from(config)
    (tmp_path / "model").write_text("7")
    assert await operator.infer("one") == 5
    assert await operator.load("one") == (200, {})
    assert await operator.infer("one") == 7
    assert len(Scale.open_now) == 1


@pytest.mark.parametrize(("model", "reason"), [("x", "cannot be loaded"), ("nan", "to warm up")])
async def test_load_that_fails_leaves_the_old_one_serving_and_says_why(
    start_from: StartFrom, config: ConfigFile, tmp_path: Path, model: str, reason: str
) -> None:
    (tmp_path / "model").write_text("5")
    config.write(one="file: model")
    operator = await start_from(config)
    (tmp_path / "model").write_text(model)
    status, answer = await operator.load("one")
    assert status == 400
    assert "pipeline 'one', stage 's'" in answer["error"]
    assert reason in answer["error"]
    assert await operator.infer("one") == 5
    state, why = (await operator.index())["one"]
    assert state == "READY"
    assert reason in why
    (tmp_path / "model").write_text("6")
    assert await operator.load("one") == (200, {})
    assert await operator.index() == {"one": ("READY", "")}


async def test_why_a_load_failed_is_told_to_operators_alone(
    start_from: StartFrom, config: ConfigFile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "model").write_text("5")
    config.write(one="file: model")
    operator = await start_from(config)
    assert (await operator.unload("one"))[0] == 200
    (tmp_path / "model").unlink()
    assert (await operator.load("one"))[0] == 400
    told = str(await operator.infer("one"))
    assert "'one' is not loaded: could not be loaded; the log says why" in told
    assert str(tmp_path) not in told
    for seen in ((await operator.index())["one"][1], caplog.text):
        assert str(tmp_path / "model") in seen


@pytest.mark.parametrize(
    ("reason", "seen"),
    [
        ("unloaded", "unloaded"),
        ("could not be loaded: /srv/x", "could not be loaded; the log says why"),
    ],
)
def test_callers_see_no_more_of_a_reason_than_they_need(reason: str, seen: str) -> None:
    assert what_callers_see(reason) == seen


async def test_no_request_fails_while_its_pipeline_is_replaced(
    start_from: StartFrom, config: ConfigFile
) -> None:
    config.write(one="factor: 2", other="factor: 3")
    operator = await start_from(config)
    done = asyncio.Event()
    asking = [asyncio.create_task(keep_asking(operator, "one", done)) for _ in range(8)]
    for _ in range(20):
        assert await operator.load("one") == (200, {})
    done.set()
    answers = [answer for task in asking for answer in await task]
    assert len(answers) > 20
    assert set(answers) == {2.0}
    assert len(Scale.open_now) == 2


async def test_request_whose_body_is_still_arriving_is_answered_by_the_new_one(
    start_from: StartFrom, config: ConfigFile, tmp_path: Path
) -> None:
    (tmp_path / "model").write_text("5")
    config.write(one="file: model")
    operator = await start_from(config)
    host, port = operator.data_address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1.0]}]}'
    head = b"POST /v2/models/one/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    writer.write(head % len(body) + body[:20])
    await writer.drain()
    (tmp_path / "model").write_text("7")
    assert await operator.load("one") == (200, {})
    writer.write(body[20:])
    await reader.readuntil(b"\r\n\r\n")
    assert b'"data":[7.0]' in await reader.readuntil(b"]}]}")
    writer.close()
    await writer.wait_closed()


async def test_unloading_waits_for_events_inside_and_lets_nobody_else_change_it(
    start_from: StartFrom, config: ConfigFile, tmp_path: Path
) -> None:
    config.write(one="at: gate")
    operator = await start_from(config)
    inside = asyncio.create_task(operator.infer("one"))
    await until((tmp_path / "gate.begun").exists)
    unloading = asyncio.create_task(operator.unload("one"))
    while (await operator.index())["one"][0] == "READY":
        await asyncio.sleep(0)
    status, answer = await operator.load("one")
    assert (status, "is being changed" in answer["error"]) == (409, True)
    assert len(Scale.open_now) == 1
    (tmp_path / "gate.go").touch()
    assert await inside == 2
    assert await unloading == (200, {})
    assert Scale.open_now == []


async def test_unknown_pipelines_are_told_with_the_nearest(
    start_from: StartFrom, config: ConfigFile
) -> None:
    config.write(one="")
    operator = await start_from(config)
    for status, answer in (await operator.load("onne"), await operator.unload("onne")):
        assert status == 404
        assert "there is no pipeline 'onne'; did you mean 'one'?; known: one" in answer["error"]


@pytest.mark.parametrize("parameters", [{"config": "{}"}, {"file:1/model.onnx": "AAAA"}])
async def test_configs_and_files_of_callers_are_refused(
    start_from: StartFrom, config: ConfigFile, parameters: dict[str, Any]
) -> None:
    config.write(one="")
    operator = await start_from(config)
    path = "/v2/repository/models/one/load"
    status, answer = await operator.post(path, {"parameters": parameters})
    assert status == 400
    assert "change the config file and POST /admin/reload" in answer["error"]


async def test_index_of_what_is_ready_leaves_the_others_out(
    start_from: StartFrom, config: ConfigFile
) -> None:
    config.write(one="", other="")
    operator = await start_from(config)
    await operator.unload("one")
    status, entries = await operator.post("/v2/repository/index", {"ready": True})
    assert status == 200
    assert entries == [{"name": "other", "version": "1", "state": "READY", "reason": ""}]


async def test_load_is_carried_through_when_its_caller_leaves(
    start_from: StartFrom, config: ConfigFile, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    config.write(one="door: door")
    (tmp_path / "door.go").touch()
    operator = await start_from(config)
    [before] = Scale.open_now
    (tmp_path / "door.go").unlink()
    (tmp_path / "door.begun").unlink()
    loading = asyncio.create_task(operator.load("one"))
    await until((tmp_path / "door.begun").exists)
    loading.cancel()
    await until(lambda: operator.responses[499] == 1)
    (tmp_path / "door.go").touch()
    await until(lambda: before not in Scale.open_now)
    assert len(Scale.open_now) == 1
    assert await operator.infer("one") == 2


async def test_counters_go_on_when_a_pipeline_is_replaced_unloaded_or_reloaded(
    start_from: StartFrom, config: ConfigFile
) -> None:
    config.write(one="factor: 2", other="")
    operator = await start_from(config)
    for count, change in enumerate((operator.load, operator.load, operator.unload), start=1):
        await operator.infer("one")
        await change("one")
        assert await operator.answered("one") == count
    await operator.load("one")
    config.write(one="factor: 3", other="")
    await operator.post("/admin/reload")
    await operator.infer("one")
    assert await operator.answered("one") == 4
    config.write(other="")
    await operator.post("/admin/reload")
    assert await operator.answered("one") is None
