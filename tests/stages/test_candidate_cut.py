"""Candidate cut against a plain Python model, request by request."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.columns import TensorSpec
from sedp.errors import ConfigError
from sedp.operator import Operator
from sedp.payload import Moment, Payload
from sedp.pipeline import PRESSURE, StageUse, compile_pipeline
from sedp.stage import Resources
from sedp.stages.candidate_cut import CandidateCut, CheapScore
from sedp.stages.top_k import TopK
from tests.stages.cut_nets import some_net
from tests.stages.lone_stage import make_batch, make_stage

SCORES = st.sampled_from([-math.inf, -1.5, -0.0, 0.0, 1.0, 3e38, math.inf, math.nan])
EVENTS = st.lists(
    st.tuples(st.lists(SCORES, max_size=30), st.floats(0, 2, width=32)), min_size=1, max_size=6
)
LINEAR = {"linear": {"popular": 2.0, "history": [1.0, -1.0]}}


def make_cut(**params: Any) -> CandidateCut:
    return make_stage(CandidateCut, **({"score": {"column": "cheap"}} | params))


def opened(stage: CandidateCut, folder: Path = Path()) -> CandidateCut:
    stage.open(Resources(folder))
    return stage


def run_cut(
    stage: CandidateCut, events: list[tuple[list[float], float]]
) -> tuple[list[list[bool]], list[bool]]:
    """What is kept of each event, and whether any was cut."""
    scores = np.array([score for event, _ in events for score in event], np.float32)
    pressure = np.array([pressure for _, pressure in events], np.float32)
    batch = make_batch([len(event) for event, _ in events], {"cheap": scores, PRESSURE: pressure})
    result = stage.process(batch)
    ends = batch.splits.tolist()
    kept = [result["kept"][first:stop].tolist() for first, stop in pairwise(ends)]
    return kept, result["cut"].tolist()


def kept_by_hand(
    scores: list[float], pressure: float, start: float, to: float, least: float, rows_min: int
) -> list[bool]:
    depth = min(max((pressure - start) / (to - start), 0.0), 1.0)
    count = math.ceil((1 - (1 - least) * depth) * len(scores) - 1e-9)
    count = min(max(count, rows_min), len(scores))
    worth = [(1, 0.0) if math.isnan(score) else (0, -score) for score in scores]
    best = sorted(range(len(scores)), key=lambda place: worth[place])[:count]
    return [place in best for place in range(len(scores))]


@settings(deadline=None)
@given(EVENTS, st.integers(1, 12), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_the_fixed_share_keeps_what_a_sort_of_each_event_keeps(
    events: list[tuple[list[float], float]], rows_min: int, least: float
) -> None:
    stage = make_cut(share={"from": 0.5, "to": 1.0, "least": least}, rows_min=rows_min)
    kept, cut = run_cut(stage, events)
    expected = [
        kept_by_hand(scores, pressure, 0.5, 1.0, least, rows_min) for scores, pressure in events
    ]
    assert kept == expected
    assert cut == [not all(event) for event in expected]


@settings(deadline=None)
@given(EVENTS, st.floats(0, 1.5), st.booleans())
def test_more_pressure_never_keeps_more_and_never_empties_a_request(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[tuple[list[float], float]],
    more: float,
    learned: bool,
) -> None:
    stage = make_cut(rows_min=1)
    if learned:
        folder = tmp_path_factory.getbasetemp()
        some_net(seed=3).save(folder / "net.npz")
        params = {"weights": "net.npz", "loss_max": 0.5}
        stage = opened(make_cut(learned=params, rows_min=1), folder)
    loose, _ = run_cut(stage, events)
    tight, _ = run_cut(stage, [(scores, pressure + more) for scores, pressure in events])
    for before, after in zip(loose, tight, strict=True):
        assert all(kept for kept, now in zip(before, after, strict=True) if now)
        assert any(after) or not after


@settings(deadline=None)
@given(EVENTS)
def test_events_are_cut_in_a_batch_as_they_are_alone(
    events: list[tuple[list[float], float]],
) -> None:
    stage = make_cut(rows_min=2)
    kept, cut = run_cut(stage, events)
    alone = [run_cut(stage, [event]) for event in events]
    assert kept == [event[0] for event, _ in alone]
    assert cut == [event[0] for _, event in alone]


def test_nothing_is_cut_at_low_pressure() -> None:
    kept, cut = run_cut(make_cut(), [([float(place) for place in range(100)], 0.05)])
    assert kept == [[True] * 100]
    assert cut == [False]


def test_a_linear_score_weighs_scalar_and_vector_columns(tmp_path: Path) -> None:
    stage = make_stage(CandidateCut, score=LINEAR, rows_min=1, share={"least": 0.0})
    columns = {
        "popular": np.array([1, 2, 3], np.float32),
        "history": np.array([[5, 0], [0, 5], [0, 0]], np.float32),
        PRESSURE: np.array([2], np.float32),
    }
    assert stage.process(make_batch([3], columns))["kept"].tolist() == [True, False, False]


def test_a_request_that_would_lose_more_keeps_more_than_its_share(tmp_path: Path) -> None:
    some_net(losses=0.9).save(tmp_path / "careful.npz")
    some_net(losses=0.0).save(tmp_path / "bold.npz")
    shares = {}
    for name in ("careful", "bold"):
        learned = {"weights": f"{name}.npz", "loss_max": 0.01}
        stage = opened(make_cut(learned=learned, share={"least": 0.2}), tmp_path)
        kept, _ = run_cut(stage, [([float(place) for place in range(100)], 1.0)])
        shares[name] = sum(kept[0])
    assert shares == {"careful": 100, "bold": 20}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"score": {}}, "either score `column` or score `linear`"),
        ({"score": {"column": "a", "linear": {"b": 1.0}}}, "either score"),
        ({"score": {"linear": {"b": math.nan}}}, "not finite"),
        ({"score": {"linear": {"b": []}}}, "empty"),
        ({"share": {"from": 0.9, "to": 0.9}}, "`from` 0.9 must be below `to` 0.9"),
        ({"kept": "x", "cut": "x"}, "are both 'x'"),
    ],
)
def test_params_that_cannot_work_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_cut(**params)


def test_weights_for_another_score_are_refused(tmp_path: Path) -> None:
    some_net(score="another").save(tmp_path / "net.npz")
    with pytest.raises(ConfigError, match=r"is for the cheap score another.*sedp train-cut"):
        opened(make_cut(learned={"weights": "net.npz"}), tmp_path)


def test_missing_weights_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist; make it with: sedp train-cut"):
        opened(make_cut(learned={"weights": "net.npz"}), tmp_path)


def test_ranks_behind_a_cut_are_places_in_the_whole_request() -> None:
    uses = {
        "cut": StageUse(make_cut(share={"least": 0.0}, rows_min=2)),
        "rank": StageUse(make_stage(TopK, k=3, by="full", among="kept")),
    }
    inputs = {name: TensorSpec.parse("FP32[n]") for name in ("cheap", "full")}
    outputs = {"rank": TensorSpec.parse("INT32[3]")}
    pipeline = compile_pipeline("lone", inputs, outputs, uses)
    columns = {
        "cheap": np.array([0, 3, 1, 2, 5, 6], np.float32),
        "full": np.array([9, -7, 8, -6, -2, -1], np.float32),
    }
    batch = make_batch([4, 2], columns)
    payloads = [Payload(batch, 2), Payload(batch, 2)]
    payloads[0].rows, payloads[1].rows = 4, 2
    for place, payload in enumerate(payloads):
        payload.places[0] = (batch, place)
    for position, stage in enumerate(pipeline.stages):
        Operator(stage, position).run(payloads, Moment(pressure=2000))
    chunk, _ = payloads[0].places[2] or (batch, 0)
    assert chunk["rank"].tolist() == [[3, 1, -1], [1, 0, -1]]
    assert [payload.degraded for payload in payloads] == [("cut",), ()]


def test_it_says_what_it_narrows_and_what_marks_an_answer_degraded() -> None:
    stage = make_cut(kept="stays", cut="shorter")
    assert (stage.narrows, stage.degrades) == ("stays", "shorter")


@given(st.integers(0, 40), st.integers(1, 12), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_linear_score_is_the_sum_of_weighted_elements_one_after_the_other(
    rows: int, elements: int, strided: bool, seed: int
) -> None:
    dice = np.random.default_rng(seed)
    whole = dice.normal(size=(rows, elements + 1)).astype(np.float32)
    vector, scalar = whole[:, :elements], whole[:, elements]
    if not strided:
        vector, scalar = np.ascontiguousarray(vector), np.ascontiguousarray(scalar)
    weights = dice.normal(size=elements).tolist()
    expected = np.zeros(rows, np.float32)
    for element, weight in enumerate(weights):
        expected += vector[:, element] * np.float32(weight)
    expected += scalar * np.float32(0.5)
    score = CheapScore(linear={"vector": weights, "scalar": 0.5})
    assert np.array_equal(score.of({"vector": vector, "scalar": scalar}), expected)
