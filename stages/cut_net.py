"""Candidate cut, the net: what cutting a request to each of some depths would cost, by its scores.

Three ReLU layers and a sigmoid, as in the pruning net of JIZHI (Liu et al., KDD 2021, figure 6).
It judges a request by the form of its cheap scores alone: by how much they fall behind the line of
the best `top`. Pressure is no feature: how deep a cut hurts does not depend on the load, only how
much hurt is allowed does. Stored as `.npz` and read with `allow_pickle=False`.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from sedp.columns import Array
from sedp.errors import ConfigError
from sedp.stages.cut_kernels import (
    Floats,
    Integers,
    choose_shares,
    describe_requests,
    predict_losses,
    rank_rows,
)

FORMAT = 1
LAYERS = 4
ROUNDING = 1e-9  # rows; 0.1 of 30 is 3, whatever its float says

# Falling; the deepest is what JIZHI's figure shows as usual.
SHARES = (0.8, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.075, 0.05, 0.035)
FEATURES = (
    "ln(candidates)",
    "score at the line of the best `top`",
    "best score over the line",
    "middle of the best over the line",
    *(f"line over the score behind a share of {share}" for share in SHARES),
)


UNREADABLE = (
    OSError,
    ValueError,
    TypeError,  # a lone array, or arrays of other shapes
    KeyError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)

_SHARES = np.array(SHARES, np.float32)


@dataclass(frozen=True, slots=True)
class CutNet:
    """Trained weights.

    Args:
        score: the cheap score it was trained for, as text; for another it knows nothing.
        top: how many of the best of the full ranking count for quality.
        mean, spread: float32[f] of the features.
        weights: float32[f, a], [a, b], [b, c], [c, g].
        offsets: float32[a], [b], [c], [g].
        report: what was measured on requests it was not trained on, arrays by name.
    """

    score: str
    top: int
    mean: Floats
    spread: Floats
    weights: tuple[Floats, ...]
    offsets: tuple[Floats, ...]
    report: dict[str, Array] = field(default_factory=dict)

    def losses(self, features: Floats) -> Floats:
        """float32[events, g]: the loss expected at each of `SHARES`, 0..1, rising."""
        losses = np.empty((len(features), len(SHARES)), np.float32)
        predict_losses(features, (self.mean, self.spread), self.weights, self.offsets, losses)
        return losses

    def shares(self, features: Floats, loss_max: Array) -> Array:
        """float64[events]: the least share to keep so that a loss ≤ `loss_max` is expected."""
        out = np.empty(len(features))
        choose_shares(self.losses(features), _SHARES, loss_max, out)
        return out

    def save(self, path: Path) -> None:
        """Write it whole to `path`, which ends in .npz."""
        layers = {f"weights_{place}": array for place, array in enumerate(self.weights)}
        layers |= {f"offset_{place}": array for place, array in enumerate(self.offsets)}
        np.savez(
            path,
            allow_pickle=False,
            format=np.array(FORMAT),
            score=np.array(self.score),
            top=np.array(self.top),
            features=np.array(FEATURES),
            shares=_SHARES,
            mean=self.mean,
            spread=self.spread,
            **layers,
            **{f"report_{name}": array for name, array in self.report.items()},
        )

    @classmethod
    def load(cls, path: Path) -> CutNet:
        """Read what `save` wrote.

        Raises:
            ConfigError: no such file, not readable, or made by another version.
        """
        try:
            # Opened here, as numpy leaves a file that it cannot read open.
            with path.open("rb") as file:
                return _built(dict(np.load(file, allow_pickle=False)))
        except FileNotFoundError as err:
            raise ConfigError(
                f"weights file {path} does not exist; make it with: sedp train-cut"
            ) from err
        except UNREADABLE as err:
            raise ConfigError(
                f"weights file {path} is not one that this version reads: {err}; "
                "make it anew with: sedp train-cut"
            ) from err


def rank(scores: Floats, splits: Integers) -> Integers:
    """int64[n]: the places of each request's rows, best first."""
    order = np.empty(len(scores), np.int64)
    rank_rows(scores, splits, order)
    return order


def describe(scores: Floats, splits: Integers, order: Integers, top: int) -> Floats:
    """float32[events, f]: the `FEATURES` of each request."""
    features = np.empty((len(splits) - 1, len(FEATURES)), np.float32)
    describe_requests(scores, splits, order, _SHARES, top, features)
    return features


def counts_at(shares: float | Array, rows: Integers, rows_min: int) -> Integers:
    """int64[events]: how many candidates a share of each request's `rows` is, rounded up.

    Args:
        shares: one for all, or float64[events].
        rows_min: candidates that are kept in any case.
    """
    counts = np.ceil(shares * rows - ROUNDING).astype(np.int64)
    kept: Integers = np.clip(counts, np.minimum(rows_min, rows), rows)
    return kept


def _built(arrays: dict[str, Array]) -> CutNet:
    if arrays["format"] != FORMAT or tuple(arrays["features"]) != FEATURES:
        raise ValueError("it has other features")
    net = CutNet(
        str(arrays["score"]),
        int(arrays["top"]),
        arrays["mean"],
        arrays["spread"],
        tuple(arrays[f"weights_{place}"] for place in range(LAYERS)),
        tuple(arrays[f"offset_{place}"] for place in range(LAYERS)),
        {name[7:]: array for name, array in arrays.items() if name.startswith("report_")},
    )
    widths = [len(FEATURES), *(len(offset) for offset in net.offsets)]
    shapes = list(pairwise(widths))
    if [weights.shape for weights in net.weights] != shapes or widths[-1] != len(SHARES):
        raise ValueError(f"its layers are {[weights.shape for weights in net.weights]}")
    floats = (net.mean, net.spread, *net.weights, *net.offsets)
    if not all(array.dtype == np.float32 and np.isfinite(array).all() for array in floats):
        raise ValueError("its numbers are not all finite float32")
    if net.mean.shape != net.spread.shape or net.mean.shape != (len(FEATURES),) or net.top < 1:
        raise ValueError("its scale does not fit its features")
    if not (net.spread > 0).all():
        raise ValueError("its spread is not positive")
    return net
