"""Compiled code is never older than the files it was made from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

KERNEL = """
import numpy as np
from numba import int64
from helper import step
from sedp.kernel import kernel

@kernel(int64(int64))
def run(value):
    return step(value)

if __name__ == "__main__":
    import loops
    print(loops.run(1))
"""
HELPER = """
from sedp.kernel import inlined

@inlined
def step(value):
    return value + {step}
"""


def result(folder: Path, step: int) -> str:
    """What the kernel says, in a process of its own, with this helper in the other file."""
    (folder / "helper.py").write_text(HELPER.format(step=step))
    os.utime(folder / "helper.py", ns=(step, step))  # the size alone need not change
    words = [sys.executable, "loops.py"]
    return subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True).stdout


def test_a_changed_helper_in_another_file_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "loops.py").write_text(KERNEL)
    assert result(tmp_path, 1) == "2\n"
    assert any((tmp_path / "__pycache__").glob("loops.run*.nbi"))
    assert result(tmp_path, 2) == "3\n"


def test_a_change_of_the_stores_helpers_is_noticed_by_all_floors(tmp_path: Path) -> None:
    (tmp_path / "loops.py").write_text(KERNEL)
    result(tmp_path, 1)
    stamp = (tmp_path / "__pycache__" / "kernels.stamp").read_text()
    names = [line.split(" ")[0] for line in stamp.splitlines()]
    own = {f"{tmp_path.name}/{name}" for name in ("helper.py", "loops.py")}
    assert {"sedp/kernel.py", "ram/line.py", "rows/keys.py", *own} <= set(names)
    assert len(names) == len(set(names))
