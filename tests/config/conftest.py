from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sedp.config.kinds import installed_kinds

PLUGINS = Path(__file__).parent / "plugins"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A config's folder with a user's modules in it; imports from it are undone afterwards."""
    modules = [Path(shutil.copy(plugin, tmp_path)).stem for plugin in PLUGINS.glob("*.py")]
    before = sys.path.copy()
    yield tmp_path
    sys.path[:] = before
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture
def write(folder: Path) -> Callable[[str], Path]:
    """Writes the text of a config and says where."""

    def write_text(text: str) -> Path:
        file = folder / "config.yaml"
        file.write_text(text)
        return file

    return write_text


@pytest.fixture(autouse=True)
def fresh_kinds() -> Iterator[None]:
    """What is installed is asked once a process; tests install things."""
    installed_kinds.cache_clear()
    yield
    installed_kinds.cache_clear()
