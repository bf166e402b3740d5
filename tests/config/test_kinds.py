from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from sedp.config import kinds
from sedp.config.kinds import StageKinds, installed_kinds
from sedp.errors import ConfigError
from sedp.stages.top_k import TopK


def install(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    points = [EntryPoint("mine", value, kinds.GROUP) for value in values]
    monkeypatch.setattr(kinds, "entry_points", lambda group: points)


def test_built_in_kinds_come_through_entry_points() -> None:
    assert {"feature_fetch", "embedding_lookup", "dense_scoring", "top_k"} <= set(installed_kinds())
    assert StageKinds(Path()).find("top_k") is TopK


def test_kind_of_another_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "sedp.stages.top_k:TopK")
    assert StageKinds(Path()).find("mine") is TopK


def test_kind_installed_twice_alike_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """An editable install beside its built one lists each entry point twice."""
    install(monkeypatch, "sedp.stages.top_k:TopK", "sedp.stages.top_k:TopK")
    assert StageKinds(Path()).find("mine") is TopK


def test_kind_installed_twice_differently_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "a:A", "b:B")
    with pytest.raises(ConfigError, match="installed twice, as a:A and as b:B; uninstall one"):
        StageKinds(Path()).find("mine")


def test_class_beside_the_config_is_found(folder: Path) -> None:
    assert StageKinds(folder).find("ranking_stages:Score").__name__ == "Score"


def test_folder_of_the_config_never_hides_an_installed_module(folder: Path) -> None:
    (folder / "json.py").write_text("raise RuntimeError('the wrong json')\n")
    StageKinds(folder).find("ranking_stages:Score")
    StageKinds(folder).find("ranking_stages:Score")
    assert sys.path.count(str(folder)) == 1
    assert sys.path[-1] == str(folder)


def test_syntax_error_is_shown_with_its_line(folder: Path) -> None:
    (folder / "typo_module.py").write_text("x = 1\nclass :\n")
    with pytest.raises(ValueError, match=r"SyntaxError: .*\(typo_module.py:2\); mend it there"):
        StageKinds(folder).find("typo_module:Score")


def test_missing_submodule_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"'ranking_stages.deep' is neither installed nor in"):
        StageKinds(folder).find("ranking_stages.deep:Score")
