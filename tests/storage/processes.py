"""Runs a piece of Python in a process of its own, beside or instead of this one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PREAMBLE = """
import os, signal, sys
from pathlib import Path
import numpy as np
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from tests.storage.tables import look_up, make_rows, some_keys
path = Path(sys.argv[1])
"""
ROOT = Path(__file__).parent.parent.parent


def run_python(code: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run `code` with `path` at hand; its exit code and output come back."""
    command = [sys.executable, "-c", PREAMBLE + code, str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
