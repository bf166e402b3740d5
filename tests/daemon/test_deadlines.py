"""How long a request may take: header, parameter and pipeline, the least of them."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from sedp.daemon.deadlines import TIMEOUT_HEADER, least_timeout, read_timeout
from sedp.engine.events import Outcome
from sedp.errors import RequestError

from . import wire
from .calls import X, infer_url, outcomes
from .conftest import StartDaemon


@pytest.mark.parametrize(
    ("text", "ns"),
    [(None, None), ("1", 10**9), ("0.25", 25 * 10**7), (" 2.0 ", 2 * 10**9), ("0.000000001", 1)],
)
def test_header_is_seconds(text: str | None, ns: int | None) -> None:
    assert read_timeout(text) == ns


@pytest.mark.parametrize(
    "text", ["", "0", "0.0", "-1", "+1", "1e3", "nan", "inf", "1,5", ".5", "1.", "x", "9" * 10, "٣"]
)
def test_what_is_no_number_of_seconds_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match=f"{TIMEOUT_HEADER}: .*write 0.25"):
        read_timeout(text)


def test_least_timeout_wins() -> None:
    assert least_timeout(5, None) == 5
    assert least_timeout(5, 3) == 3
    assert least_timeout(5, 9) == 5


@pytest.mark.parametrize(
    ("seconds", "timeout_us"), [("0.05", None), ("0.05", 60_000_000), ("60", 50_000)]
)
async def test_deadline_of_header_or_parameter_ends_the_event(
    start_daemon: StartDaemon, http: aiohttp.ClientSession, seconds: str, timeout_us: int | None
) -> None:
    daemon = await start_daemon()
    parameters = {} if timeout_us is None else {"timeout": timeout_us}
    body, _ = wire.request(X, parameters=parameters)
    headers = {TIMEOUT_HEADER: seconds}
    async with asyncio.timeout(10):
        async with http.post(infer_url(daemon, "gate"), data=body, headers=headers) as response:
            assert response.status == 504
    assert outcomes(daemon, "gate") == {Outcome.DEADLINE: 1}


async def test_bad_header_is_refused(
    start_daemon: StartDaemon, http: aiohttp.ClientSession
) -> None:
    daemon = await start_daemon()
    headers = {TIMEOUT_HEADER: "soon"}
    async with http.post(infer_url(daemon), data=b"{}", headers=headers) as response:
        assert response.status == 400
        assert "'soon' is no number of seconds" in (await response.json())["error"]
