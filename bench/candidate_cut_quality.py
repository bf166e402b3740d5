"""What a cut loses: the demo's wide requests with both scores, and how a cut of them is judged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.machine import ROOT
from sedp.columns import Array, Batch
from sedp.config.loading import load
from sedp.demo.files import WIDE_RECORDING_FILE
from sedp.simulator.recording import Recording, load_recording
from sedp.stage import Resources
from sedp.stages.candidate_cut import CandidateCut
from sedp.stages.cut_logs import find_cut
from sedp.stages.cut_net import CutNet, counts_at, describe, rank
from sedp.stages.cut_quality import best_places, losses
from sedp.storage.store import ParameterStore

CONFIG = ROOT / "configs" / "promo-rank-cut.yaml"
WEEKS = (51, 53)
TOP = 10
RAM_BYTES = 128 << 20
HALVINGS = 30

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Judged:
    """Requests held out.

    Args:
        recording: to be sent; `expected_score` is the full score.
        used: the columns that the cheap score is made of, one row a candidate.
        cheap: float32[rows].
        cut: the config's stage, opened.
        net: its weights.
    """

    recording: Recording
    used: dict[str, Array]
    cheap: NDArray[np.float32]
    cut: CandidateCut
    net: CutNet

    @property
    def splits(self) -> Integers:
        return self.recording.splits

    @property
    def rows(self) -> Integers:
        return np.diff(self.splits)

    @property
    def rows_min(self) -> int:
        rows_min: int = self.cut.params.rows_min
        return rows_min

    @property
    def full(self) -> NDArray[np.float32]:
        assert self.recording.expected_score is not None
        return self.recording.expected_score

    def with_cheap(self, cheap: NDArray[np.float32]) -> Judged:
        return replace(self, cheap=cheap)

    def losses(self, counts: Integers) -> tuple[float, float]:
        """Mean 1 - NDCG@10 when the best `counts` are kept, and the share of purchases lost."""
        order = rank(self.cheap, self.splits)
        places = best_places(self.full, order, self.splits, TOP)
        return float(losses(places, self.rows, counts).mean()), self._purchases_lost(order, counts)

    def learned_counts(self, share: float) -> Integers:
        """How many the net keeps of each request when it may keep this share of all."""
        order = rank(self.cheap, self.splits)
        features = describe(self.cheap, self.splits, order, self.net.top)
        low, high = 0.0, 1.0
        counts = self.rows
        for _ in range(HALVINGS):
            limit = (low + high) / 2
            shares = self.net.shares(features, np.full(len(self.rows), limit))
            counts = counts_at(shares, self.rows, self.rows_min)
            low, high = (limit, high) if counts.sum() > share * self.rows.sum() else (low, limit)
        return counts

    def _purchases_lost(self, order: Integers, counts: Integers) -> float:
        assert self.recording.label is not None
        bought = self.recording.label == 1
        owners = np.repeat(np.arange(len(self.rows)), self.rows)
        kept = np.zeros(len(bought), np.bool_)
        place = np.arange(len(bought)) - self.splits[owners]
        kept[self.splits[owners] + order] = place < counts[owners]
        whole = bought[top_rows(self.full, self.splits)].sum()
        left = bought[top_rows(np.where(kept, self.full, -np.inf), self.splits)].sum()
        return float(1 - left / whole)


def top_rows(scores: Array, splits: Integers) -> Integers:
    """The rows of each request's ten best, all in one array."""
    order = rank(scores.astype(np.float32), splits)
    owners = np.repeat(np.arange(len(splits) - 1), np.diff(splits))
    shown = np.arange(len(order)) - splits[owners] < TOP
    rows: Integers = (splits[owners] + order)[shown]
    return rows


def judged_requests(folder: Path) -> Judged:
    """The held-out requests of the demo's data folder."""
    [pipeline] = load(CONFIG, {"DATA_DIR": str(folder)}).pipelines
    _, cut = find_cut(pipeline)
    preview = pipeline.stages[0].use.stage
    recording = load_recording(folder / WIDE_RECORDING_FILE).in_weeks(*WEEKS)
    with ParameterStore.open(folder / "store", ram_bytes=RAM_BYTES, read_only=True) as store:
        preview.open(Resources(CONFIG.parent, 1, store))
        read = {name: recording.columns[name] for name in preview.requires}
        used = dict(preview.process(Batch(read, recording.splits)))
    cut.open(Resources(CONFIG.parent))
    net = CutNet.load(CONFIG.parent / cut.params.learned.weights)
    return Judged(recording, used, cut.params.score.of(used), cut, net)
