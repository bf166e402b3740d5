"""Threads are known before a config is checked, and safe wherever tuning goes."""

from __future__ import annotations

from typing import Any

import pytest

from sedp.config.daemon_settings import DaemonSettings
from sedp.config.pipeline_settings import StageSettings
from sedp.config.threads import Outline, outline, plan


def tree(*stages: dict[str, Any], tuning: Any = None, **daemon: Any) -> dict[str, Any]:
    named = {str(number): {"kind": "k", **stage} for number, stage in enumerate(stages)}
    return {"daemon": daemon, "pipelines": {"p": {"stages": named, "tuning": tuning}}}


def runs(*stages: dict[str, Any], tuning: Any = None) -> tuple[int | None, ...]:
    told = outline(tree(*stages, tuning=tuning))
    assert told is not None
    return told.runs


def test_what_is_not_written_counts_as_when_it_is_checked() -> None:
    stage, daemon = StageSettings(kind="k"), DaemonSettings()
    expected = Outline(daemon.workers, daemon.threads, (stage.concurrency,))
    assert outline({"pipelines": {"p": {"stages": {"s": {"kind": "k"}}}}}) == expected
    assert stage.executor != "inline"


def test_stages_in_the_event_loop_take_turns() -> None:
    inline = {"executor": "inline", "concurrency": 4}
    assert runs(inline, inline, {"concurrency": 3}) == (3, 1)


def test_tuned_stages_count_with_all_they_may_come_to() -> None:
    narrow = {"concurrency": 2, "bounds": {"concurrency": [1, 6]}}
    stages = {"concurrency": 2}, narrow, {"executor": "inline"}
    assert runs(*stages, tuning={}) == (None, 6, None)
    assert runs(*stages, tuning={"enabled": False}) == (2, 2, 1)
    assert runs({"concurrency": 9, "bounds": {"concurrency": [1, 6]}}, tuning={}) == (9,)


@pytest.mark.parametrize(
    "faulty",
    [
        None,
        [],
        {},
        {"pipelines": {"p": {"stages": {"s": 3}}}},
        tree({"concurrency": 0}),
        tree({"concurrency": "many"}),
        tree({"bounds": {"concurrency": [1]}}),
        tree({}, threads=0),
        tree({}, workers="all"),
    ],
)
def test_faults_are_left_for_the_check(faulty: Any) -> None:
    assert outline(faulty) is None


@pytest.mark.parametrize("cores", [1, 2, 3, 16, 48])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_runs_never_have_more_threads_than_cores_wherever_tuning_moves(
    cores: int, workers: int
) -> None:
    own = max(1, cores // workers)
    for counted in [(None,), (6, 1), (None, 2)]:
        in_run = plan(counted, cores, workers).onnx_intra_op
        most = sum(8 * own if count is None else count for count in counted)
        assert in_run * min(most, own) <= own


def test_a_stage_that_is_not_tuned_has_the_cores_to_itself() -> None:
    assert plan([1], 8, 1).onnx_intra_op == 7
    assert plan([None], 8, 1).onnx_intra_op == 1
