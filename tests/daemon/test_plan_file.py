"""What tuning has learned, kept from one start to the next."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.columns import TensorSpec
from sedp.config.management import Tuning
from sedp.config.manager_settings import Executor
from sedp.daemon.plan_file import (
    LearnedPlan,
    LearnedStage,
    begin_with,
    learned_ram,
    read_learned,
    write_learned,
)
from sedp.engine.graph import StagePlan
from sedp.manager.cost_model import Cost
from sedp.pipeline import Pipeline, StageUse, compile_pipeline

from .user_stages import Double

COST = Cost(fixed_ns=1e6, row_ns=2e3, spread=0.1, rows=100.0)


def pipeline(name: str = "p", rows_max: int = 64) -> Pipeline:
    floats = {"x": TensorSpec.parse("FP32[n]")}, {"y": TensorSpec.parse("FP32[n]")}
    return compile_pipeline(name, *floats, {"s": StageUse(Double(None))}, rows_max=rows_max)


def tuning(path: Path | None, **limits: tuple[int, int]) -> Tuning:
    return Tuning(1_000_000_000, path, {"s": limits})


@given(
    st.builds(
        StagePlan,
        st.integers(1, 256),
        st.integers(1, 1 << 20),
        st.integers(0, 10**10),
        st.integers(64, 1 << 24),
    )
)
def test_what_is_written_is_what_a_pipeline_begins_with(plan: StagePlan) -> None:
    learned = LearnedPlan("p", {"s": LearnedStage.of(plan, COST)})
    begun = begin_with(pipeline(), tuning(None), learned)
    assert begun.stages[0].use.plan == plan


def test_file_is_read_again_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "plans" / "p.json"
    learned = LearnedPlan("p", {"s": LearnedStage.of(StagePlan(3, 99, 5, 700), COST)})
    write_learned(path, learned)
    write_learned(path, learned)
    assert read_learned(pipeline(), tuning(path)) == learned
    assert [file.name for file in path.parent.iterdir()] == ["p.json"]
    assert json.loads(path.read_text())["stages"]["s"]["concurrency"] == 3


def test_plan_stays_within_the_limits_and_its_queue_holds_a_request() -> None:
    learned = LearnedPlan("p", {"s": LearnedStage.of(StagePlan(9, 5000, 99, 10), None)})
    limits = tuning(None, concurrency=(1, 4), batch_rows=(1, 2048), batch_wait_ns=(0, 50))
    plan = begin_with(pipeline(), limits, learned).stages[0].use.plan
    assert plan == StagePlan(4, 2048, 50, 64)


@pytest.mark.parametrize(
    ("kept", "allowed", "begun"),
    [
        ("thread", ("inline", "thread"), "thread"),
        ("thread", ("inline", "auto"), "auto"),
        ("thread", (), "auto"),
        (None, ("inline", "thread"), "auto"),
    ],
)
def test_executor_is_begun_with_only_where_it_may_be_moved_to(
    kept: str | None, allowed: tuple[Executor, ...], begun: str
) -> None:
    learned = LearnedPlan("p", {"s": LearnedStage.of(StagePlan(9), None, kept)})
    begins = replace(tuning(None), executors={"s": allowed} if allowed else {})
    use = begin_with(pipeline(), begins, learned).stages[0].use
    assert (use.executor, use.plan) == (begun, StagePlan(9))


def test_files_of_before_executors_were_kept_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    knobs = '{"concurrency": 3, "batch_rows_max": 9, "batch_wait_ns": 0, "queue_rows_max": 99}'
    path.write_text(f'{{"pipeline": "p", "stages": {{"s": {knobs}}}}}')
    learned = read_learned(pipeline(), tuning(path))
    assert learned is not None
    assert learned.stages["s"].executor is None


def test_bytes_are_kept_and_files_without_them_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    learned = LearnedPlan("p", {}, in_flight_bytes_max=3000, ram_bytes=5000)
    write_learned(path, learned)
    assert read_learned(pipeline(), tuning(path)) == learned
    path.write_text('{"pipeline": "p", "stages": {}, "version": 1}')
    old = read_learned(pipeline(), tuning(path))
    assert old == LearnedPlan("p", {})
    assert (learned_ram([None, old, learned]), learned_ram([None, old])) == (5000, 0)


def test_without_tuning_the_config_holds(tmp_path: Path) -> None:
    learned = LearnedPlan("p", {"s": LearnedStage.of(StagePlan(9), None)})
    assert begin_with(pipeline(), None, learned).stages[0].use.plan == StagePlan()
    assert read_learned(pipeline(), None) is None
    assert read_learned(pipeline(), tuning(tmp_path / "none.json")) is None


def test_stages_that_are_not_in_the_file_keep_their_knobs() -> None:
    learned = LearnedPlan("p", {"other": LearnedStage.of(StagePlan(9), None)})
    assert begin_with(pipeline(), tuning(None), learned).stages[0].use.plan == StagePlan()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "remove it, or mend it"),
        (b"\xff", "remove it, or mend it"),
        (b'{"pipeline": "p", "stages": {"s": {"concurrency": 0}}}', "concurrency"),
        (b'{"pipeline": "p", "stages": {}, "version": 2}', "version"),
        (
            b'{"pipeline": "p", "stages": {"s": {"concurrency": 1, "batch_rows_max": 1,'
            b' "batch_wait_ns": 0, "queue_rows_max": 1, "executor": "gpu"}}}',
            "gpu",
        ),
        (b'{"pipeline": "q", "stages": {}}', "about pipeline 'q'"),
        (b'{"pipeline": "p", "stages": {}, "ram_bytes": 0}', "ram_bytes"),
    ],
)
def test_file_that_is_of_no_use_is_told_of_and_not_used(
    content: bytes, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(content)
    assert read_learned(pipeline(), tuning(path)) is None
    [line] = caplog.messages
    assert str(path) in line
    assert words in line


def test_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.json"
    write_learned(path, LearnedPlan("p", {}))

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        write_learned(path, LearnedPlan("q", {}))
    assert json.loads(path.read_text())["pipeline"] == "p"
    assert [file.name for file in tmp_path.iterdir()] == ["p.json"]
