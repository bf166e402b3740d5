"""Top-k against Python's own sort, event by event."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.pipeline_checks import PipelineError
from sedp.stages.top_k import TopK
from tests.stages.lone_stage import make_batch, make_stage, run_stage

# Few distinct values, so that ties are the rule; both zeros are equal, NaN equals nothing.
SCORES = st.sampled_from([-math.inf, -1.5, -0.0, 0.0, 1.0, 3e38, math.inf, math.nan])


def sorted_ranks(scores: list[float], k: int) -> list[int]:
    """The places of the best `k`, by a stable sort with every NaN behind."""
    worth = [(1, 0.0) if math.isnan(score) else (0, -score) for score in scores]
    best = sorted(range(len(scores)), key=lambda place: worth[place])
    return (best + [-1] * k)[:k]


def ranks_of(events: list[list[float]], k: int) -> list[list[int]]:
    scores = np.array([score for event in events for score in event], np.float32)
    batch = make_batch([len(event) for event in events], {"score": scores})
    ranks = run_stage(make_stage(TopK, k=k), {"score": "FP32[n]"}, batch)["rank"]
    return [[int(place) for place in row] for row in ranks]


@settings(deadline=None)
@given(events=st.lists(st.lists(SCORES, min_size=1, max_size=8), max_size=6), k=st.integers(1, 10))
def test_ranks_equal_a_sort_of_each_event_alone(events: list[list[float]], k: int) -> None:
    assert ranks_of(events, k) == [sorted_ranks(event, k) for event in events]


@settings(deadline=None)
@given(
    events=st.lists(
        st.lists(st.tuples(SCORES, st.booleans()), min_size=1, max_size=8), min_size=1, max_size=6
    ),
    k=st.integers(1, 10),
)
def test_ranks_among_some_are_their_places_among_all(
    events: list[list[tuple[float, bool]]], k: int
) -> None:
    rows = [row for event in events for row in event]
    columns = {
        "score": np.array([score for score, _ in rows], np.float32),
        "kept": np.array([kept for _, kept in rows]),
    }
    batch = make_batch([len(event) for event in events], columns)
    ranks = make_stage(TopK, k=k, among="kept").process(batch)["rank"]
    for event, row in zip(events, ranks.tolist(), strict=True):
        places = [place for place, (_, kept) in enumerate(event) if kept]
        best = sorted_ranks([event[place][0] for place in places], k)
        assert row == [places[rank] if rank >= 0 else -1 for rank in best]


def test_equal_scores_rank_in_request_order() -> None:
    assert ranks_of([[1.0, 2.0, 2.0, 1.0]], k=4) == [[1, 2, 0, 3]]


def test_nan_ranks_behind_minus_infinity() -> None:
    assert ranks_of([[math.nan, -math.inf, 0.0]], k=3) == [[2, 1, 0]]


def test_fewer_candidates_than_k_leave_minus_one() -> None:
    assert ranks_of([[0.5], [0.1, 0.9, 0.3]], k=2) == [[0, -1], [1, 2]]


def test_columns_carry_the_names_of_the_params() -> None:
    stage = make_stage(TopK, k=1, by="ctr", output="best")
    batch = make_batch([2], {"ctr": np.array([0.1, 0.2], np.float32)})
    result = run_stage(stage, {"ctr": "FP32[n]"}, batch)
    assert result["best"].tolist() == [[1]]


@pytest.mark.parametrize("text", ["FP64[n]", "FP32[1]", "FP32[n, 2]"])
def test_only_one_float_a_candidate_can_be_ranked(text: str) -> None:
    batch = make_batch([1], {"score": np.zeros(1)})
    with pytest.raises(PipelineError, match=r"reads column 'score' as FP32\[n\]"):
        run_stage(make_stage(TopK, k=1), {"score": text}, batch)
