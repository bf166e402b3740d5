"""Damaged files of a closed store: rows are right, or the store says that it cannot give them.

SEDP_FLIPS says how many bits are flipped in each cold tier, one a trial; a fifth as many pages are
overwritten, and a tenth as many files cut short. `make damage` flips 1,000.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.storage.processes import ROOT

FLIPS = int(os.environ.get("SEDP_FLIPS", "50"))
SEED = int(os.environ.get("SEDP_SEED", "0"))
TRIALS = {"flip": FLIPS, "page": FLIPS // 5, "shorten": FLIPS // 10}
CHILD = """
from tests.faults.corruption import main, make_sound
import sys
from pathlib import Path
make_sound(Path(sys.argv[1]) / "sound")
main()
"""
WITHOUT_MARK = """
from sedp.storage.rocksdb.synced_mark import SyncedMark
SyncedMark.put = lambda self, number: None
"""


def damaged(folder: Path, tier: str, kind: str, count: int, prelude: str = "") -> list[str]:
    """What came of so many trials, a line each."""
    arguments = [str(folder), tier, kind, str(SEED), str(count)]
    result = subprocess.run(
        [sys.executable, "-c", prelude + CHILD, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    trials = [line for line in result.stdout.splitlines() if line.startswith(f"{tier} {kind} ")]
    assert result.returncode == 0, f"{trials[-1:]} ended it: {result.stderr[-2000:]}"
    assert len(trials) == count
    return trials


@pytest.mark.slow
@pytest.mark.timeout(60 + FLIPS)
@pytest.mark.parametrize("tier", ["rocksdb", "lmdb"])
@pytest.mark.parametrize("kind", TRIALS)
def test_damage_never_becomes_a_row_and_ends_no_process(
    kind: str, tier: str, tmp_path: Path
) -> None:
    trials = damaged(tmp_path, tier, kind, TRIALS[kind])
    assert not [trial for trial in trials if " WRONG " in trial]
    assert any(" served " in trial for trial in trials)
    assert tier == "lmdb" or any(" closed " in trial for trial in trials)


@pytest.mark.slow
def test_writes_that_are_lost_would_go_unnoticed_without_the_mark(tmp_path: Path) -> None:
    trials = damaged(tmp_path, "rocksdb", "shorten", 40, WITHOUT_MARK)
    assert [trial for trial in trials if " WRONG " in trial]
