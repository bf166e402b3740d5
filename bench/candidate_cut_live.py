"""Bench `candidate_cut_live`: the cut in the daemon, at loads around what it carries uncut.

The virtual clock of `candidate_cut` is exact but has neither HTTP nor threads; here both are in,
and so is the client, on the same cores. First the greatest rate of a closed loop against the
pipeline with its cut left alone; then open loops at parts and multiples of that rate, with the cut,
and beside it with the same admission dropping requests. An answer counts when it comes within the
target of its due time.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
import yaml

from bench.candidate_cut_quality import CONFIG, WEEKS
from bench.ctr_rank_wire import post
from bench.figure import Figure, Goal, make_figure
from bench.load_client import closed_loop, open_loop, poisson
from bench.served import prepared_data
from bench.server_process import Server, free_port, started
from sedp.demo.files import WIDE_RECORDING_FILE
from sedp.simulator.oip_client import RequestEncoder, TensorMetadata
from sedp.simulator.recording import load_recording

PIPELINE = "promo-rank-cut"
NEVER = {"from": 9.9, "to": 10.0, "least": 1.0}  # pressures that are not met
TARGET_S = 0.05
CLOSED_CONNECTIONS, OPEN_CONNECTIONS = 16, 256
FACTORS = (0.5, 1.0, 2.0)
INPUTS = [
    TensorMetadata("household_id", "INT64", (1, 1)),
    TensorMetadata("store_id", "INT64", (1, 1)),
    TensorMetadata("week", "INT64", (1, 1)),
    TensorMetadata("product_id", "INT64", (1, -1)),
]


def measure(quick: bool, seed: int) -> list[Figure]:
    """All figures of this bench."""
    folder = prepared_data()
    requests = _requests(folder)
    rounds, seconds = (1, 3.0) if quick else (3, 8.0)
    with _served(folder, requests, cut=False) as server:
        run = closed_loop(server.address, requests, CLOSED_CONNECTIONS, seconds)
        greatest = uvloop.run(run).rate
        dropped = _in_time(server, requests, greatest, rounds, seconds, seed)
    with _served(folder, requests, cut=True) as server:
        cut = _in_time(server, requests, greatest, rounds, seconds, seed)
    figures = [make_figure("closed loop, uncut", "req/s", [greatest])]
    for factor in FACTORS:
        figures.append(
            make_figure(
                f"in time at {factor:g} × that rate",
                "%",
                cut[factor],
                goal=Goal(100.0, at_most=False),
                anchor="% requests dropped instead",
                anchor_rounds=dropped[factor],
            )
        )
    return figures


def _requests(folder: Path) -> list[bytes]:
    recording = load_recording(folder / WIDE_RECORDING_FILE).in_weeks(*WEEKS)
    encoder = RequestEncoder(recording, INPUTS)
    posts = []
    for request in range(len(recording)):
        headers, body = encoder.encode(request)
        extra = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        posts.append(post(f"/v2/models/{PIPELINE}/infer", body, extra))
    return posts


@contextmanager
def _served(folder: Path, requests: list[bytes], *, cut: bool) -> Iterator[Server]:
    """The shipped config in one process; without the cut nothing is cut at any pressure."""
    document: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    if not cut:
        document["pipelines"][PIPELINE]["stages"]["cut"]["params"]["share"] = NEVER
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "config.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        port = free_port()
        words = [sys.executable, "-m", "sedp", "serve", str(path)]
        extra = {"DATA_DIR": str(folder), "PORT": str(port), "ADMIN_PORT": "0"}
        with started(words, extra, port, requests[0]) as server:
            yield server


def _in_time(
    server: Server, requests: list[bytes], greatest: float, rounds: int, seconds: float, seed: int
) -> dict[float, list[float]]:
    """Percent answered within the target, by factor; the first second of a run is not counted."""
    shares: dict[float, list[float]] = {factor: [] for factor in FACTORS}
    for turn in range(rounds):
        for factor in FACTORS:
            schedule = poisson(factor * greatest, 1.0 + seconds, seed + turn)
            run = open_loop(server.address, requests, OPEN_CONNECTIONS, schedule)
            latencies = uvloop.run(run)[schedule.after_ns >= 1_000_000_000]
            shares[factor].append(100 * float(np.mean(latencies <= TARGET_S)))
    return shares
