from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from sedp.config.loading import load
from sedp.config.management import UNMANAGED
from sedp.config.manager_settings import AdmissionName, BreakerSettings, PrioritySettings
from sedp.engine.graph import StageCare
from sedp.manager.admission.registry import ADMISSIONS
from sedp.pipeline import Pipeline, StageUse
from tests.config.good import GOOD
from tests.config.load_faults import SLO, TUNED, add, add_to_score

Write = Callable[[str], Path]


def use_of_score(pipeline: Pipeline) -> StageUse:
    return next(stage.use for stage in pipeline.stages if stage.name == "score")


def test_pipeline_without_a_target_is_left_alone(write: Write) -> None:
    config = load(write(GOOD), {})
    assert config.management == {"rank": UNMANAGED}
    [pipeline] = config.pipelines
    assert (pipeline.target_ns, pipeline.levels, pipeline.level_default) == (0, 1, 1)
    assert use_of_score(pipeline).care == StageCare()
    assert use_of_score(pipeline).fallback == {}


def test_target_levels_and_user_are_compiled(write: Write) -> None:
    text = add(f"{SLO}    priorities: {{levels: 3, default: 2}}\n    user: user\n")
    config = load(write(text), {})
    [pipeline] = config.pipelines
    assert (pipeline.target_ns, pipeline.levels, pipeline.level_default) == (20_000_000, 3, 2)
    assert config.management["rank"].user == "user"
    assert config.management["rank"].tuning is None


def test_controllers_that_can_be_named_are_those_there_are() -> None:
    assert set(get_args(AdmissionName)) == set(ADMISSIONS)


@pytest.mark.parametrize("name", get_args(AdmissionName))
def test_every_controller_can_be_named(name: str, write: Write) -> None:
    config = load(write(add(f"{SLO}    admission: {name}\n")), {})
    assert config.management["rank"].admission == name


def test_with_a_target_the_predicted_wait_decides_unless_another_is_named(write: Write) -> None:
    assert load(write(add(SLO)), {}).management["rank"].admission == "predicted_wait"
    assert load(write(GOOD), {}).management["rank"].admission == "counters"


def test_tenants_are_isolated_only_if_asked_for(write: Write) -> None:
    text = add("    slo: {p99: 20ms, isolate_tenants: true}\n")
    assert load(write(text), {}).management["rank"].isolates_tenants
    assert not load(write(add(SLO)), {}).management["rank"].isolates_tenants


def test_care_of_a_stage_is_compiled(write: Write) -> None:
    text = add_to_score(
        "        timeout: 5ms\n        fallback: {score: 1}\n        skip_above: 0.8\n"
        "        hedge: 3ms\n        breaker: {share: 0.25, pause: 2s}\n",
        SLO,
    )
    use = use_of_score(load(write(text), {}).pipelines[0])
    assert use.care == StageCare(
        timeout_ns=5_000_000,
        has_fallback=True,
        skip_above=800,
        hedge_ns=3_000_000,
        breaker_share=250,
        breaker_pause_ns=2_000_000_000,
    )
    assert use.fallback == {"score": 1}


def test_empty_fallback_is_one(write: Write) -> None:
    use = use_of_score(load(write(add_to_score("        fallback: {}\n")), {}).pipelines[0])
    assert use.care.has_fallback
    assert use.fallback == {}


def test_bounds_that_are_set_are_compiled_and_no_others(write: Write) -> None:
    score = "        bounds: {concurrency: [1, 4], batch_wait: [0ms, 1ms]}\n"
    tuning = load(write(add_to_score(score, TUNED)), {}).management["rank"].tuning
    assert tuning is not None
    assert tuning.every_ns == 1_000_000_000
    assert tuning.plan_path is None
    assert tuning.writes_plan
    assert tuning.limits == {
        "score": {"concurrency": (1, 4), "batch_wait_ns": (0, 1_000_000)},
        "top": {},
    }


def test_executors_may_be_moved_only_where_bounds_name_them(write: Write) -> None:
    score = "        executor: thread\n        bounds: {executors: [inline, thread]}\n"
    tuning = load(write(add_to_score(score, TUNED)), {}).management["rank"].tuning
    assert tuning is not None
    assert tuning.executors == {"score": ("inline", "thread")}
    assert tuning.limits == {"score": {}, "top": {}}


def test_plan_file_is_looked_for_beside_the_config(write: Write) -> None:
    file = write(add(f"{SLO}    tuning: {{plan: plans/rank.json}}\n"))
    tuning = load(file, {}).management["rank"].tuning
    assert tuning is not None
    assert tuning.plan_path == file.parent / "plans" / "rank.json"


def test_tuning_can_be_turned_off_and_its_bounds_stay(write: Write) -> None:
    text = add_to_score(
        "        bounds: {concurrency: [1, 4]}\n", f"{SLO}    tuning: {{enabled: false}}\n"
    )
    assert load(write(text), {}).management["rank"].tuning is None


def test_defaults_are_those_of_the_engine_and_of_a_pipeline() -> None:
    assert BreakerSettings().pause_ns == StageCare().breaker_pause_ns
    pipeline = Pipeline("x", {}, {}, {}, ())
    assert PrioritySettings().levels == pipeline.levels
    assert PrioritySettings().default == pipeline.level_default
