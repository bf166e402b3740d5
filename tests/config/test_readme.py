"""The READMEs say what the code says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sedp.cli.store import command
from sedp.config.daemon_settings import DaemonSettings
from sedp.config.decoding import decode
from sedp.config.document import Faults, read_document
from sedp.config.loading import load
from sedp.config.manager_settings import (
    BoundsSettings,
    BreakerSettings,
    PrioritySettings,
    SloSettings,
    TuningSettings,
)
from sedp.config.pipeline_settings import BatchSettings, PipelineSettings, StageSettings
from sedp.config.security_settings import AuthSettings, TenantSettings, TlsSettings
from sedp.config.settings import FileSettings, StoreSettings
from sedp.storage.store import ParameterStore

ROOT = Path(__file__).parents[2]
README = ROOT / "configs" / "README.md"


@pytest.fixture
def example(tmp_path: Path) -> Path:
    block = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)[0]
    file = tmp_path / "example.yaml"
    file.write_text(block)
    return file


RANKER = """
from sedp.columns import ColumnSpec, Level
from sedp.stage import Stage
class Ranker(Stage):
    requires = {"user_id": None, "item_id": None}
    def provides(self, inputs):
        return {"fresh": ColumnSpec("FP32", Level.ITEM)}
    def process(self, batch):
        return {"fresh": batch["item_id"].astype("f4")}
"""


def test_example_of_a_query_cache_is_good(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)
    [example] = [block for block in blocks if "kind: query_cache\n" in block]
    (tmp_path / "ranker.py").write_text(RANKER)
    (tmp_path / "example.yaml").write_text(example)
    [pipeline] = load(tmp_path / "example.yaml", {}).pipelines
    assert [bound.name for bound in pipeline.stages] == ["cached", "rank", "scores"]


def test_online_updates_work_by_copy_and_paste(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    [example] = [block for block in blocks if "store.update(" in block]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)
    assert "epoch=1" in capsys.readouterr().out
    assert (names["found"] == 1).all()
    assert not names["missing"].any()
    with ParameterStore.open(names["path"], read_only=True) as store:
        assert store.table("items").spec.version == 1


def test_store_commands_of_the_readme_are_those_there_are() -> None:
    shown = set(re.findall(r"^sedp store (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert shown | {"restore"} == set(command.commands)


def test_whole_file_in_the_readme_is_a_good_config(example: Path) -> None:
    assert [pipeline.name for pipeline in load(example, {}).pipelines] == ["my-pipeline"]


def test_keys_of_sections_that_are_left_out_are_explained() -> None:
    text = README.read_text()
    for prefix, section in (
        ("tls", TlsSettings),
        ("auth", AuthSettings),
        ("tenants.NAME", TenantSettings),
        ("slo", SloSettings),
        ("priorities", PrioritySettings),
        ("breaker", BreakerSettings),
        ("tuning", TuningSettings),
        ("bounds", BoundsSettings),
    ):
        for field in msgspec.structs.fields(section):
            assert f"`{prefix}.{field.encode_name}`" in text


def test_whole_file_shows_every_key_with_its_default(example: Path) -> None:
    document = read_document(example, {})
    settings = decode(document.tree, FileSettings, (), Faults(document))
    assert settings is not None
    pipeline = settings.pipelines["my-pipeline"]
    stage = pipeline.stages["top"]
    tree: Any = document.tree
    shown: list[tuple[Any, Any, Any]] = [
        (DaemonSettings, settings.daemon, tree["daemon"]),
        (StoreSettings, settings.store, tree["store"]),
        (PipelineSettings, pipeline, tree["pipelines"]["my-pipeline"]),
        (StageSettings, stage, tree["pipelines"]["my-pipeline"]["stages"]["top"]),
        (BatchSettings, stage.batch, tree["pipelines"]["my-pipeline"]["stages"]["top"]["batch"]),
    ]
    for section, decoded, written in shown:
        for field in msgspec.structs.fields(section):
            assert field.encode_name in written
            if field.default is not msgspec.NODEFAULT:
                assert getattr(decoded, field.name) == field.default, field.name
