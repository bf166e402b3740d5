"""A reload that concerns no stage leaves stages and engine as they are; any other opens anew."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sedp.config.loading import Config, load
from sedp.daemon.reload import compare
from sedp.daemon.served import Served

from .calls import until
from .config_file import HERE, MODULE, keep_asking
from .config_file import Operator as Caller
from .served_stages import Scale
from .test_reload import spelled

PIPELINE = f"""\
api_version: sedp/v1
daemon: {{{HERE}}}
pipelines:
  one:
    inputs: {{x: "FP32[n]"}}
    outputs: {{y: "FP32[n]"}}
    deadline: 30s
    rows_max: 64
    in_flight_max: 100
    slo: {{p99: 10s}}
    priorities: {{levels: 3, default: 2}}
    stages:
      s:
        kind: "{MODULE}:Scale"
        params: {{factor: 2.0}}
        concurrency: 2
        batch: {{rows_max: 128, wait: 0ms}}
        queue_rows_max: 512
"""
LIVE = {
    "deadline": ("deadline: 30s", "deadline: 20s"),
    "rows": ("rows_max: 64", "rows_max: 32"),
    "in flight": ("in_flight_max: 100", "in_flight_max: 7"),
    "slo": ("p99: 10s", "p99: 5s"),
    "isolation": ("p99: 10s", "p99: 10s, isolate_tenants: true"),
    "priorities": ("levels: 3", "levels: 4"),
    "admission": ("deadline: 30s", "deadline: 30s\n    admission: seda"),
    "concurrency": ("concurrency: 2", "concurrency: 3"),
    "batch": ("{rows_max: 128, wait: 0ms}", "{rows_max: 100, wait: 1ms}"),
    "queue": ("queue_rows_max: 512", "queue_rows_max: 300"),
    "executor": ("concurrency: 2", "concurrency: 2\n        executor: inline"),
}
ANEW = {
    "params": ("factor: 2.0", "factor: 3.0"),
    "timeout": ("concurrency: 2", "concurrency: 2\n        timeout: 1s"),
    "no controller": ("deadline: 30s", "deadline: 30s\n    admission: counters"),
    "tuning": ("deadline: 30s", "deadline: 30s\n    tuning: {every: 10m}"),
}


Start = Callable[["ReloadedFile"], Awaitable[Caller]]


class ReloadedFile:
    """A config file that differs from the last one by one place."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "c.yaml"
        self.path.write_text(PIPELINE)

    def change(self, *pairs: tuple[str, str]) -> None:
        text = PIPELINE
        for before, after in pairs:
            assert before in text
            text = text.replace(before, after, 1)
        self.path.write_text(text)

    def load(self) -> Config:
        return load(self.path, {})


@pytest.fixture
def file(tmp_path: Path) -> ReloadedFile:
    return ReloadedFile(tmp_path)


def served(caller: Caller) -> Served:
    return caller.daemon.server.repository.find("one")


async def reload(caller: Caller) -> list[str]:
    status, answer = await caller.post("/admin/reload")
    assert status == 200, answer
    changes: list[str] = answer["changes"]
    return changes


@pytest.mark.parametrize("change", LIVE.values(), ids=LIVE)
async def test_what_no_stage_hears_of_changes_with_stages_and_engine_as_they_are(
    start_from: Start, file: ReloadedFile, change: tuple[str, str]
) -> None:
    caller = await start_from(file)
    before, [stage] = served(caller), Scale.open_now
    file.change(change)
    assert await reload(caller)
    after = served(caller)
    assert Scale.open_now == [stage]
    assert after.engine is before.engine
    wanted = file.load()
    [pipeline], [got] = wanted.pipelines, after.engine.statistics().pipelines
    [bound], [running] = pipeline.stages, after.engine.statistics().stages
    assert running.plan == bound.use.plan
    assert got.in_flight_max == pipeline.in_flight_max
    assert after.management == wanted.management["one"]
    for name in ("deadline_ns", "rows_max", "in_flight_max", "target_ns", "levels"):
        assert getattr(after.pipeline, name) == getattr(pipeline, name), name
    assert after.engine.pipelines["one"] is after.pipeline
    assert await caller.infer("one") == 2
    assert caller.daemon.server.config.settings == wanted.settings
    assert await caller.answered("one") == 1


@pytest.mark.parametrize("change", ANEW.values(), ids=ANEW)
async def test_what_open_stages_cannot_follow_opens_them_anew(
    start_from: Start, file: ReloadedFile, change: tuple[str, str]
) -> None:
    caller = await start_from(file)
    before, [stage] = served(caller), Scale.open_now
    file.change(change)
    await reload(caller)
    assert served(caller).engine is not before.engine
    [fresh] = Scale.open_now
    assert fresh is not stage
    file.change()
    await reload(caller)
    assert Scale.open_now != [fresh]
    assert await caller.infer("one") == 2


