"""The whole preparation, on the small grocer's wheel."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from sedp.cli.demo import command
from sedp.demo import download
from sedp.demo.download import sha256_of
from sedp.demo.files import MODEL_FILE, ONNX_FILE, RECORDING_FILE, WHEEL_FILE
from sedp.demo.prepare import STEPS, locked, recipe_files, run_steps
from sedp.errors import SedpError
from sedp.storage.store import ParameterStore
from tests.demo.grocer import write_wheel

DONE = "done before"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with the small grocer's wheel in place of the real one."""
    wheel = write_wheel(tmp_path / "data" / WHEEL_FILE)
    monkeypatch.setattr(download, "SHA256", sha256_of(wheel))
    return tmp_path / "data"


def steps_run(folder: Path) -> list[str]:
    """Run what is missing; the names of the steps that ran."""
    told: dict[str, str] = {}
    run_steps(folder, lambda step, share, note: told.update({step: note}))
    assert list(told) == [step.name for step in STEPS]
    return [step for step, note in told.items() if note != DONE]


def test_everything_is_made_once(folder: Path) -> None:
    assert steps_run(folder) == ["fetch", "cut", "train", "export", "publish", "record", "widen"]
    assert all((folder / path).exists() for step in STEPS for path in step.outputs)
    assert not list(folder.rglob("incoming*"))
    assert steps_run(folder) == []


def test_only_what_is_missing_is_made_again(folder: Path) -> None:
    steps_run(folder)
    before = {path: sha256_of(folder / path) for path in (MODEL_FILE, ONNX_FILE, RECORDING_FILE)}
    (folder / ONNX_FILE).unlink()
    assert steps_run(folder) == ["export"]
    (folder / MODEL_FILE).write_bytes(b"damaged")
    assert steps_run(folder) == ["train"]  # the same model again, so what hangs on it stands
    assert before == {path: sha256_of(folder / path) for path in before}


def test_an_interrupted_run_goes_on_where_it_stopped(folder: Path) -> None:
    def interrupt(step: str, share: float, note: str) -> None:
        if step == "publish" and note == "fm":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_steps(folder, interrupt)
    assert steps_run(folder) == ["publish", "record", "widen"]
    with ParameterStore.open(folder / "store", read_only=True) as store:
        assert len(store.tables()) == 9


def test_two_at_once_are_refused(folder: Path) -> None:
    with (
        locked(folder / "prepare.lock"),
        pytest.raises(SedpError, match=r"another preparation of .* is running; wait"),
    ):
        run_steps(folder, lambda step, share, note: None)


def test_a_folder_that_cannot_be_made_is_an_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SedpError, match=f"data folder {tmp_path}/file/data: "):
        run_steps(tmp_path / "file" / "data", lambda step, share, note: None)


def test_the_recipe_knows_how_keys_are_made() -> None:
    """Tables keyed in an old way would be found by nobody, and nothing would say so."""
    names = {path.name for path in recipe_files()}
    assert {"keys.py", "slots.py", "training_kernel.py", "cut_net.py"} <= names


def test_finding_all_done_loads_nothing_heavy(folder: Path) -> None:
    steps_run(folder)
    probe = (
        "import sys\nfrom click.testing import CliRunner\nfrom sedp.cli.demo import command\n"
        f"result = CliRunner().invoke(command, ['prepare', '--data-dir', {str(folder)!r}])\n"
        "assert 'is ready' in result.stdout, result\n"
        "print([name for name in ('numpy', 'numba', 'pyarrow', 'onnx', 'rich')"
        " if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, check=True)
    assert result.stdout.decode().strip() == "[]"


def test_the_command_reports_the_quality_it_reached(folder: Path) -> None:
    result = CliRunner().invoke(command, ["prepare", "--data-dir", str(folder)])
    assert result.exit_code == 0
    quality = json.loads((folder / "training.json").read_text())["quality"]["test"]
    assert f"test AUC {quality['auc']:.4f}" in result.stdout
    assert f"on {quality['rows']} impressions" in result.stdout
    for step in STEPS:
        assert step.name in result.stderr
