"""The demo's daemon as a process to be measured."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.machine import ROOT

CONFIG = ROOT / "configs" / "promo-rank.yaml"


def run_sedp(*arguments: str, quiet: bool = False) -> str:
    """Run the `sedp` command to its end; progress bars are shown unless `quiet`."""
    command = [sys.executable, "-m", "sedp", *arguments]
    errors = subprocess.DEVNULL if quiet else None
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=errors, text=True
    ).stdout


def prepared_data() -> Path:
    """The demo's data folder (`DATA_DIR`, else .sedp), prepared if it is not."""
    folder = Path(os.environ.get("DATA_DIR", ROOT / ".sedp")).absolute()
    run_sedp("demo", "prepare", "--data-dir", str(folder))
    return folder


@contextmanager
def promo_rank(folder: Path) -> Iterator[str]:
    """Serve the demo on free ports; gives the base URL as soon as it is ready."""
    environment = {**os.environ, "DATA_DIR": str(folder), "PORT": "0", "ADMIN_PORT": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "sedp", "serve", str(CONFIG)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout:
        try:
            yield _base_url(process.stdout)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _base_url(lines: Iterator[str]) -> str:
    """The daemon prints its address once it is ready."""
    for line in lines:
        if found := re.search(r"inference +(http://[^/]+)/v2", line):
            return found[1]
    raise RuntimeError("the daemon ended before it served; its own message is above")
