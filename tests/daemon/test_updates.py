"""Online updates and rollbacks through the admin plane of a daemon that writes its store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import orjson
import pytest

from sedp.config.loading import load
from sedp.daemon.admin.table_update import read_update
from sedp.daemon.daemon import Daemon
from sedp.errors import RequestError
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec

from . import wire
from .calls import infer_url

CONFIG = """\
api_version: sedp/v1
daemon: {{listen: 127.0.0.1:0, admin: 127.0.0.1:0, workers: 1, body_bytes_max: 64KiB, {daemon}}}
store: {{path: store, mode: {mode}}}
pipelines:
  fetch:
    inputs: {{id: "INT64[n]"}}
    outputs: {{value: "FP32[n, 2]"}}
    stages:
      fetch:
        kind: feature_fetch
        params:
          fetches:
            - {{table: user, key: [id], datatype: FP32, output: value, dim: 2}}
"""
FLOATS, WHOLE = TableSpec("user", 2, "float32"), TableSpec("count", 1, "int32")
KEYS = np.arange(10, dtype=np.uint64)

Start = Callable[..., Awaitable[Daemon]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start a daemon over two tables; `user` has a version of ones and a current one of twos."""
    with ParameterStore.open(tmp_path / "store", create=True) as store:
        for value in (1, 2):
            store.import_table(FLOATS, [(KEYS, np.full((10, 2), value, np.float32))])
        store.import_table(WHOLE, [(KEYS, np.ones((10, 1), np.int32))])
    async with AsyncExitStack() as stack:

        async def run(mode: str = "write", daemon: str = "") -> Daemon:
            (tmp_path / "c.yaml").write_text(CONFIG.format(mode=mode, daemon=daemon))
            started = await Daemon.start(load(tmp_path / "c.yaml", {}))
            stack.push_async_callback(started.stop)
            return started

        yield run


async def send(
    http: aiohttp.ClientSession, daemon: Daemon, path: str, body: Any, **headers: str
) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = f"http://{daemon.admin_address}/admin/store/{path}"
    async with http.post(url, data=data, headers=headers) as response:
        return response.status, await response.json()


async def ask(http: aiohttp.ClientSession, daemon: Daemon, key: int) -> list[float]:
    tensor = {"name": "id", "datatype": "INT64", "shape": [1], "data": [key]}
    async with http.post(infer_url(daemon, "fetch"), json={"inputs": [tensor]}) as response:
        return list((await response.json())["outputs"][0]["data"])


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_acknowledged_rows_are_served_and_the_ack_says_how_safe_they_are(
    start: Start, http: aiohttp.ClientSession, durability: str
) -> None:
    daemon = await start()
    body = {"keys": [3, 2**64 - 1], "rows": [[7, 8.5], [0, 1]], "durability": durability}
    status, ack = await send(http, daemon, "user/update", body)
    assert status == 200
    assert ack.pop("epoch") > 0
    assert ack == {"table": "user", "rows": 2, "durability": durability, "is_repeat": False}
    assert await ask(http, daemon, 3) == [7, 8.5]


async def test_update_sent_again_with_its_id_is_not_applied_again(
    start: Start, http: aiohttp.ClientSession
) -> None:
    daemon = await start()
    body = {"keys": [3], "rows": [[7, 7]], "id": "u1"}
    assert (await send(http, daemon, "user/update", body))[1]["is_repeat"] is False
    await send(http, daemon, "user/update", {"keys": [3], "rows": [[9, 9]]})
    assert (await send(http, daemon, "user/update", body))[1]["is_repeat"] is True
    assert await ask(http, daemon, 3) == [9, 9]


