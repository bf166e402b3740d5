"""Candidate cut: under pressure, keep the candidates that a cheap score ranks best.

A request dropped delivers nothing; one whose tail is cut delivers nearly everything, as the tail
would not have been shown. How deep to cut follows from pressure, in two ways that fit together:

- `share`: at least this share of every request is kept, falling in a straight line from all of it
  at pressure `from` to `least` at `to`. Alone, it says how many are kept.
- `learned`: a small net (`sedp.stages.cut_net`) says for each request the least share whose loss of
  quality is within a limit, which rises along the same line from 0 to `loss_max`. A request that
  would lose more than that keeps more than its share.

So nothing is cut below `from`, a higher pressure never keeps more, and no request is ever empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array, Batch, ColumnSpec, Level
from sedp.errors import ConfigError
from sedp.pipeline import PRESSURE
from sedp.stage import Resources, Stage
from sedp.stages.cut_kernels import Floats, Integers, add_weighted, keep_best
from sedp.stages.cut_net import CutNet, counts_at, describe, rank

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Pressure = Annotated[float, msgspec.Meta(ge=0, le=10)]


class CheapScore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ranks the candidates before the costly stages do."""

    column: Annotated[str | None, msgspec.Meta(description="A column, FP32[n].")] = None
    linear: Annotated[
        dict[str, float | list[float]],
        msgspec.Meta(
            description="Instead: a weight for each of several FP32[n] columns; for an FP32[n, k] "
            "column a list of k."
        ),
    ] = {}

    @property
    def text(self) -> str:
        """The same for equal scores, to know what a net was trained for."""
        return msgspec.json.encode(self, order="sorted").decode()

    def requires(self) -> dict[str, ColumnSpec]:
        if self.column is not None:
            return {self.column: ColumnSpec("FP32", Level.ITEM)}
        return {
            name: ColumnSpec("FP32", Level.ITEM, (len(w),) if isinstance(w, list) else ())
            for name, w in self.linear.items()
        }

    def of(self, columns: Mapping[str, Array]) -> Floats:
        """float32[n]: higher is better."""
        if self.column is not None:
            return np.ascontiguousarray(columns[self.column])
        total = np.zeros(len(columns[next(iter(self.linear))]), np.float32)
        for name, weight in self.linear.items():
            own = np.ascontiguousarray(columns[name])
            weights = np.array(weight, np.float32, ndmin=1)
            add_weighted(own if own.ndim > 1 else own[:, np.newaxis], weights, total)
        return total


class FixedShare(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of a request is kept at least, by pressure.

    The cut is a loop with a delay: it shows in the pressure only once what waits behind it is
    worked off. The delay grows with the pressure at which it settles, and so does the swing about
    it; hence `from` and `to` are to be low. Smoothing the pressure would only add to the delay.
    """

    start: Annotated[Pressure, msgspec.Meta(description="Pressure up to which nothing is cut.")] = (
        msgspec.field(default=0.05, name="from")
    )
    to: Annotated[Pressure, msgspec.Meta(description="Pressure from which the cut is deepest.")] = (
        0.2
    )
    least: Annotated[
        Share, msgspec.Meta(description="Share of a request's candidates kept there.")
    ] = 0.1


class Learned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much quality may be lost, and what foresees it."""

    weights: Annotated[
        str,
        msgspec.Meta(
            description="What `sedp train-cut` wrote (.npz); relative to the config file's folder."
        ),
    ]
    loss_max: Annotated[
        float,
        msgspec.Meta(
            ge=0, le=1, description="Loss (1 - NDCG against the full ranking) allowed at `to`."
        ),
    ] = 0.01


class CandidateCut(Stage):
    """Under pressure keeps only the candidates that a cheap score ranks best."""

    class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        score: Annotated[CheapScore, msgspec.Meta(description="Ranks candidates; NaN ranks last.")]
        share: Annotated[
            FixedShare, msgspec.Meta(description="How deep the cut may go, by pressure.")
        ] = FixedShare()
        learned: Annotated[
            Learned | None,
            msgspec.Meta(description="Keeps more of the requests that would lose too much."),
        ] = None
        rows_min: Annotated[
            int,
            msgspec.Meta(ge=1, le=10_000, description="Candidates that are kept in any case."),
        ] = 10
        kept: Annotated[str, msgspec.Meta(description="Column to write, BOOL[n].")] = "kept"
        cut: Annotated[
            str, msgspec.Meta(description="Column to write, BOOL[1]: a candidate was cut.")
        ] = "cut"

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        _check(params)
        self._net: CutNet | None = None

    @property
    def narrows(self) -> str | None:
        name: str = self.params.kept
        return name

    @property
    def degrades(self) -> str | None:
        name: str = self.params.cut
        return name

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {**self.params.score.requires(), PRESSURE: ColumnSpec("FP32", Level.REQUEST)}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {
            self.params.kept: ColumnSpec("BOOL", Level.ITEM),
            self.params.cut: ColumnSpec("BOOL", Level.REQUEST),
        }

    def open(self, resources: Resources) -> None:
        if self.params.learned is None:
            return
        path = resources.base_path / self.params.learned.weights
        self._net = CutNet.load(path)
        if self._net.score != self.params.score.text:
            raise ConfigError(
                f"weights file {path} is for the cheap score {self._net.score}, but `score` is "
                f"{self.params.score.text}; train it anew with: sedp train-cut"
            )

    def process(self, batch: Batch) -> Mapping[str, Array]:
        depth = self._depth(batch[PRESSURE])
        kept = np.ones(batch.row_count, np.bool_)
        cut = np.zeros(batch.event_count, np.bool_)
        if depth.any():
            splits = np.ascontiguousarray(batch.splits, np.int64)
            scores = self.params.score.of(batch.columns)
            order = rank(scores, splits)
            counts = self._counts(depth, scores, splits, order)
            keep_best(order, splits, counts, kept)
            cut = counts < np.diff(splits)
        return {self.params.kept: kept, self.params.cut: cut}

    def _depth(self, pressure: Array) -> NDArray[np.float64]:
        """float64[events]: where each stands between `from`, 0, and `to`, 1."""
        share = self.params.share
        way = (pressure.astype(np.float64) - share.start) / (share.to - share.start)
        depth: NDArray[np.float64] = np.clip(way, 0, 1)
        return depth

    def _counts(
        self, depth: NDArray[np.float64], scores: Floats, splits: Integers, order: Integers
    ) -> Integers:
        """int64[events]: how many candidates of each request are kept."""
        shares = 1 - (1 - self.params.share.least) * depth
        if self._net is not None:
            features = describe(scores, splits, order, self._net.top)
            safe = self._net.shares(features, self.params.learned.loss_max * depth)
            shares = np.maximum(shares, safe)
        return counts_at(shares, np.diff(splits), self.params.rows_min)


def _check(params: Any) -> None:
    score, share = params.score, params.share
    if (score.column is None) == (not score.linear):
        raise ValueError("give either score `column` or score `linear`")
    if not all(np.isfinite(weight).all() for weight in score.linear.values()):
        raise ValueError(f"score `linear` {score.linear} has a weight that is not finite; mend it")
    if any(isinstance(weight, list) and not weight for weight in score.linear.values()):
        raise ValueError("a list of weights in score `linear` is empty; give one an element")
    if share.start >= share.to:
        raise ValueError(
            f"share `from` {share.start} must be below `to` {share.to}; raise `to` or lower `from`"
        )
    if params.kept == params.cut:
        raise ValueError(f"`kept` and `cut` are both {params.kept!r}; give them different names")
