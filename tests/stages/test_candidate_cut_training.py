"""What a cut loses, by hand; what is learned of it, on requests made so that it can be known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.columns import Batch, ColumnSpec, Level, TensorSpec
from sedp.errors import ConfigError
from sedp.pipeline import StageUse, compile_pipeline
from sedp.stage import Stage
from sedp.stages.candidate_cut import CandidateCut
from sedp.stages.cut_logs import find_cut, score_requests
from sedp.stages.cut_net import SHARES, rank
from sedp.stages.cut_quality import best_places, losses
from sedp.stages.cut_training import (
    LIMITS,
    CutTraining,
    ScoredRequests,
    fit_linear,
    judge_cut,
    train_cut,
)
from sedp.stages.top_k import TopK
from tests.stages.lone_stage import make_batch, make_stage

SCORES = st.integers(-3, 3).map(float)
REQUESTS = st.lists(
    st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=12), min_size=1, max_size=4
)


def ndcg_by_hand(cheap: list[float], full: list[float], count: int, top: int) -> float:
    places = range(len(full))
    ideal = sorted(places, key=lambda place: -full[place])
    worth = {place: max(top - at, 0) for at, place in enumerate(ideal)}
    kept = sorted(places, key=lambda place: -cheap[place])[:count]
    shown = [place for place in ideal if place in kept][:top]

    def gain(ranking: list[int]) -> float:
        return sum(worth[place] / math.log2(at + 2) for at, place in enumerate(ranking[:top]))

    return gain(shown) / gain(ideal)


@settings(deadline=None)
@given(REQUESTS, st.integers(1, 5), st.integers(0, 12))
def test_losses_are_those_of_ndcg_by_hand(
    requests: list[list[tuple[float, float]]], top: int, count: int
) -> None:
    cheap, full = (
        np.array([pair[side] for request in requests for pair in request], np.float32)
        for side in (0, 1)
    )
    rows = np.array([len(request) for request in requests])
    splits = np.concatenate([[0], np.cumsum(rows)])
    places = best_places(full, rank(cheap, splits), splits, top)
    found = losses(places, rows, np.minimum(count, rows))
    expected = [
        1 - ndcg_by_hand([c for c, _ in request], [f for _, f in request], count, top)
        for request in requests
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def made_requests(seed: int, count: int = 400) -> ScoredRequests:
    """Half of the requests have a cheap score that is the full one, half one that knows little.

    The spread of the cheap scores tells them apart.
    """
    rng = np.random.default_rng(seed)
    rows = rng.integers(60, 200, count)
    splits = np.concatenate([[0], np.cumsum(rows)])
    good = np.repeat(rng.random(count) < 0.5, rows)
    full = rng.normal(size=splits[-1]).astype(np.float32)
    vague = 0.3 * full + rng.normal(size=splits[-1]) * 0.5
    return ScoredRequests(np.where(good, 4 * full, vague).astype(np.float32), full, splits)


@pytest.mark.slow
def test_the_net_cuts_where_it_costs_nothing() -> None:
    settings = CutTraining(epochs=30)
    net = train_cut("score", made_requests(1), settings)
    report = judge_cut(net, made_requests(2), settings.rows_min).report
    at = LIMITS.index(0.02)
    assert report["learned_loss"][at] < 0.03
    same = np.interp(report["learned_share"][at], SHARES[::-1], report["share_loss"][::-1])
    assert report["learned_loss"][at] < 0.7 * same, "no better than one share for all"


def test_the_same_seed_trains_the_same_net() -> None:
    nets = [train_cut("score", made_requests(1, 20), CutTraining(epochs=2)) for _ in range(2)]
    assert all(
        (one == two).all() for one, two in zip(nets[0].weights, nets[1].weights, strict=True)
    )


def test_one_request_is_enough_to_train() -> None:
    net = train_cut("score", made_requests(1, 1), CutTraining(epochs=1))
    assert all(np.isfinite(weights).all() for weights in net.weights)


def test_fitted_weights_find_the_columns_that_rank() -> None:
    rng = np.random.default_rng(1)
    columns = rng.normal(size=(600, 3)).astype(np.float32)
    splits = np.array([0, 250, 250, 600])
    full = np.exp(columns @ np.array([1, -2, 0], np.float32))
    full[:250] += 100  # a request's own level ranks nothing
    weights = fit_linear(columns, full, splits)
    assert abs(weights[1] / weights[0] + 2) < 0.2
    assert abs(weights[2] / weights[0]) < 0.1


class Doubling(Stage):
    """The full score of these tests."""

    @property
    def requires(self) -> dict[str, ColumnSpec | None]:
        return {"cheap": ColumnSpec("FP32", Level.ITEM), "kept": None}

    def provides(self, inputs: object) -> dict[str, ColumnSpec]:
        return {"score": ColumnSpec("FP32", Level.ITEM)}

    def process(self, batch: Batch) -> dict[str, np.ndarray]:
        assert batch["kept"].all()
        return {"score": 2 * batch["cheap"]}


def test_both_scores_are_read_from_the_pipeline_without_weights() -> None:
    learned = {"weights": "not-there.npz"}
    cut = make_stage(CandidateCut, score={"column": "cheap"}, learned=learned)
    uses = {
        "cut": StageUse(cut),
        "score": StageUse(Doubling(None)),
        "rank": StageUse(make_stage(TopK, k=2, among="kept")),
    }
    inputs, outputs = {"cheap": TensorSpec.parse("FP32[n]")}, {"rank": TensorSpec.parse("INT32[2]")}
    pipeline = compile_pipeline("lone", inputs, outputs, uses)
    assert find_cut(pipeline) == ("cut", cut)
    batches = [make_batch([2, 1], {"cheap": np.array([1, 2, 3], np.float32)})] * 2
    requests, used = score_requests(pipeline, batches, "score")
    assert requests.cheap.tolist() == [1, 2, 3] * 2
    assert requests.full.tolist() == [2, 4, 6] * 2
    assert requests.splits.tolist() == [0, 2, 3, 5, 6]
    assert used.keys() == {"cheap"}
    with pytest.raises(ConfigError, match="no stage provides a column 'rank' of type FP32"):
        score_requests(pipeline, batches, "rank")


def test_a_pipeline_without_a_cut_is_refused(tmp_path: Path) -> None:
    uses = {"rank": StageUse(make_stage(TopK, k=2))}
    inputs = {"score": TensorSpec.parse("FP32[n]")}
    pipeline = compile_pipeline("lone", inputs, {"rank": TensorSpec.parse("INT32[2]")}, uses)
    with pytest.raises(ConfigError, match="has 0 stages of kind 'candidate_cut'"):
        find_cut(pipeline)
