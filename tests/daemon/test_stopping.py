"""How a server leaves: told to, or to make room for another process on the same socket."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from sedp.daemon.daemon import Daemon

from .calls import infer_url, post, until, url
from .conftest import StartDaemon
from .user_stages import Gate


async def look(http: aiohttp.ClientSession, daemon: Daemon) -> dict[str, int]:
    """Status by what is asked for."""
    paths = {
        "live": url(daemon, "/v2/health/live"),
        "ready": url(daemon, "/v2/health/ready"),
        "admin live": f"http://{daemon.admin_address}/v2/health/live",
        "admin ready": f"http://{daemon.admin_address}/v2/health/ready",
        "healthz": f"http://{daemon.admin_address}/healthz",
    }
    seen = {}
    for name, path in paths.items():
        async with http.get(path) as response:
            seen[name] = response.status
    return seen


LEAVING = {"live": 200, "ready": 503, "admin live": 200, "admin ready": 503, "healthz": 200}


async def test_delay_serves_on_while_not_ready_and_asks_clients_to_leave(
    start_daemon: StartDaemon, http: aiohttp.ClientSession
) -> None:
    daemon = await start_daemon(drain_delay_ns=10**9)
    assert set((await look(http, daemon)).values()) == {200}
    stopping = asyncio.create_task(daemon.stop())
    await until(lambda: not daemon.server.ready)
    assert await look(http, daemon) == LEAVING
    async with http.get(url(daemon, "/v2")) as response:
        assert response.headers["Connection"] == "close"
    assert await post(http, daemon, "double") == 200
    assert await stopping == 0


async def test_liveness_stays_while_events_in_flight_are_waited_for(
    start_daemon: StartDaemon, http: aiohttp.ClientSession, gate: Gate
) -> None:
    daemon = await start_daemon()
    inside = asyncio.create_task(post(http, daemon, "gate"))
    await until(lambda: daemon.server.repository.in_flight == 1)
    stopping = asyncio.create_task(daemon.stop())
    await until(lambda: not daemon.server.ready)
    assert await look(http, daemon) == LEAVING
    assert await post(http, daemon, "double") == 503
    gate.open_wide()
    assert await inside == 200
    assert await stopping == 0
    assert gate.is_closed
    assert not gate.was_closed_while_running


async def test_retiring_server_accepts_nobody_and_serves_those_who_are_there(
    start_daemon: StartDaemon, gate: Gate
) -> None:
    daemon = await start_daemon()
    async with aiohttp.ClientSession() as here, aiohttp.ClientSession() as late:
        assert await post(here, daemon, "double") == 200
        retiring = asyncio.create_task(daemon.server.retire())
        await asyncio.sleep(0)
        knocking = asyncio.create_task(post(late, daemon, "double"))
        assert not retiring.done()
        async with here.post(infer_url(daemon, "double"), data=b"{}") as response:
            assert response.status == 400
            assert response.headers["Connection"] == "close"
        await retiring  # the last one has left
        assert not knocking.done()
        knocking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await knocking


async def test_retiring_does_not_wait_for_idle_connections_beyond_the_drain(
    start_daemon: StartDaemon, http: aiohttp.ClientSession
) -> None:
    daemon = await start_daemon(drain_ns=50_000_000)
    assert await post(http, daemon, "double") == 200
    async with asyncio.timeout(5):
        await daemon.server.retire()
        assert daemon.server.statistics().listeners["data"].connections == 1
        assert await daemon.stop() == 0
