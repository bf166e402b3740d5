"""The example of a user's own stage, used as its user would: from outside, by the command."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sedp.columns import Batch
from sedp.config.loading import load

EXAMPLE = Path(__file__).parents[2] / "configs" / "own-stage"


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The config in a copy of the example, far from the package."""
    copied: Path = shutil.copytree(
        EXAMPLE, tmp_path / "mine", ignore=shutil.ignore_patterns("__pycache__")
    )
    return copied / "pipeline.yaml"


def check(config: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`sedp check` from a folder that is neither the example's nor the package's."""
    command = [sys.executable, "-m", "sedp", "check", str(config), *options]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)


def test_own_stage_is_checked_from_any_folder(example: Path) -> None:
    result = check(example, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    (stage,) = json.loads(result.stdout)["pipelines"][0]["stages"]
    assert stage["stage_class"] == "score_boost:ScoreBoost"
    assert stage["writes"] == [{"name": "boosted_score", "type": "FP32[n]", "source": "boost"}]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "factor: 1.2",
            "fcator: 1.2",
            "22:11: pipelines.boost.stages.boost.params.fcator: unknown",
        ),
        ("factor: 1.2", "factor: -1", "params.factor: -1 does not fit; write a number, above 0"),
        ("1028816", "1017299", "params: items lists an id twice; remove one"),
        (
            "score: FP32[n]\n    outputs",
            "score: FP64[n]\n    outputs",
            "FP32[n], but it is FP64[n]",
        ),
    ],
)
def test_faults_in_the_use_of_an_own_stage_end_with_code_2(
    old: str, new: str, message: str, example: Path
) -> None:
    text = example.read_text()
    assert text.count(old) == 1
    example.write_text(text.replace(old, new))
    result = check(example)
    assert result.returncode == 2
    assert result.stdout == ""
    assert message in result.stderr


def test_own_stage_raises_the_chosen_scores_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", sys.path.copy())
    (bound,) = load(EXAMPLE / "pipeline.yaml", {}).pipelines[0].stages
    item_id = np.array([1017299, 5, 1028816, 5], np.int64)
    score = np.array([0.5, 0.5, 1.0, np.nan], np.float32)
    before = score.copy()
    batch = Batch({"item_id": item_id, "score": score}, np.array([0, 3, 4]))
    boosted = bound.use.stage.process(batch)["boosted_score"]
    factor = np.float32(1.2)
    np.testing.assert_array_equal(boosted, [0.5 * factor, 0.5, factor, np.nan])
    assert boosted.dtype == np.float32
    np.testing.assert_array_equal(score, before)
