"""How good scores are, judged by what happened: ranking quality and calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PROBABILITY_MIN = 1e-7  # a wrong certainty costs at most 16 nats, and float32 scores reach 1.0


def auc(labels: NDArray[Any], scores: NDArray[Any]) -> float:
    """Area under the ROC curve: how often a positive outscores a negative; a tie counts half.

    Args:
        labels: [n], 0 or 1.
        scores: [n], any real numbers.

    Returns:
        0..1; NaN when there is no positive or no negative to compare.

    Raises:
        ValueError: the arrays differ in length, or a score is NaN.
    """
    check_lengths(labels, scores)
    positive = labels > 0
    positives = int(positive.sum())
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    _, tie, count = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(count) - (count - 1) / 2  # ranks start at 1; tied scores share one
    above = mean_rank[tie[positive]].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def logloss(labels: NDArray[Any], scores: NDArray[Any]) -> float:
    """Mean negative log-likelihood of the labels, in nats; 0 is perfect.

    Args:
        labels: [n], 0 or 1; n ≥ 1.
        scores: [n], probabilities; held to `PROBABILITY_MIN` from 0 and 1.

    Raises:
        ValueError: the arrays differ in length or are empty, or a score is NaN.
    """
    check_lengths(labels, scores)
    if len(labels) == 0:
        raise ValueError("logloss of 0 rows is undefined; give at least one")
    chance = np.clip(scores.astype(np.float64), PROBABILITY_MIN, 1 - PROBABILITY_MIN)
    return float(-np.log(np.where(labels > 0, chance, 1 - chance)).mean())


def check_lengths(labels: NDArray[Any], scores: NDArray[Any]) -> None:
    """Refuse arrays that cannot be compared row by row."""
    if labels.shape != scores.shape or labels.ndim != 1:
        raise ValueError(
            f"labels {list(labels.shape)} and scores {list(scores.shape)} must be 1-D and alike"
        )
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).sum())} scores are NaN; score every row")
