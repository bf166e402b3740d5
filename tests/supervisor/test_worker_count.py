"""How many processes serve, with how many threads, by config, command line and machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sedp.cores import usable_cores
from sedp.errors import ConfigError
from sedp.supervisor import processes
from sedp.supervisor.processes import count_workers


@pytest.mark.parametrize(
    ("asked", "is_recorded", "count"),
    [(3, False, 3), ("auto", False, usable_cores()), ("auto", True, 1), (1, True, 1)],
)
def test_workers_are_counted(asked: int | str, is_recorded: bool, count: int) -> None:
    assert count_workers(asked, is_recorded=is_recorded) == count


def test_a_recording_needs_one_process() -> None:
    with pytest.raises(ConfigError, match="not 2; add --workers 1"):
        count_workers(2, is_recorded=True)


def test_threads_follow_the_runs_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_ours", set())
    monkeypatch.setattr(os, "environ", {"MKL_NUM_THREADS": "7"})
    for runs, count in [([1], "5"), ([1, 1], "2"), ([None], "1"), ([2], "2")]:
        processes.change_threads(runs, threads=12, workers=2)
        ours = dict.fromkeys(
            ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), count
        )
        assert os.environ == {"MKL_NUM_THREADS": "7", **ours}


def test_faults_of_a_config_are_told_when_it_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {})
    config = tmp_path / "c.yaml"
    config.write_text("pipelines: {p: {stages: {s: {concurrency: none}}}}")
    processes.set_threads(config, None, is_recorded=False)
    assert not os.environ


def test_what_is_imported_before_threads_are_set_loads_no_runtime() -> None:
    """Nor does what the command itself imports."""
    code = "import sys, sedp.cli.serve, sedp.supervisor.processes; print({*sys.modules})"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "sedp.config.threads" in told.stdout
    assert not [name for name in ("numpy", "numba", "onnxruntime") if f"'{name}'" in told.stdout]
