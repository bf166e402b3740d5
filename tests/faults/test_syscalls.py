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


@pytest.mark.slow
@pytest.mark.timeout(60 + 4 * POINTS)
@pytest.mark.skipif(not PRELOADS[1].exists(), reason="libfiu is not installed")
def test_failing_system_calls_lose_nothing_acknowledged(tmp_path: Path) -> None:
    met = 0
    for batch, start in enumerate(range(0, POINTS, POINTS_A_PROCESS)):
        path, points = tmp_path / str(batch), min(POINTS - start, POINTS_A_PROCESS)
        make_store(path)
        command = [sys.executable, "-m", "tests.faults.syscalls", str(path)]
        result = subprocess.run(
            [*command, str(SEED + batch), str(points)],
            cwd=ROOT,
            env={**os.environ, "LD_PRELOAD": str(PRELOADS[1])},
            capture_output=True,
            text=True,
            timeout=120 + 2 * points,
        )
        assert result.returncode == 0, f"{result.stdout[-500:]}\n{result.stderr[-5000:]}"
        met += int(result.stdout.splitlines()[-1].split()[0])
    assert met > POINTS // 5  # the faults were there
