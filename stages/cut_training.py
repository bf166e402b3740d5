"""Candidate cut, training: from requests with cheap and full scores to the net that judges depths.

Its target is the loss itself at each depth, not the least depth within some limit: a mean of losses
keeps the limit on average, a mean of least depths would not; and one net serves every limit. Fitted
by Adam on the cross-entropy, whose minimum is the expected loss (Kingma and Ba, ICLR 2015).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array
from sedp.stages.cut_kernels import FEATURE_MAX, Floats, Integers
from sedp.stages.cut_net import FEATURES, SHARES, CutNet, counts_at, describe, rank
from sedp.stages.cut_quality import best_places, losses

LIMITS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)  # losses at which the report is made
SPREAD_MIN = 1e-3
MOMENTS = (0.9, 0.999)  # of gradients and their squares, as published


@dataclass(frozen=True, slots=True)
class ScoredRequests:
    """Requests that nobody cut.

    Args:
        cheap, full: float32[n], both scores of every candidate.
        splits: int64[r + 1]; request `i` owns rows `splits[i]:splits[i + 1]`.
    """

    cheap: Floats
    full: Floats
    splits: Integers

    @property
    def rows(self) -> Integers:
        return np.diff(self.splits)


@dataclass(frozen=True, slots=True)
class CutTraining:
    """Settings, chosen on the demo's weeks 48 to 50.

    Args:
        top: how many of the best of the full ranking count.
        rows_min: candidates that are kept in any case, as in the stage's params.
        hidden: widths of the three layers.
        epochs, batch_requests, step: of Adam; the step falls to 0 in a straight line.
        decay: share of the weights that a full step takes away.
    """

    top: int = 10
    rows_min: int = 10
    hidden: tuple[int, int, int] = (16, 16, 16)
    epochs: int = 60
    batch_requests: int = 256
    step: float = 3e-3
    decay: float = 0.1
    seed: int = 1


def train_cut(
    score: str,
    requests: ScoredRequests,
    settings: CutTraining | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> CutNet:
    """Fit a net.

    Args:
        score: the cheap score as text, see `CheapScore.text`.
        requests: at least one.
        tell: called with epochs done and epochs in all.
    """
    settings = settings or CutTraining()
    rng = np.random.default_rng(settings.seed)
    features, targets = _examples(requests, settings)
    mean = features.mean(axis=0)
    spread = np.maximum(features.std(axis=0), np.float32(SPREAD_MIN))
    inputs = np.clip((features - mean) / spread, -FEATURE_MAX, FEATURE_MAX)
    fit = _Fit.start(rng, targets.mean(axis=0), settings)
    for epoch in range(settings.epochs):
        order = rng.permutation(len(inputs))
        for at in range(0, len(order), settings.batch_requests):
            batch = order[at : at + settings.batch_requests]
            left = 1 - (epoch + at / len(order)) / settings.epochs
            fit.move(inputs[batch], targets[batch], left * settings.step, settings.decay)
        tell(epoch + 1, settings.epochs)
    weights, offsets = fit.values[0::2], fit.values[1::2]
    return CutNet(score, settings.top, mean, spread, tuple(weights), tuple(offsets))


def fit_linear(columns: Array, full: Floats, splits: Integers) -> Array:
    """float64[m]: weights of columns whose sum ranks most like the full ranking, where it matters.

    Least squares on -ln(1 + place in the full ranking) within each request: the first places count
    for much, the tail for little, and the scale of the full score for nothing.

    Args:
        columns: float32[n, m].
    """
    rows = np.diff(splits)
    order = rank(full, splits)
    starts = np.repeat(splits[:-1], rows)
    place = np.empty(len(full))
    place[starts + order] = np.arange(len(full)) - starts
    inputs = _centred(columns.astype(np.float64), splits)
    target = _centred(-np.log1p(place)[:, None], splits)
    weights, *_ = np.linalg.lstsq(inputs.T @ inputs, inputs.T @ target)
    return np.asarray(weights[:, 0])


def judge_cut(net: CutNet, requests: ScoredRequests, rows_min: int) -> CutNet:
    """The net with a report on requests that it was not trained on.

    The report has, for each of `SHARES`, `share_loss` (mean 1 - NDCG when every request keeps this
    share); for each of `limits`, `learned_share` (candidates kept of all) and `learned_loss`; and
    `requests`, how many there were.
    """
    rows = requests.rows
    order = rank(requests.cheap, requests.splits)
    places = best_places(requests.full, order, requests.splits, net.top)
    features = describe(requests.cheap, requests.splits, order, net.top)
    learned = []
    for limit in LIMITS:
        shares = net.shares(features, np.full(len(rows), limit))
        counts = counts_at(shares, rows, rows_min)
        learned.append((counts.sum() / rows.sum(), losses(places, rows, counts).mean()))
    fixed = [losses(places, rows, counts_at(share, rows, rows_min)).mean() for share in SHARES]
    report: dict[str, Array] = {
        "share_loss": np.array(fixed),
        "limits": np.array(LIMITS),
        "learned_share": np.array([share for share, _ in learned]),
        "learned_loss": np.array([loss for _, loss in learned]),
        "requests": np.array(len(rows)),
    }
    return replace(net, report=report)


def _centred(columns: Array, splits: Integers) -> Array:
    """Each request's mean taken off, as it ranks nothing."""
    rows = np.diff(splits)
    filled = rows > 0
    means = np.zeros((len(rows), columns.shape[1]))
    means[filled] = np.add.reduceat(columns, splits[:-1][filled]) / rows[filled, None]
    return columns - np.repeat(means, rows, axis=0)