async def test_binary_form_carries_the_same(start: Start, http: aiohttp.ClientSession) -> None:
    daemon = await start()
    inputs = {
        "keys": ("UINT64", np.array([3, 4], np.uint64)),
        "rows": ("FP32", np.array([[7, 8], [9, 10]], np.float32)),
    }
    body, length = wire.request(inputs, binary=True, id="u2")
    assert length is not None
    headers = {wire.LENGTH: length}
    for is_repeat in (False, True):
        status, ack = await send(http, daemon, "user/update?durability=async", body, **headers)
        assert (status, ack["durability"], ack["is_repeat"]) == (200, "async", is_repeat)
    assert await ask(http, daemon, 4) == [9, 10]
    status, answer = await send(http, daemon, "user/update?durability=maybe", body, **headers)
    assert (status, "use one of" in answer["error"]) == (400, True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[]", "the body is not valid"),
        (b"\xff", "the body is not valid"),
        ({"keys": [1]}, "missing required field `rows`"),
        ({"keys": [1], "rows": [[1, 2]], "more": 1}, "unknown field `more`"),
        ({"keys": [], "rows": []}, "1 ≤ n"),
        ({"keys": [-1], "rows": [[1, 2]]}, "below 0"),
        ({"keys": [2**64], "rows": [[1, 2]]}, "above 2**64 - 1"),
        ({"keys": [1], "rows": [[1]]}, "one for each key, of 2 numbers"),
        ({"keys": [1, 2], "rows": [[1, 2]]}, "one for each key"),
        ({"keys": [1], "rows": [[1, 1e39]]}, "NaN or infinity"),
        (b'{"keys": [1], "rows": [[1, NaN]]}', "the body is not valid"),
        ({"keys": [1], "rows": [[1, 10**400]]}, "does not fit into float32"),
        ({"keys": [1], "rows": [[1, 2]], "durability": "soon"}, "durability"),
        ({"keys": [1], "rows": [[1, 2]], "id": "x" * 129}, "id of 129 characters"),
    ],
)
async def test_update_that_does_not_fit_is_refused_and_writes_nothing(
    start: Start, http: aiohttp.ClientSession, body: Any, words: str
) -> None:
    daemon = await start()
    status, answer = await send(http, daemon, "user/update", body)
    assert (status, words in answer["error"]) == (400, True), answer
    assert await ask(http, daemon, 1) == [2, 2]


@pytest.mark.parametrize(("rows", "words"), [([[0.5]], "whole numbers"), ([[2**31]], "not fit")])
def test_whole_numbers_stay_whole(rows: list[Any], words: str) -> None:
    body = orjson.dumps({"keys": [1], "rows": rows})
    with pytest.raises(RequestError, match=words):
        read_update(WHOLE, body, None, None)


async def test_body_has_a_limit(start: Start, http: aiohttp.ClientSession) -> None:
    daemon = await start()
    keys = list(range(9_000))
    status, _ = await send(http, daemon, "user/update", {"keys": keys, "rows": [[0, 0]] * 9_000})
    assert status == 413


@pytest.mark.parametrize("call", ["usr/update", "usr/rollback"])
async def test_unknown_table_is_told_with_the_nearest(
    start: Start, http: aiohttp.ClientSession, call: str
) -> None:
    daemon = await start()
    body = {} if call.endswith("rollback") else {"keys": [1], "rows": [[1, 2]]}
    status, answer = await send(http, daemon, call, body)
    assert status == 404
    assert "there is no table 'usr'; did you mean 'user'?; tables: count, user" in answer["error"]


@pytest.mark.parametrize("call", ["user/update", "user/rollback"])
async def test_daemon_that_follows_its_store_says_who_may_write(
    start: Start, http: aiohttp.ClientSession, call: str
) -> None:
    daemon = await start("follow")
    body = {} if call.endswith("rollback") else {"keys": [1], "rows": [[1, 2]]}
    status, answer = await send(http, daemon, call, body)
    assert (status, "set store.mode to write" in answer["error"]) == (409, True)


async def test_roll_back_and_forth(start: Start, http: aiohttp.ClientSession) -> None:
    daemon = await start()
    answers = [(await send(http, daemon, "user/rollback", b""))[1]["version"]]
    assert await ask(http, daemon, 5) == [1, 1]
    answers.append((await send(http, daemon, "user/rollback", {"version": 2}))[1]["version"])
    assert await ask(http, daemon, 5) == [2, 2]
    assert answers == [1, 2]
    for table, body in (("user", {"version": 9}), ("count", {})):
        status, answer = await send(http, daemon, f"{table}/rollback", body)
        assert (status, "cannot go to version" in answer["error"]) == (400, True)


async def test_changes_are_in_the_audit_log_and_refusals_change_nothing(
    start: Start, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    daemon = await start(daemon="audit_log: audit.jsonl")
    await send(http, daemon, "user/update", {"keys": [3], "rows": [[7, 7]], "id": "u1"})
    await send(http, daemon, "user/rollback", {"version": 9})
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    told = [(line["action"], line["detail"], line["outcome"][:6]) for line in lines]
    update, rollback = "user: 1 rows, sync, id 'u1'", "user to version 9"
    assert told == [
        ("store.update", update, "begun"),
        ("store.update", update, "done"),
        ("store.rollback", rollback, "begun"),
        ("store.rollback", rollback, "failed"),
    ]
