"""Bench `promo_rank`: the demo through its daemon, quality and latency, as `make replay` sees it.

Recorded store visits of weeks 48 to 53 are sent open loop, each round against a fresh daemon. The
anchor of a latency is the same requests through the same stages one after the other, in this
process: what is left is the price of HTTP, scheduling, and sharing two cores with the client.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.figure import Figure, Goal, make_figure, measure_in_turn
from bench.served import CONFIG, prepared_data, promo_rank, run_sedp
from sedp.columns import Batch
from sedp.config.loading import load
from sedp.operator import Operator
from sedp.payload import Payload
from sedp.simulator.recording import Recording, load_recording
from sedp.stage import Resources
from sedp.storage.store import ParameterStore

RATE = 300  # requests a second, about ten candidates each
ALONE = 2_000  # requests run alone for the anchor


def measure(quick: bool, seed: int) -> list[Figure]:
    """All figures of this bench."""
    folder = prepared_data()
    limit = 3_000 if quick else 9_343
    reports: list[dict[str, Any]] = []

    def replay() -> float:
        reports.append(_replay(folder, limit, seed))
        return float(reports[-1]["latency"]["p50_ms"])

    p50, alone = measure_in_turn(2 if quick else 5, replay, lambda: _alone_ms(folder))
    p99 = [float(report["latency"]["p99_ms"]) for report in reports]
    anchor = "the stages alone, in process"
    return [
        make_figure("AUC, weeks 48-53", "", _all(reports, "auc"), goal=Goal(0.89, at_most=False)),
        make_figure("logloss, weeks 48-53", "", _all(reports, "logloss"), goal=Goal(0.34)),
        make_figure(
            "score against training, greatest difference",
            "",
            _all(reports, "score_error_max"),
            goal=Goal(1e-5),
        ),
        make_figure(f"latency p50 at {RATE} req/s", "ms", p50, anchor=anchor, anchor_rounds=alone),
        make_figure(f"latency p99 at {RATE} req/s", "ms", p99, anchor=anchor, anchor_rounds=alone),
    ]


def _all(reports: list[dict[str, Any]], key: str) -> list[float]:
    return [float(report[key]) for report in reports]


def _replay(folder: Path, limit: int, seed: int) -> dict[str, Any]:
    options = ["--recording", str(folder / "recording.npz"), "--weeks", "48-53", "--json", "-"]
    with promo_rank(folder) as url:
        text = run_sedp(
            "replay",
            *("--url", url, "--rate", str(RATE), "--limit", str(limit), "--seed", str(seed)),
            *options,
        )
    report: dict[str, Any] = json.loads(text[text.index("{") :])
    return report


def _alone_ms(folder: Path) -> float:
    """Median time of a request's stages, run one after the other with nothing around them."""
    [pipeline] = load(CONFIG, {"DATA_DIR": str(folder)}).pipelines
    recording = load_recording(folder / "recording.npz").in_weeks(48, 53).first(ALONE)
    with ParameterStore.open(folder / "store", ram_bytes=128 << 20) as store:
        operators = []
        for position, stage in enumerate(pipeline.stages):
            stage.use.stage.open(Resources(CONFIG.parent, 1, store))
            operators.append(Operator(stage, position))
        times = [_time_ns(operators, _request(recording, row)) for row in range(len(recording))]
    return statistics.median(times) / 1e6


def _request(recording: Recording, row: int) -> Batch:
    start, stop = recording.splits[row : row + 2]
    columns = {
        name: array[start:stop] if len(array) == recording.row_count else array[row : row + 1]
        for name, array in recording.columns.items()
    }
    return Batch(columns, np.array([0, stop - start]))


def _time_ns(operators: list[Operator], request: Batch) -> int:
    payload = Payload(request, len(operators))
    started_ns = time.perf_counter_ns()
    for operator in operators:
        operator.run([payload])
    return time.perf_counter_ns() - started_ns