def _examples(requests: ScoredRequests, settings: CutTraining) -> tuple[Floats, Floats]:
    """Features and, for each of `SHARES`, the loss: float32[r, f], float32[r, g]."""
    rows = requests.rows
    order = rank(requests.cheap, requests.splits)
    places = best_places(requests.full, order, requests.splits, settings.top)
    targets = [losses(places, rows, counts_at(share, rows, settings.rows_min)) for share in SHARES]
    features = describe(requests.cheap, requests.splits, order, settings.top)
    return features, np.stack(targets, axis=1).astype(np.float32)


@dataclass(slots=True)
class _Fit:
    """Weights and offsets by turns, with Adam's two moments of each."""

    values: list[Floats]
    means: list[Floats]
    squares: list[Floats]
    moved: int = 0

    @classmethod
    def start(cls, rng: np.random.Generator, target_mean: Floats, settings: CutTraining) -> _Fit:
        widths = [len(FEATURES), *settings.hidden, len(SHARES)]
        values: list[Floats] = []
        for inputs, outputs in pairwise(widths):
            values.append(rng.normal(0, (2 / inputs) ** 0.5, (inputs, outputs)).astype(np.float32))
            values.append(np.zeros(outputs, np.float32))
        share = np.clip(target_mean, 1e-6, 1 - 1e-6)
        values[-2] *= np.float32(0.1)
        values[-1] = np.log(share / (1 - share)).astype(np.float32)
        zeros = [np.zeros_like(value) for value in values]
        return cls(values, zeros, [zero.copy() for zero in zeros])

    def move(self, inputs: Floats, targets: Floats, step: float, decay: float) -> None:
        """One step on the mean cross-entropy of a batch."""
        self.moved += 1
        mean_left, square_left = (1 - moment**self.moved for moment in MOMENTS)
        for at, gradient in enumerate(self._gradients(inputs, targets)):
            self.means[at] += (1 - MOMENTS[0]) * (gradient - self.means[at])
            self.squares[at] += (1 - MOMENTS[1]) * (gradient * gradient - self.squares[at])
            way: Any = self.means[at] / mean_left
            way /= np.sqrt(self.squares[at] / square_left) + np.float32(1e-8)
            if at % 2 == 0:
                way += np.float32(decay) * self.values[at]
            self.values[at] -= np.float32(step) * way

    def _gradients(self, inputs: Floats, targets: Floats) -> list[Floats]:
        passed = [inputs]
        for at in range(0, len(self.values), 2):
            sums = passed[-1] @ self.values[at] + self.values[at + 1]
            passed.append(np.maximum(sums, 0) if at < len(self.values) - 2 else sums)
        error: NDArray[np.float32] = (0.5 * (1 + np.tanh(0.5 * passed[-1])) - targets) / len(inputs)
        gradients: list[Floats] = []
        for at in range(len(self.values) - 2, -1, -2):
            source = passed[at // 2]
            gradients[:0] = [source.T @ error, error.sum(axis=0)]
            error = (error @ self.values[at].T) * (source > 0)
        return gradients
