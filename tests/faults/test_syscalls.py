"""System calls that fail: clean errors, no hang, and nothing acknowledged is lost.

It takes libfiu (`apt-get install libfiu0 fiu-utils`). SEDP_FAULTS says how many points;
`make syscall-faults` runs 2,000.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.writing import make_store
from tests.storage.processes import ROOT

POINTS = int(os.environ.get("SEDP_FAULTS", "20"))
SEED = int(os.environ.get("SEDP_SEED", "0"))
PRELOADS = [Path("/usr/lib/fiu/fiu_run_preload.so"), Path("/usr/lib/fiu/fiu_posix_preload.so")]
POINTS_A_PROCESS = 50
DEAF = """
import os, sys
from pathlib import Path
from sedp.errors import StoreError
from sedp.storage.rocksdb.database import RocksDatabase
from tests.faults.syscalls import main
write = RocksDatabase.write_rows
def write_deaf(self, *arguments, **more):
    try:
        write(self, *arguments, **more)
    except StoreError:
        pass
RocksDatabase.write_rows = write_deaf
main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.timeout(60 + 4 * POINTS)
@pytest.mark.skipif(not PRELOADS[1].exists(), reason="libfiu is not installed")
def test_failing_system_calls_lose_nothing_acknowledged(tmp_path: Path) -> None:
    met = 0
    for batch, start in enumerate(range(0, POINTS, POINTS_A_PROCESS)):
        path, points = tmp_path / str(batch), min(POINTS - start, POINTS_A_PROCESS)
        make_store(path)
        command = [sys.executable, "-m", "tests.faults.syscalls", str(path)]
        result = run(command, SEED + batch, points)
        assert result.returncode == 0, f"{result.stdout[-500:]}\n{result.stderr[-5000:]}"
        met += int(result.stdout.splitlines()[-1].split()[0])
    assert met > POINTS // 5  # the faults were there


@pytest.mark.slow
@pytest.mark.skipif(not PRELOADS[1].exists(), reason="libfiu is not installed")
def test_writes_that_fail_without_a_word_would_be_missed(tmp_path: Path) -> None:
    make_store(tmp_path)
    result = run([sys.executable, "-c", DEAF, str(tmp_path)], SEED, POINTS_A_PROCESS)
    assert result.returncode != 0
    assert "AssertionError" in result.stderr, result.stderr[-2000:]


def run(command: list[str], seed: int, points: int) -> subprocess.CompletedProcess[str]:
    """So many points in a process of their own."""
    return subprocess.run(
        [*command, str(seed), str(points)],
        cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": str(PRELOADS[1])},
        capture_output=True,
        text=True,
        timeout=120 + 2 * points,
    )
