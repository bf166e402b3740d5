"""The house rules that a machine can check: sizes, words, links, and what the README names."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sedp.cli.main import VERBS

ROOT = Path(__file__).parent.parent
CODE = ["sedp", "stages", "storage", "simulator", "bench"]
FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 60


def python_files(folders: list[str]) -> list[Path]:
    """Every file once: the links in sedp/ lead to folders that are listed themselves."""
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return [path for path in found if path.resolve() == path]


def test_every_folder_has_code() -> None:
    assert all(python_files([folder]) for folder in [*CODE, "tests"])


@pytest.mark.parametrize("path", python_files([*CODE, "tests"]), ids=lambda p: p.name)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= FILE_LINES_MAX, "find the second idea, give it its own file"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", python_files(CODE), ids=lambda p: p.name)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", python_files(CODE), ids=lambda p: p.name)
def test_nothing_is_left_for_later(path: Path) -> None:
    assert not re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", path.read_text())


def test_links_make_the_folders_one_package() -> None:
    for name in ["stages", "storage", "simulator"]:
        link = ROOT / "sedp" / name
        assert link.is_symlink()
        assert link.readlink() == Path("..") / name


def test_every_command_the_readme_names_exists() -> None:
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    blocks = "\n".join(re.findall(r"```(?:sh|bash|console)\n(.*?)```", readme, re.DOTALL))
    assert set(re.findall(r"^\$? ?make ([a-z-]+)", blocks, re.MULTILINE)) <= targets
    assert set(re.findall(r"\bsedp ([a-z]+)", blocks)) <= VERBS.keys()


def test_readme_configs_and_documents_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / target).exists(), target


def test_help_loads_nothing_heavy() -> None:
    heavy = ["numpy", "numba", "aiohttp", "onnxruntime", "pyarrow", "rocksdict"]
    probe = (
        "import sys\nfrom click.testing import CliRunner\nfrom sedp.cli.main import group\n"
        "assert CliRunner().invoke(group, ['--help']).exit_code == 0\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True)
    assert result.stdout.decode().strip() == "[]"
