"""What a replay showed: counts, latency, punctuality, quality. Plain numbers, ready for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sedp.simulator.quality import auc, logloss
from sedp.simulator.recording import Recording
from sedp.simulator.replay import OK, STATUS_NAMES, ReplayedRun


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Milliseconds; the q-quantile is the least value that at least a share q stays within."""

    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float

    @classmethod
    def of(cls, values_ns: NDArray[np.int64] | NDArray[np.float64]) -> Quantiles | None:
        """`None` when there are no values."""
        if not len(values_ns):
            return None
        quantiles = np.quantile(values_ns, (0.5, 0.99, 0.999, 1.0), method="inverted_cdf")
        return cls(*(quantiles / 1e6).tolist())


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """The figures of one replay.

    Args:
        statuses: requests by HTTP status or by how they failed.
        errors: the first message of each failing status.
        elapsed_s: first intended send time to last end.
        latency: of answered requests, from the intended send time.
        latency_all: of all requests, an unanswered one counting as infinite.
        lateness: how late this client itself sent; when it nears the latency, the client and not
            the daemon was measured.
        auc, logloss: of answered items, when the recording has labels; AUC needs both kinds.
        score_error_max: largest |score - expected|, when the recording has expected scores.
    """

    pipeline: str
    sent: int
    answered: int
    statuses: Mapping[str, int]
    errors: Mapping[str, str]
    rows_sent: int
    rows_answered: int
    elapsed_s: float
    sent_per_s: float
    answered_per_s: float
    rows_answered_per_s: float
    latency: Quantiles | None
    latency_all: Quantiles | None
    lateness: Quantiles | None
    auc: float | None
    logloss: float | None
    score_error_max: float | None

    @property
    def failed(self) -> int:
        return self.sent - self.answered


def summarise(pipeline: str, recording: Recording, run: ReplayedRun) -> ReplayReport:
    """Make the report of a replay of `recording` through `pipeline`."""
    sent, ok = len(run.status), run.status == OK
    answered = int(ok.sum())
    rows_ok = np.repeat(ok, np.diff(recording.splits))
    rows = int(rows_ok.sum())
    elapsed_s = float((run.due_ns + run.latency_ns).max() - run.due_ns[0]) / 1e9
    sending_s = max(float((run.due_ns + run.late_ns).max() - run.due_ns[0]) / 1e9, 1e-9)
    statuses, counts = np.unique(run.status, return_counts=True)
    labels = None if recording.label is None else recording.label[rows_ok]
    expected = recording.expected_score
    scores = run.scores[rows_ok]
    return ReplayReport(
        pipeline=pipeline,
        sent=sent,
        answered=answered,
        statuses=dict(zip(map(_status_name, statuses.tolist()), counts.tolist(), strict=True)),
        errors={_status_name(status): text for status, text in run.errors.items()},
        rows_sent=recording.row_count,
        rows_answered=rows,
        elapsed_s=elapsed_s,
        sent_per_s=(sent - 1) / sending_s,
        answered_per_s=answered / elapsed_s,
        rows_answered_per_s=rows / elapsed_s,
        latency=Quantiles.of(run.latency_ns[ok]),
        latency_all=Quantiles.of(np.where(ok, run.latency_ns, np.inf)),
        lateness=Quantiles.of(run.late_ns),
        auc=_unless_nan(auc(labels, scores)) if labels is not None else None,
        logloss=logloss(labels, scores) if labels is not None and rows else None,
        score_error_max=_error_max(expected, run.scores, rows_ok) if rows else None,
    )


def _status_name(status: int) -> str:
    return STATUS_NAMES.get(status) or str(status)


def _unless_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def _error_max(
    expected: NDArray[np.float32] | None,
    scores: NDArray[np.float32],
    answered: NDArray[np.bool_],
) -> float | None:
    if expected is None:
        return None
    return float(np.abs(scores[answered] - expected[answered]).max())