def test_a_change_beside_a_live_one_opens_anew(file: ReloadedFile) -> None:
    old = file.load()
    file.change(LIVE["deadline"], ANEW["params"])
    found = compare(old, file.load())
    assert (found.pipelines, found.live) == ({"one"}, frozenset())
    file.change(LIVE["deadline"])
    found = compare(old, file.load())
    assert (found.pipelines, found.live) == (frozenset(), {"one"})


@pytest.mark.parametrize(
    "key",
    [
        *("stages.s.kind", "stages.s.params.batch", "stages.batch.kind", "stages.s.after"),
        *("stages.s.batched", "inputs.deadline", "outputs.slo", "deadlines", "stages.slo.hedge"),
    ],
)
def test_keys_that_only_look_like_live_ones_are_not(key: str) -> None:
    full = f"pipelines__p__{key.replace('.', '__')}"
    found = compare(spelled("p", **{full: "1"}), spelled("p", **{full: "2"}))
    assert (found.pipelines, found.live) == ({"p"}, frozenset())


async def test_limits_are_those_of_the_new_config_at_once(
    start_from: Start, file: ReloadedFile
) -> None:
    caller = await start_from(file)
    assert await caller.infer("one", 40) == 2
    file.change(LIVE["rows"])
    await reload(caller)
    assert re.search(r"\b32\b", str(await caller.infer("one", 40)))
    assert await caller.infer("one", 32) == 2


async def test_a_target_that_is_lowered_is_kept_at_the_door_from_then_on(
    start_from: Start, file: ReloadedFile
) -> None:
    caller = await start_from(file)
    post = served(caller).post
    assert post is not None
    before = post.wait_limit_ns(0, 0)
    file.change(LIVE["slo"])
    await reload(caller)
    assert served(caller).post is post
    assert post.wait_limit_ns(0, 0) < before


async def test_tenants_are_isolated_from_the_reload_on_that_asks_for_it(
    start_from: Start, file: ReloadedFile
) -> None:
    caller = await start_from(file)
    post = served(caller).post
    assert post is not None
    assert not post.refusal.__self__._isolates
    file.change(LIVE["isolation"])
    await reload(caller)
    assert post.refusal.__self__._isolates


async def test_requests_inside_end_as_they_would_and_nobody_sees_a_gap(
    start_from: Start, file: ReloadedFile, tmp_path: Path
) -> None:
    gated = ("factor: 2.0", "at: gate")
    file.change(gated)
    caller = await start_from(file)
    [stage] = Scale.open_now
    inside = [asyncio.create_task(caller.infer("one")) for _ in range(4)]
    await until((tmp_path / "gate.begun").exists)
    for change in LIVE.values():
        file.change(gated, change)
        await reload(caller)  # at once: nothing has to end before
        assert not any(task.done() for task in inside)
    (tmp_path / "gate.go").touch()
    assert await asyncio.gather(*inside) == [2.0] * 4
    assert Scale.open_now == [stage]


async def test_no_request_fails_while_knobs_are_reloaded_under_load(
    start_from: Start, file: ReloadedFile
) -> None:
    caller = await start_from(file)
    [stage] = Scale.open_now
    done = asyncio.Event()
    asking = [asyncio.create_task(keep_asking(caller, "one", done)) for _ in range(4)]
    for change in [*LIVE.values()] * 2:
        file.change(change)
        await reload(caller)
    done.set()
    answers = [answer for task in asking for answer in await task]
    assert len(answers) > 20
    assert set(answers) == {2.0}
    assert Scale.open_now == [stage]
    assert await caller.answered("one") == len(answers)


async def test_an_unloaded_pipeline_is_loaded_with_the_knobs_of_the_new_config(
    start_from: Start, file: ReloadedFile
) -> None:
    caller = await start_from(file)
    await caller.unload("one")
    file.change(LIVE["queue"])
    await reload(caller)
    assert Scale.open_now == []
    await caller.load("one")
    [stage] = served(caller).engine.statistics().stages
    assert stage.plan.queue_rows_max == 300


async def test_tenants_keep_their_numbers(start_from: Start, file: ReloadedFile) -> None:
    caller = await start_from(file)
    tenants = served(caller).tenants
    tenants["acme"] = 1
    file.change(LIVE["deadline"])
    await reload(caller)
    assert served(caller).tenants is tenants


async def test_the_test_sees_stages_that_are_opened_needlessly(
    start_from: Start, file: ReloadedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted fault."""
    monkeypatch.setattr("sedp.daemon.repository.can_follow", lambda place, opener: False)
    caller = await start_from(file)
    [stage] = Scale.open_now
    file.change(LIVE["deadline"])
    await reload(caller)
    assert Scale.open_now != [stage]
