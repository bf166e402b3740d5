"""Real daemons on one core and on two: the threads that runtimes have in their processes."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.stages.tiny_models import FLOAT, save_identity

from .tree import Tree, served, wait_for

pytestmark = pytest.mark.slow

CORES = sorted(os.sched_getaffinity(0))
VARIABLES = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

CONFIG = """\
api_version: sedp/v1
daemon: {{listen: 127.0.0.1:0, admin: 127.0.0.1:0, workers: {workers}, threads: {threads}}}
pipelines:
  double:
    inputs: {{x: "FP32[n]"}}
    outputs: {{y: "FP32[n]"}}
    slo: {{p99: 1s}}
    stages:
      s:
        kind: "mine:Counting"
        params: {{model: m.onnx, inputs: [x], outputs: {{y: "FP32[n]"}}}}
        concurrency: {concurrency}
    tuning: {{enabled: {tuned}, every: 10m}}
"""

STAGES = """\
import ctypes
import json
import os
import re
from pathlib import Path

import numba

from sedp.stages.dense_scoring import DenseScoring


def count_blas():
    path = re.search(r"/\\S*scipy_openblas\\S*", Path("/proc/self/maps").read_text())[0]
    return ctypes.CDLL(path).scipy_openblas_get_num_threads64_()


class Counting(DenseScoring):
    def open(self, resources):
        super().open(resources)
        counts = {
            "numba": numba.config.NUMBA_NUM_THREADS,
            "blas": count_blas(),
            "onnx_intra_op": self._session.get_session_options().intra_op_num_threads,
            "onnx_inter_op": self._session.get_session_options().inter_op_num_threads,
        }
        (resources.base_path / f"threads-{os.getpid()}").write_text(json.dumps(counts))
"""


def write(
    folder: Path, *, workers: int, threads: str, concurrency: int, tuned: bool = False
) -> Path:
    path = folder / "c.yaml"
    path.write_text(
        CONFIG.format(
            workers=workers, threads=threads, concurrency=concurrency, tuned=str(tuned).lower()
        )
    )
    return path


@contextmanager
def counting(
    folder: Path, cores: Sequence[int], workers: int, *, threads: str = "auto", tuned: bool = False
) -> Iterator[Tree]:
    """A daemon that may use these cores only."""
    config = write(folder, workers=workers, threads=threads, concurrency=1, tuned=tuned)
    (folder / "mine.py").write_text(STAGES)
    save_identity(folder / "m.onnx", (FLOAT, ["n"]), (FLOAT, ["n"]))
    os.sched_setaffinity(0, cores)  # of this thread, whose children inherit it
    try:
        with served(config) as tree:
            yield tree
    finally:
        os.sched_setaffinity(0, CORES)


def counted(folder: Path) -> list[dict[str, int]]:
    """What each process had."""
    return [json.loads(file.read_text()) for file in folder.glob("threads-*")]


def told(tree: Tree) -> dict[str, int]:
    """What the metrics say."""
    text = tree.ask(f"{tree.admin}/metrics")[1].decode()
    found = re.findall(r'^sedp_threads{runtime="(\w+)"} (\d+)\.0$', text, re.MULTILINE)
    return {runtime: int(count) for runtime, count in found}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
@pytest.mark.parametrize("cores", [1, 2])
def test_one_run_has_the_cores_of_a_single_process(tmp_path: Path, cores: int) -> None:
    with counting(tmp_path, CORES[:cores], workers=1) as tree:
        [found] = counted(tmp_path)
        assert found == {"numba": cores, "blas": cores, "onnx_intra_op": cores, "onnx_inter_op": 1}
        assert told(tree) == {"engine": 1, **found}
        assert f"threads    engine 1, numba {cores}, blas {cores}" in tree.banner


def test_workers_never_have_a_second_thread_in_a_run(tmp_path: Path) -> None:
    single = {"numba": 1, "blas": 1, "onnx_intra_op": 1, "onnx_inter_op": 1}
    with counting(tmp_path, CORES[:2], workers=4) as tree:
        assert counted(tmp_path) == [single] * 4
        assert told(tree) == {"engine": 1, **single}


def test_knobs_that_tuning_may_raise_leave_runs_one_thread(tmp_path: Path) -> None:
    with counting(tmp_path, CORES[:2], workers=1, tuned=True) as tree:
        [found] = counted(tmp_path)
        assert set(found.values()) == {1}
        assert told(tree)["engine"] == 8 * len(CORES[:2])


@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
def test_what_the_operator_has_set_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with counting(tmp_path, CORES[:2], workers=2) as tree:
        found = counted(tmp_path)
        assert found == [{"numba": 3, "blas": 2, "onnx_intra_op": 1, "onnx_inter_op": 1}] * 2
        assert told(tree) == {"engine": 1, **found[0]}


@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
def test_a_reload_tells_that_open_stages_have_more_threads_than_new_ones(tmp_path: Path) -> None:
    with counting(tmp_path, CORES[:2], workers=1) as tree:
        before = told(tree)
        write(tmp_path, workers=1, threads="auto", concurrency=2)
        assert tree.change("/admin/reload")[0] == 200
        wait_for(lambda: told(tree)["onnx_intra_op"] < before["onnx_intra_op"])
        log = tree.stop()[1]
    assert "a run gets 1 threads, not 2; restart for all to do so" in log


@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
def test_a_worker_that_replaces_another_begins_with_the_threads_of_now(tmp_path: Path) -> None:
    one = {"numba": 1, "blas": 1, "onnx_intra_op": 1, "onnx_inter_op": 1}
    with counting(tmp_path, CORES[:2], workers=2, threads="4") as tree:
        before = tree.pids()
        assert counted(tmp_path) == [{**one, "numba": 2, "blas": 2, "onnx_intra_op": 2}] * 2
        write(tmp_path, workers=2, threads="4", concurrency=2)
        assert tree.change("/admin/reload")[0] == 200
        os.kill(before[0], signal.SIGKILL)
        fresh = set[int]()
        wait_for(lambda: fresh.update(set(tree.pids()) - set(before)) or len(fresh) == 1)
        assert json.loads((tmp_path / f"threads-{fresh.pop()}").read_text()) == one
