"""The daemon as a process to be measured: the demo's, or any shipped config with changes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from bench.machine import ROOT
from bench.progress import tell
from bench.server_process import Server, free_port, started

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
    tell(f"demo data in {folder}: what its recipe has changed for is made anew, in a minute or two")
    run_sedp("demo", "prepare", "--data-dir", str(folder))
    return folder


def prepared_ctr_rank() -> Path:
    """The ranker's data folder (`DATA_DIR`, else .sedp/ctr-rank), prepared if it is not."""
    folder = Path(os.environ.get("DATA_DIR", ROOT / ".sedp" / "ctr-rank")).absolute()
    run_sedp("demo", "ctr-rank", "--data-dir", str(folder))
    return folder


@contextmanager
def serving(
    document: Mapping[str, Any], folder: Path, probe: bytes, workers: int = 2, admin_port: int = 0
) -> Iterator[Server]:
    """Serve a config that names the folder as `${DATA_DIR}`, and stages of the bench if it likes.

    Args:
        document: the config.
        probe: a request that is answered 200 once it is ready.
        admin_port: 0 takes any.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "config.yaml"
        path.write_text(yaml.safe_dump(dict(document), sort_keys=False))
        port = free_port()
        words = [sys.executable, "-m", "sedp", "serve", str(path), "--workers", str(workers)]
        extra = {"DATA_DIR": str(folder), "PORT": str(port), "ADMIN_PORT": str(admin_port)}
        with started(words, {**extra, "PYTHONPATH": str(ROOT)}, port, probe) as server:
            yield server


def without_target(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same config for a closed loop, which may ask for more than a target could be kept with:
    nothing is refused.
    """
    changed: dict[str, Any] = deepcopy(dict(document))
    for pipeline in changed["pipelines"].values():
        pipeline.pop("slo", None)
        pipeline.pop("tuning", None)
    return changed


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
