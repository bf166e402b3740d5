"""Settings as flat text: what two configs are compared by."""

from __future__ import annotations

from pathlib import Path

import pytest

from sedp.config.hints import fields_of
from sedp.config.loading import load
from sedp.config.settings import FileSettings

CONFIG = """\
api_version: sedp/v1
daemon: {listen: "127.0.0.1:8100", drain: 500ms, body_bytes_max: 2048KiB}
store: {path: there, tables: {user: {misses: {mode: fill}}}}
pipelines:
  rank:
    inputs: {score: "FP32[n]"}
    outputs: {rank: "INT32[3]"}
    stages:
      best: {kind: top_k, params: {k: 3}, batch: {wait: 2ms}}
"""


@pytest.fixture
def spelled(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "c.yaml").write_text(CONFIG)
    return dict(load(tmp_path / "c.yaml", {}).settings)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("api_version", "sedp/v1"),
        ("daemon.listen", "127.0.0.1:8100"),
        ("daemon.drain", "500ms"),
        ("daemon.body_bytes_max", "2MiB"),
        ("daemon.grpc", "null"),
        ("daemon.workers", "auto"),
        ("store.tables.user.misses.mode", "fill"),
        ("store.tables.user.misses.above", "0.95"),
        ("pipelines.rank.inputs.score", "FP32[n]"),
        ("pipelines.rank.deadline", "1s"),
        ("pipelines.rank.stages.best.params.k", "3"),
        ("pipelines.rank.stages.best.batch.wait", "2ms"),
        ("pipelines.rank.stages.best.after", "[]"),
    ],
)
def test_every_key_is_spelled_as_a_file_would_write_it_defaults_included(
    spelled: dict[str, str], key: str, text: str
) -> None:
    assert spelled[key] == text


def test_writing_a_default_out_changes_nothing(spelled: dict[str, str], tmp_path: Path) -> None:
    same = CONFIG.replace("drain: 500ms", "drain: 0.5s, tensors_max: 64").replace("2048Ki", "2Mi")
    (tmp_path / "same.yaml").write_text(same)
    assert load(tmp_path / "same.yaml", {}).settings == spelled


def test_fields_of_a_section_are_worked_out_once() -> None:
    """Else they are most of what a reload costs, and requests wait for it."""
    assert fields_of(FileSettings) is fields_of(FileSettings)
