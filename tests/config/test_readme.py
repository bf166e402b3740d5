"""The README of the configs says what the code says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sedp.config.decoding import decode
from sedp.config.document import Faults, read_document
from sedp.config.loading import load
from sedp.config.pipeline_settings import BatchSettings, PipelineSettings, StageSettings
from sedp.config.settings import DaemonSettings, FileSettings, StoreSettings

README = Path(__file__).parents[2] / "configs" / "README.md"


@pytest.fixture
def example(tmp_path: Path) -> Path:
    (block,) = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)
    file = tmp_path / "example.yaml"
    file.write_text(block)
    return file


def test_whole_file_in_the_readme_is_a_good_config(example: Path) -> None:
    assert [pipeline.name for pipeline in load(example, {}).pipelines] == ["my-pipeline"]


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
