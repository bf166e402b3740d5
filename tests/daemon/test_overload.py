"""What ends an event without an answer: failure, deadline, a full house, a lost caller, the end."""

from __future__ import annotations

import asyncio
import contextlib
import json

import aiohttp
import numpy as np
import pytest

from sedp.engine.events import Outcome

from . import wire
from .calls import GOOD, X, converse, in_flight, infer_url, outcomes, post, until, url
from .conftest import StartDaemon
from .user_stages import Gate


async def test_a_failed_stage_gives_500_without_its_reason(
    start_daemon: StartDaemon, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    daemon = await start_daemon()
    headers = {"X-Request-Id": "find-me"}
    async with http.post(infer_url(daemon, "fail"), data=GOOD, headers=headers) as response:
        assert response.status == 500
        text = (await response.json())["error"]
    assert "find-me" in text
    assert "secret" not in text
    assert any("find-me" in line and "secret" in line for line in caplog.messages)


async def test_a_bug_gives_500_without_its_reason(
    start_daemon: StartDaemon, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    daemon = await start_daemon()
    strings = np.array([b"a"], object)
    body, _ = wire.request({"t": ("BYTES", strings), "u": ("BYTES", strings)})
    async with http.post(infer_url(daemon, "sloppy"), data=body) as response:
        assert response.status == 500
        text = (await response.json())["error"]
        assert response.headers["X-Request-Id"] in text
    assert "secret" not in text
    assert "str" not in text
    assert "Traceback" in caplog.text


async def test_a_poisonous_caller_cannot_flood_the_log(
    start_daemon: StartDaemon, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    daemon = await start_daemon()
    for value in range(60):
        body, _ = wire.request({"x": ("FP32", np.array([value], np.float32))})
        async with http.post(infer_url(daemon, "fail"), data=body) as response:
            assert response.status == 500
    ours = [record for record in caplog.records if record.name == "sedp.daemon.server"]
    assert 10 <= len(ours) <= 20
    assert daemon.statistics().log_lines_left_out == 60 - len(ours)


async def test_a_passed_deadline_gives_504(
    start_daemon: StartDaemon, http: aiohttp.ClientSession, gate: Gate
) -> None:
    daemon = await start_daemon()
    body, _ = wire.request(X, parameters={"timeout": 20_000})
    async with http.post(infer_url(daemon, "gate"), data=body) as response:
        assert response.status == 504
        assert "deadline" in (await response.json())["error"]
    gate.open_wide()


async def test_a_full_pipeline_gives_503_with_retry_after(
    start_daemon: StartDaemon, http: aiohttp.ClientSession, gate: Gate
) -> None:
    daemon = await start_daemon()
    inside = [asyncio.create_task(post(http, daemon, "gate")) for _ in range(2)]
    await until(lambda: in_flight(daemon, "gate") == 2)
    async with http.post(infer_url(daemon, "gate"), data=GOOD) as response:
        assert response.status == 503
        assert 1 <= int(response.headers["Retry-After"]) <= 3
    gate.open_wide()
    assert await asyncio.gather(*inside) == [200, 200]


async def test_a_caller_who_leaves_is_cancelled(
    start_daemon: StartDaemon, http: aiohttp.ClientSession, gate: Gate
) -> None:
    daemon = await start_daemon()
    caller = asyncio.create_task(post(http, daemon, "gate"))
    await until(lambda: in_flight(daemon, "gate") == 1)
    caller.cancel()
    await until(lambda: outcomes(daemon, "gate") == {Outcome.CANCELLED: 1})
    await until(lambda: daemon.statistics().listeners["data"].responses.get(499) == 1)
    gate.open_wide()
    await until(lambda: in_flight(daemon, "gate") == 0)


async def test_connections_are_limited(
    start_daemon: StartDaemon, http: aiohttp.ClientSession
) -> None:
    daemon = await start_daemon(connections_max=2)
    host, port = daemon.data_address.split(":")
    writers = []
    for _ in range(2):
        _, writer = await asyncio.open_connection(host, int(port))
        writers.append(writer)
    await until(lambda: daemon.statistics().listeners["data"].connections == 2)
    head, body = await converse(daemon, b"")
    assert head.startswith(b"HTTP/1.1 503")
    assert f"Content-Length: {len(body)}".encode() in head
    assert "too many connections" in json.loads(body)["error"]
    assert daemon.statistics().listeners["data"].connections_refused == 1
    for writer in writers:
        writer.close()
        await writer.wait_closed()
    await until(lambda: daemon.statistics().listeners["data"].connections == 0)
    async with http.get(url(daemon, "/v2")) as response:
        assert response.status == 200


async def test_draining_refuses_newcomers_and_answers_those_inside(
    start_daemon: StartDaemon, http: aiohttp.ClientSession, gate: Gate
) -> None:
    daemon = await start_daemon()
    inside = asyncio.create_task(post(http, daemon, "gate"))
    await until(lambda: in_flight(daemon, "gate") == 1)
    stopping = asyncio.create_task(daemon.stop())
    await until(lambda: not daemon.statistics().ready)
    async with http.get(url(daemon, "/v2/health/live")) as response:
        assert response.status == 200
        assert response.headers["Connection"] == "close"
    for path in ("/v2/health/ready", "/v2/models/double/ready"):
        async with http.get(url(daemon, path)) as response:
            assert response.status == 503
            assert "not ready" in (await response.json())["error"]
    async with http.post(infer_url(daemon), data=GOOD) as response:
        assert response.status == 503
        assert "Retry-After" in response.headers
    assert not stopping.done()
    gate.open_wide()
    assert await inside == 200
    assert await stopping == 0


async def test_a_body_on_its_way_is_waited_for(start_daemon: StartDaemon) -> None:
    daemon = await start_daemon()
    host, port = daemon.data_address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = b"POST /v2/models/double/infer HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
    writer.write(head + b"Content-Length: %d\r\n\r\n" % len(GOOD))
    await reader.readuntil(b"\r\n\r\n")
    stopping = asyncio.create_task(daemon.stop())
    await until(lambda: not daemon.statistics().ready)
    assert not stopping.done()
    writer.write(GOOD)
    assert (await reader.readline()).split()[1] == b"503"
    assert await asyncio.wait_for(stopping, 5) == 0
    writer.close()
    await writer.wait_closed()


async def test_a_drain_that_takes_too_long_cuts_and_counts(
    start_daemon: StartDaemon, http: aiohttp.ClientSession, gate: Gate
) -> None:
    daemon = await start_daemon(drain_ns=30_000_000)
    inside = asyncio.create_task(post(http, daemon, "gate"))
    await until(lambda: in_flight(daemon, "gate") == 1)
    assert await daemon.stop() == 1
    with pytest.raises(aiohttp.ClientError):
        await inside
    assert not gate.is_closed  # it still runs
    gate.open_wide()


async def test_a_stage_is_not_closed_while_it_runs_for_a_caller_who_left(
    start_daemon: StartDaemon, http: aiohttp.ClientSession, gate: Gate
) -> None:
    daemon = await start_daemon()
    caller = asyncio.create_task(post(http, daemon, "gate"))
    await until(lambda: in_flight(daemon, "gate") == 1)
    caller.cancel()
    await until(lambda: outcomes(daemon, "gate") == {Outcome.CANCELLED: 1})
    stopping = asyncio.create_task(daemon.stop())
    async with http.get(url(daemon, "/v2/health/ready")) as response:  # a while passes
        assert response.status == 503
    gate.open_wide()
    assert await stopping == 0
    assert gate.is_closed
    assert not gate.was_closed_while_running


async def test_a_caller_who_never_reads_is_cut_off(start_daemon: StartDaemon) -> None:
    """An answer of 4 MB fits no socket buffer, so its connection stalls."""
    daemon = await start_daemon(write_timeout_ns=300_000_000)
    long = np.array([b"a" * 4_000_000], object)
    body, length = wire.request(
        {"t": ("BYTES", long), "u": ("BYTES", np.array([b"b"], object))},
        binary=True,
        parameters={"binary_data_output": True},
    )
    host, port = daemon.data_address.split(":")
    _, writer = await asyncio.open_connection(host, int(port), limit=1024)
    head = f"POST /v2/models/textual/infer HTTP/1.1\r\nHost: a\r\n{wire.LENGTH}: {length}\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()
    await until(lambda: outcomes(daemon, "textual") == {Outcome.ANSWERED: 1})
    assert daemon.statistics().listeners["data"].connections == 1
    await until(lambda: daemon.statistics().listeners["data"].connections == 0)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
