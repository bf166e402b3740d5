"""Bytes of requests inside: of the whole process, and of a pipeline that is tuned."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.daemon.daemon import Daemon
from sedp.daemon.in_flight_bytes import InFlightBytes, PipelineBytes
from sedp.errors import RequestError

from .calls import GOOD, infer_url, serving, until
from .door import Client, post
from .test_tuning import ask

HERE = __name__.rpartition(".")[0]
MIB = 1 << 20
CONFIG = f"""\
api_version: sedp/v1
daemon: {{listen: 127.0.0.1:0, admin: 127.0.0.1:0, workers: 1, in_flight_bytes_max: 64MiB}}
pipelines:
  shop:
    inputs: {{x: "FP32[n]"}}
    outputs: {{y: "FP32[n]"}}
    slo: {{p99: 500ms}}
    admission: counters
    tuning: {{every: 10m}}  # a test looks when it likes
    stages:
      scale: {{kind: "{HERE}.user_stages:Double"}}
  plain:
    inputs: {{x: "FP32[n]"}}
    outputs: {{y: "FP32[n]"}}
    stages:
      only: {{kind: "{HERE}.user_stages:Double"}}
"""


def account(whole_max: int = 1000, bytes_max: int = 100) -> tuple[InFlightBytes, PipelineBytes]:
    whole = InFlightBytes(whole_max)
    whole.divide(["p"])
    [part] = whole.parts()
    part.bytes_max = bytes_max
    return whole, part


def test_bytes_of_a_pipeline_count_for_the_process_too() -> None:
    whole, part = account()
    assert whole.of("p") is part
    assert whole.of("other") is whole
    part.take(60)
    assert (whole.held, part.held) == (60, 60)
    part.give_back(60)
    assert (whole.held, part.held) == (0, 0)


def test_bound_of_a_pipeline_is_no_business_of_others() -> None:
    whole, part = account()
    part.take(60)
    with pytest.raises(RequestError, match="requests to pipeline 'p' are in flight") as refused:
        part.take(41)
    assert refused.value.status == 503
    assert 1 <= int(refused.value.headers["Retry-After"]) <= 3
    assert (whole.held, part.held, part.refused) == (60, 60, 1)
    part.take(40)
    whole.of("other").take(800)
    assert whole.held == 900


def test_process_that_is_full_refuses_and_nothing_is_taken() -> None:
    whole, part = account(whole_max=50)
    with pytest.raises(RequestError, match="too many bytes are in flight"):
        part.take(51)
    assert (whole.held, part.held) == (0, 0)


def test_request_that_finds_nobody_inside_is_let_in_whatever_its_size() -> None:
    _, part = account()
    part.take(900)
    part.give_back(900)
    assert part.statistics().largest == 900


def test_size_of_a_refused_request_is_known_for_the_next_bound() -> None:
    _, part = account()
    part.take(1)
    with pytest.raises(RequestError):
        part.take(700)
    assert part.statistics().largest == 700


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 200)), max_size=50))
def test_what_is_held_is_what_was_taken_and_not_given_back(steps: list[tuple[bool, int]]) -> None:
    whole, part = account()
    inside: list[int] = []
    ended: list[int] = []
    refused = 0
    for takes, size in steps:
        if takes:
            try:
                part.take(size)
                inside.append(size)
            except RequestError:
                refused += 1
        elif inside:
            ended.append(inside.pop())
            part.give_back(ended[-1])
        assert part.held == whole.held == sum(inside)
        assert part.held <= part.bytes_max or len(inside) == 1
    told = part.statistics()
    assert (told.requests, told.request_bytes) == (len(ended), sum(ended))
    assert (told.refused, told.held) == (refused, sum(inside))


def test_bytes_times_the_time_they_stay_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = 0
    monkeypatch.setattr("time.monotonic_ns", lambda: now_ns)
    _, part = account()
    part.take(10)
    now_ns = 100
    part.take(30)
    now_ns = 150
    part.give_back(10)
    now_ns = 250
    assert part.statistics().stay_ns == 10 * 150 + 30 * 150


def test_division_goes_on_with_what_is_held() -> None:
    whole, part = account()
    part.take(10)
    whole.divide(["p", "q"])
    assert whole.of("p") is part
    whole.divide([])
    assert whole.of("p") is whole
    part.give_back(10)
    assert whole.held == 0


async def test_bound_is_moved_told_and_kept_at_the_door(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    async with serving(tmp_path, CONFIG) as daemon:
        in_flight = daemon.server.front.in_flight
        part = in_flight.of("shop")
        assert (part.bytes_max, in_flight.of("plain")) == (64 * MIB, in_flight)
        while part.bytes_max > 32 * MIB:
            for _ in range(60):
                async with http.post(infer_url(daemon, "shop"), data=GOOD) as response:
                    assert response.status == 200
            await daemon.server.tuning.look()
        _, told = await ask(http, daemon, "GET", "/admin/moves")
        first = [m for m in told["moves"] if m["knob"] == "in_flight_bytes_max"][-1]
        assert (first["pipeline"], first["stage"]) == ("shop", "")
        assert (first["before"], first["after"]) == (64 * MIB, 32 * MIB)
        assert first["saw"]["request_bytes_max"] == len(GOOD)
        _, status = await ask(http, daemon, "GET", "/status.json")
        shown = {p["name"]: p["in_flight_bytes_max"] for p in status["pipelines"]}
        assert shown == {"shop": part.bytes_max, "plain": None}
        async with http.get(f"http://{daemon.admin_address}/metrics") as response:
            metrics = await response.text()
        [line] = re.findall(
            r"^sedp_pipeline_in_flight_bytes_max{(.*)} (.*)$", metrics, re.MULTILINE
        )
        assert (line[0], float(line[1])) == ('pipeline="shop"', part.bytes_max)
        await _check_door(daemon, part)
    assert in_flight.held == 0


@pytest.mark.parametrize(
    ("kept", "begun"), [(5_000_000, 5_000_000), (1 << 40, 64 << 20), (None, 64 << 20)]
)
async def test_start_begins_with_the_bound_that_was_kept_as_far_as_the_process_has_it(
    kept: int | None, begun: int, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"pipeline": "shop", "stages": {}, "in_flight_bytes_max": kept}))
    text = CONFIG.replace("every: 10m", "every: 10m, plan: plan.json")
    async with serving(tmp_path, text) as daemon:
        [part] = daemon.server.front.in_flight.parts()
        assert part.bytes_max == begun
    assert json.loads(plan.read_text())["in_flight_bytes_max"] == begun


async def connect(daemon: Daemon) -> Client:
    host, port = daemon.data_address.split(":")
    return Client(*await asyncio.open_connection(host, int(port)))


async def _check_door(daemon: Daemon, part: InFlightBytes) -> None:
    """Who is beyond the bound is refused before he is asked for his body; others are not."""
    part.bytes_max = 5000
    path = "/v2/models/shop/infer"
    first = await connect(daemon)
    first.writer.write(post(4000, path))
    await until(lambda: part.held == 4000)
    second = await connect(daemon)
    status, answer = await second.ask(post(1001, path, extra="Expect: 100-continue\r\n"))
    assert status == 503  # and not 100
    assert b"requests to pipeline 'shop'" in answer
    third = await connect(daemon)
    other = post(len(GOOD), "/v2/models/plain/infer") + GOOD
    assert (await third.ask(other))[0] == 200
    for client in (first, second, third):
        await client.close()
    await until(lambda: part.held == 0)
