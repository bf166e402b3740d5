from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sedp.columns import TensorSpec
from sedp.config.addresses import Address
from sedp.config.daemon_settings import DaemonSettings
from sedp.config.loading import load
from sedp.config.settings import MissSettings, TableSettings
from sedp.engine.graph import StagePlan
from sedp.errors import ConfigError
from sedp.units import MIB, MILLISECOND, SECOND
from tests.config.good import GOOD, change

Write = Callable[[str], Path]


def test_config_becomes_settings_and_compiled_pipelines(write: Write) -> None:
    file = write(GOOD)
    config = load(file, {})
    assert config.path == file
    assert config.daemon == DaemonSettings(drain_ns=10 * SECOND)
    assert config.store is not None
    assert config.store.ram == 64 * MIB
    (pipeline,) = config.pipelines
    assert pipeline.name == "rank"
    assert pipeline.inputs["item"] == TensorSpec.parse("INT64[n]")
    assert pipeline.outputs["best"] == TensorSpec.parse("INT32[3]")
    assert pipeline.deadline_ns == 200 * MILLISECOND
    assert pipeline.rows_max == 512
    assert [stage.name for stage in pipeline.stages] == ["score", "top"]
    score, top = (stage.use for stage in pipeline.stages)
    assert score.plan == StagePlan()
    assert top.plan == StagePlan(1, 256, 2 * MILLISECOND, 1024)
    assert score.executor == "auto"
    assert score.stage.params.weight == 2.0


def test_store_settings_say_how_tables_are_served(write: Write) -> None:
    tables = "tables: {user: {misses: {mode: fill, above: 0.5}}, item: {norm_max: 8}}"
    text = change("  ram: 64MiB", f"  mode: write\n  lmdb: 1GiB\n  access_log: true\n  {tables}")
    store = load(write(text), {}).store
    assert store is not None
    assert (store.mode, store.lmdb, store.access_log) == ("write", 1 << 30, True)
    assert store.tables == {
        "user": TableSettings(misses=MissSettings(mode="fill", above=0.5)),
        "item": TableSettings(norm_max=8.0),
    }


def test_variables_come_from_the_given_environment_only(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "9999")
    file = write(change("127.0.0.1:8000", "127.0.0.1:${PORT:-8002}"))
    assert load(file, {}).daemon.listen.port == 8002
    assert load(file, {"PORT": "8003"}).daemon.listen == Address("127.0.0.1", 8003)


def test_number_from_a_variable_is_a_number(write: Write) -> None:
    file = write(change("rows_max: 512", "rows_max: ${ROWS}"))
    assert load(file, {"ROWS": "99"}).pipelines[0].rows_max == 99


def test_wrong_variable_is_refused_where_it_is_used(write: Write) -> None:
    file = write(change("rows_max: 512", "rows_max: ${ROWS}"))
    with pytest.raises(ConfigError, match=r":17:15: pipelines.rank.rows_max: 'many' does not fit"):
        load(file, {"ROWS": "many"})


@pytest.mark.parametrize(("path", "below"), [("../data", "../data"), ("data", "data")])
def test_relative_store_path_starts_at_the_file(path: str, below: str, write: Write) -> None:
    file = write(change("../store", path))
    config = load(file, {})
    assert config.store is not None
    assert Path(config.store.path) == (file.parent / below).resolve()


def test_absolute_store_path_is_kept(write: Write) -> None:
    config = load(write(change("../store", "/srv/sedp")), {})
    assert config.store is not None
    assert config.store.path == "/srv/sedp"


def test_relative_config_path_is_made_absolute_but_shown_as_given(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(GOOD)
    monkeypatch.chdir(file.parent)
    assert load(Path(file.name), {}).path == file
    write(change("10s", "10"))
    with pytest.raises(ConfigError, match=r"^config.yaml:5:10: daemon.drain"):
        load(Path(file.name), {})


def test_sections_may_be_left_out(write: Write) -> None:
    text = GOOD[: GOOD.index("daemon:")] + GOOD[GOOD.index("pipelines:") :]
    config = load(write(text), {})
    assert config.store is None
    assert config.daemon == DaemonSettings()


def test_both_ports_may_be_left_to_the_system(write: Write) -> None:
    text = GOOD.replace("8000", "0").replace("8001", "0")
    assert load(write(text), {}).daemon.admin.port == 0


def test_anchors_share_settings_between_stages(write: Write) -> None:
    text = change("2.0", "2.0\n        batch: &small {rows_max: 8}")
    config = load(write(text.replace("{rows_max: 256, wait: 2ms}", "*small")), {})
    assert [stage.use.plan.batch_rows_max for stage in config.pipelines[0].stages] == [8, 8]


def test_faults_of_several_pipelines_are_reported_together(write: Write) -> None:
    pipelines = GOOD[GOOD.index("  rank:") :]
    text = GOOD.replace("INT32[3]", "INT32[4]") + pipelines.replace("rank:", "again:").replace(
        "item: INT64[n]", "item: INT32[n]"
    )
    with pytest.raises(ConfigError) as refused:
        load(write(text), {})
    first, second = str(refused.value).splitlines()
    assert "pipelines.rank.outputs.best" in first
    assert "pipelines.again.stages.score" in second
