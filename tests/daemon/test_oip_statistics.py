"""The statistics and configuration that load generators read."""

from __future__ import annotations

import time

import aiohttp
import pytest

from sedp.daemon.oip.statistics import Loaded, model_statistics
from sedp.engine.events import Outcome
from sedp.engine.histogram import Histogram
from sedp.engine.statistics import EngineStatistics, PipelineStatistics, StageStatistics

from .calls import post, url
from .conftest import StartDaemon

PARTS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")


@pytest.mark.parametrize(
    "path", ["/v2/models/double/stats", "/v2/models/double/versions/1/stats", "/v2/models/stats"]
)
async def test_statistics_count_what_was_inferred(
    start_daemon: StartDaemon, http: aiohttp.ClientSession, path: str
) -> None:
    daemon = await start_daemon()
    before_ms = time.time() * 1000
    for _ in range(3):
        await post(http, daemon, "double")
    await post(http, daemon, "fail")
    async with http.get(url(daemon, path)) as response:
        models = {model["name"]: model for model in (await response.json())["model_stats"]}
    double = models["double"]
    assert (double["version"], double["inference_count"], double["execution_count"]) == ("1", 3, 3)
    assert before_ms - 1 <= double["last_inference"] <= time.time() * 1000 + 1
    stats = double["inference_stats"]
    assert stats["success"]["count"] == 3
    assert stats["success"]["ns"] >= stats["compute_infer"]["ns"] > 0
    assert set(PARTS) < set(stats)
    if path == "/v2/models/stats":
        assert len(models) == 5
        assert models["fail"]["inference_stats"]["fail"] == {"count": 1, "ns": 0}
        assert models["textual"]["last_inference"] == 0


async def test_configuration_names_tensors_as_load_generators_do(
    start_daemon: StartDaemon, http: aiohttp.ClientSession
) -> None:
    daemon = await start_daemon()
    async with http.get(url(daemon, "/v2/models/textual/config")) as response:
        config = await response.json()
    assert (config["name"], config["max_batch_size"]) == ("textual", 0)
    assert config["input"] == [
        {"name": "t", "data_type": "TYPE_STRING", "dims": [-1]},
        {"name": "u", "data_type": "TYPE_STRING", "dims": [1]},
    ]
    assert [tensor["name"] for tensor in config["output"]] == ["t2", "u2"]


def test_stages_add_up_and_unloaded_pipelines_are_left_out() -> None:
    spent, none = Histogram(), Histogram().snapshot()
    spent.record(100)
    spent.record(200)
    outcomes = dict.fromkeys(Outcome, 0) | {
        Outcome.ANSWERED: 2,
        Outcome.DEADLINE: 1,
        Outcome.QUEUE_FULL: 4,
    }
    stages = tuple(
        StageStatistics(
            name, "p", 0, 0, 0, batches, 2, 2, 0, spent.snapshot(), spent.snapshot(), none
        )
        for name, batches in (("a", 1), ("b", 2))
    )
    engine = EngineStatistics(
        tuple(PipelineStatistics(name, 0, outcomes, spent.snapshot()) for name in ("p", "gone")),
        stages,
    )
    [told] = model_statistics(engine, {"p": Loaded("1", 77)})["model_stats"]
    assert (told["last_inference"], told["execution_count"]) == (77, 2)
    assert told["inference_stats"]["fail"]["count"] == 5
    assert told["inference_stats"]["queue"] == {"count": 2, "ns": 600}
    assert told["inference_stats"]["compute_infer"] == {"count": 2, "ns": 600}
