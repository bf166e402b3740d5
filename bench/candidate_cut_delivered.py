"""What callers of promo-rank-cut got: in time or not, and how good, by the full ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.candidate_cut_quality import TOP, Judged, top_rows
from sedp.columns import Array

DISCOUNTS = 1 / np.log2(np.arange(2, TOP + 2))
WORTH = np.arange(TOP, 0, -1)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request by its number in the recording, how long it took, and its answer's columns."""

    request: int
    latency_ns: float
    answer: Mapping[str, Array] | None


@dataclass(frozen=True, slots=True)
class Delivered:
    """What came of the requests of one run, shares in 0..1.

    Args:
        in_time: answered within the target.
        loss: mean 1 - NDCG@10 of the answered.
        purchases_lost: of those in the full ranking's ten best, among the answered.
        kept: candidates that got a full score, of all candidates of the answered.
        delivered: mean NDCG@10 of all requests, 0 for one not answered in time.
        purchases_kept: of those in the full rankings' ten best of all requests, in time.
    """

    in_time: float
    p99_ms: float
    loss: float
    purchases_lost: float
    kept: float
    delivered: float
    purchases_kept: float


class Judge:
    """Compares answers with full rankings.

    Args:
        judged: the requests.
        target_ns: of an answer that counts.
    """

    def __init__(self, judged: Judged, target_ns: int) -> None:
        self._judged = judged
        self._target_ns = target_ns
        self._best = top_rows(judged.full, judged.splits)
        shown = np.minimum(judged.rows, TOP)
        self._best_ends = np.concatenate([[0], np.cumsum(shown)])

    def judge(self, asked: Sequence[Asked]) -> Delivered:
        """Of one run.

        Raises:
            RuntimeError: not one was answered.
        """
        answered = [one for one in asked if one.answer is not None]
        if not answered:
            raise RuntimeError(f"none of {len(asked)} requests was answered")
        quality = {id(one): self._ndcg(one) for one in answered}
        in_time = [one for one in answered if one.latency_ns <= self._target_ns]
        got, full = self._purchases(answered)
        scores = [one.answer["score"] for one in answered if one.answer is not None]
        return Delivered(
            in_time=len(in_time) / len(asked),
            p99_ms=float(np.quantile([one.latency_ns for one in answered], 0.99)) / 1e6,
            loss=round(1 - sum(quality.values()) / len(answered), 9),  # sums round
            purchases_lost=1 - got / max(1, full),
            kept=sum(map(np.count_nonzero, scores)) / sum(map(len, scores)),
            delivered=sum(quality[id(one)] for one in in_time) / len(asked),
            purchases_kept=self._purchases(in_time)[0] / max(1, self._purchases(asked)[1]),
        )

    def _shown(self, one: Asked) -> list[int]:
        """Rows of the recording that were answered, best first."""
        assert one.answer is not None
        first = int(self._judged.splits[one.request])
        return [first + place for place in one.answer["rank"].reshape(-1).tolist() if place >= 0]

    def _full(self, one: Asked) -> list[int]:
        """Rows of the full ranking's ten best."""
        first, stop = self._best_ends[one.request : one.request + 2]
        best: list[int] = self._best[first:stop].tolist()
        return best

    def _ndcg(self, one: Asked) -> float:
        best = self._full(one)
        worth = dict(zip(best, WORTH.tolist(), strict=False))
        reached = sum(
            worth.get(row, 0) * discount
            for row, discount in zip(self._shown(one), DISCOUNTS.tolist(), strict=False)
        )
        return float(reached / (WORTH * DISCOUNTS)[: len(best)].sum())

    def _purchases(self, asked: Sequence[Asked]) -> tuple[int, int]:
        """Among those shown, and among the full rankings' ten best."""
        label = self._judged.recording.label
        assert label is not None
        shown = [row for one in asked if one.answer is not None for row in self._shown(one)]
        full = [row for one in asked for row in self._full(one)]
        return int(label[shown].sum()), int(label[full].sum())
