"""Plans in a config are those that were meant."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bench.served import CONFIG, without_target
from bench.tuning_plans import ROWS_MAX, WRONG, set_plans
from sedp.config.loading import load

PIPELINE = "promo-rank"


@pytest.mark.parametrize("name", WRONG)
def test_every_wrong_plan_is_one_that_a_config_may_have(name: str, tmp_path: Path) -> None:
    document = yaml.safe_load(CONFIG.read_text())
    document["pipelines"][PIPELINE] |= {"rows_max": ROWS_MAX, "slo": {"p99": "30ms"}}
    stages = document["pipelines"][PIPELINE]["stages"]
    set_plans(document, PIPELINE, [WRONG[name]] * len(stages))
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    [pipeline] = load(path, {"DATA_DIR": str(tmp_path)}).pipelines
    assert [bound.use.plan for bound in pipeline.stages] == [WRONG[name]] * len(stages)


def test_without_a_target_nothing_else_is_changed() -> None:
    document = yaml.safe_load(CONFIG.read_text())
    pipeline = document["pipelines"][PIPELINE]
    before = dict(pipeline)
    pipeline |= {"slo": {"p99": "30ms"}, "tuning": {"enabled": True}}
    assert without_target(document)["pipelines"][PIPELINE] == before
    assert "slo" in pipeline, "the document itself stays"
