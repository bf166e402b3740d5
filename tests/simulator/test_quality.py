from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sedp.simulator.quality import PROBABILITY_MIN, auc, logloss

Measure = Callable[[NDArray[Any], NDArray[Any]], float]

rows = st.lists(
    # Few different scores, so that ties are common.
    st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.75, 1.0])),
    min_size=1,
    max_size=40,
)


def split(rows: list[tuple[int, float]]) -> tuple[NDArray[Any], NDArray[Any]]:
    labels, scores = zip(*rows, strict=True)
    return np.array(labels, np.int8), np.array(scores, np.float32)


@given(rows)
def test_auc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[int, float]]) -> None:
    positives = [score for label, score in rows if label]
    negatives = [score for label, score in rows if not label]
    found = auc(*split(rows))
    if not positives or not negatives:
        assert math.isnan(found)
        return
    wins = sum((p > n) + (p == n) / 2 for p in positives for n in negatives)
    assert found == pytest.approx(wins / (len(positives) * len(negatives)))


@given(rows)
def test_logloss_is_the_mean_surprise(rows: list[tuple[int, float]]) -> None:
    low, high = PROBABILITY_MIN, 1 - PROBABILITY_MIN
    chances = [min(max(score, low), high) for _, score in rows]
    surprises = [
        -math.log(chance if label else 1 - chance)
        for (label, _), chance in zip(rows, chances, strict=True)
    ]
    assert logloss(*split(rows)) == pytest.approx(sum(surprises) / len(surprises))


def test_auc_of_equal_scores_is_a_half() -> None:
    assert auc(np.array([1, 0, 0, 1]), np.full(4, 0.3)) == 0.5


def test_auc_does_not_care_for_the_scale_of_scores() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 500), rng.normal(size=500)
    assert auc(labels, scores) == pytest.approx(auc(labels, np.exp(scores)))


def test_a_wrong_certainty_costs_much_but_not_everything() -> None:
    assert logloss(np.array([1]), np.array([0.0], np.float32)) == pytest.approx(16.118, abs=0.001)


@pytest.mark.parametrize("measure", [auc, logloss])
def test_what_cannot_be_compared_is_refused(measure: Measure) -> None:
    with pytest.raises(ValueError, match=r"\[3\] and scores \[2\] must be 1-D and alike"):
        measure(np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match="2 scores are NaN; score every row"):
        measure(np.zeros(3), np.array([np.nan, 0.5, np.nan]))


def test_logloss_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="give at least one"):
        logloss(np.zeros(0), np.zeros(0))
