"""How answers are judged, on requests whose full ranking is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from bench.candidate_cut_delivered import Asked, Delivered, Judge
from bench.candidate_cut_quality import Judged

ROWS, REQUESTS = 20, 3
TARGET_NS = 50_000_000
SCORES = np.tile(np.linspace(1.0, 0.05, ROWS, dtype=np.float32), REQUESTS)  # the first is the best
LABEL = np.tile(np.arange(ROWS) < 4, REQUESTS).astype(np.int8)  # the first four were bought
SPLITS = np.arange(REQUESTS + 1) * ROWS


def judge() -> Judge:
    known = SimpleNamespace(
        full=SCORES,
        splits=SPLITS,
        rows=np.diff(SPLITS),
        recording=SimpleNamespace(label=LABEL),
    )
    return Judge(cast(Judged, known), TARGET_NS)


def asked(request: int, best: list[int], latency_ns: float = 1.0, kept: int = ROWS) -> Asked:
    """An answer with these places, the others -1."""
    rank = np.array(best + [-1] * (10 - len(best)), np.int32)
    answer: dict[str, Any] = {"rank": rank, "score": SCORES[:ROWS] * (np.arange(ROWS) < kept)}
    return Asked(request, latency_ns, answer)


def one(request: Asked) -> Delivered:
    return judge().judge([request])


def test_the_full_ranking_loses_nothing() -> None:
    came = one(asked(2, list(range(10))))
    assert (came.loss, came.purchases_lost, came.kept) == (0.0, 0.0, 1.0)
    assert (came.in_time, came.purchases_kept) == (1.0, 1.0)
    assert came.delivered == pytest.approx(1.0)


def test_a_lost_candidate_costs_more_the_better_it_is() -> None:
    losses = [
        one(asked(0, [place for place in range(11) if place != gone])).loss for gone in range(10)
    ]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] > 0


def test_what_was_bought_and_is_not_shown_is_lost() -> None:
    assert one(asked(1, [0, 2, 3, *range(4, 11)])).purchases_lost == pytest.approx(0.25)


def test_candidates_without_a_score_were_not_kept() -> None:
    assert one(asked(0, list(range(5)), kept=5)).kept == pytest.approx(0.25)


def test_late_and_lost_answers_deliver_nothing() -> None:
    whole = list(range(10))
    came = judge().judge(
        [asked(0, whole), asked(1, whole, latency_ns=TARGET_NS + 1), Asked(2, np.inf, None)]
    )
    assert came.in_time == pytest.approx(1 / 3)
    assert came.delivered == pytest.approx(1 / 3)
    assert came.purchases_kept == pytest.approx(1 / 3)
    assert came.loss == 0.0, "of those answered, late or not"


def test_nobody_answered_is_an_error_with_its_number() -> None:
    with pytest.raises(RuntimeError, match="none of 1 requests"):
        one(Asked(0, np.inf, None))
