"""The candidate cut's loops against numpy and plain Python, and what its weights file refuses."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.errors import ConfigError
from sedp.stages.cut_kernels import Floats, Integers
from sedp.stages.cut_net import FEATURES, SHARES, CutNet, counts_at, describe, rank
from tests.stages.cut_nets import some_net

FLOATS = st.one_of(
    st.floats(width=32), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0])
)
REQUESTS = st.lists(st.lists(FLOATS, max_size=40), min_size=1, max_size=5)


def joined(requests: list[list[float]]) -> tuple[Floats, Integers]:
    scores = np.array([score for request in requests for score in request], np.float32)
    return scores, np.cumsum([0, *(len(request) for request in requests)], dtype=np.int64)


def describe_twin(request: Floats, top: int) -> list[float]:
    """`describe` of one request, in plain numpy."""
    if not len(request):
        return [0.0] * len(FEATURES)
    finite = np.nan_to_num(np.where(np.isnan(request), -np.inf, request), posinf=1e6, neginf=-1e6)
    falling = np.sort(np.clip(finite, -1e6, 1e6))[::-1].astype(np.float32)
    count, last = len(falling), min(top, len(falling)) - 1
    shares = np.array(SHARES, np.float32).astype(np.float64)
    places = np.clip(np.ceil(shares * count).astype(int), last, count - 1)
    line = falling[last]
    head = [np.log(np.float32(count)), line, falling[0] - line, falling[last // 2] - line]
    return [*head, *(line - falling[places])]


def losses_twin(net: CutNet, features: Floats) -> Floats:
    """`CutNet.losses` as four matrix products."""
    passed = np.clip((features - net.mean) / net.spread, -6, 6)
    for place, (weights, offset) in enumerate(zip(net.weights, net.offsets, strict=True)):
        passed = passed @ weights + offset
        passed = np.maximum(passed, 0) if place < 3 else passed
    with np.errstate(over="ignore"):
        return np.maximum.accumulate(1 / (1 + np.exp(-passed)), axis=1)


def share_twin(losses: Floats, loss_max: float) -> float:
    """The least share by interpolation: losses over rising depth, the uncut request in front."""
    known = np.concatenate([[0.0], losses.astype(np.float64)])
    shares = np.concatenate([[1.0], np.array(SHARES, np.float32)])
    over = np.flatnonzero(known > loss_max)
    if not len(over):
        return float(shares[-1])
    at = over[0]
    part = (loss_max - known[at - 1]) / (known[at] - known[at - 1])
    return float(shares[at - 1] + part * (shares[at] - shares[at - 1]))


@settings(deadline=None)
@given(REQUESTS)
def test_ranks_are_those_of_a_stable_sort(requests: list[list[float]]) -> None:
    scores, splits = joined(requests)
    owners = np.repeat(np.arange(len(requests)), np.diff(splits))
    expected = np.lexsort((-scores, owners)) - splits[owners]
    assert rank(scores, splits).tolist() == expected.tolist()


@settings(deadline=None)
@given(REQUESTS, st.integers(1, 12))
def test_features_equal_those_of_each_request_alone(requests: list[list[float]], top: int) -> None:
    scores, splits = joined(requests)
    features = describe(scores, splits, rank(scores, splits), top)
    expected = [describe_twin(np.array(request, np.float32), top) for request in requests]
    np.testing.assert_allclose(features, np.array(expected), rtol=1e-6, atol=1e-6)
    assert np.isfinite(features).all()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000), st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_the_net_equals_its_matrix_products(seed: int, limits: list[float]) -> None:
    net = some_net(seed=seed)
    rng = np.random.default_rng(seed)
    features = rng.normal(0, 3, (len(limits), len(FEATURES))).astype(np.float32)
    losses = net.losses(features)
    np.testing.assert_allclose(losses, losses_twin(net, features), rtol=1e-3, atol=1e-6)
    assert (np.diff(losses, axis=1) >= 0).all()
    shares = net.shares(features, np.array(limits))
    expected = [share_twin(own, limit) for own, limit in zip(losses, limits, strict=True)]
    np.testing.assert_allclose(shares, expected, rtol=1e-9, atol=1e-12)
    more = net.shares(features, np.array(limits) + 0.1)
    assert (more <= shares).all()


def test_without_any_loss_allowed_nothing_is_cut() -> None:
    features = np.zeros((3, len(FEATURES)), np.float32)
    assert some_net(losses=1e-9).shares(features, np.zeros(3)).tolist() == [1.0] * 3


def test_a_share_is_rounded_up_but_not_by_the_float_it_is() -> None:
    rows = np.array([30, 31, 4, 0])
    assert counts_at(0.1, rows, 2).tolist() == [3, 4, 2, 0]


def test_saved_weights_come_back(tmp_path: Path) -> None:
    net = some_net(seed=1)
    net.save(tmp_path / "net.npz")
    loaded = CutNet.load(tmp_path / "net.npz")
    features = np.ones((2, len(FEATURES)), np.float32)
    assert loaded.losses(features).tolist() == net.losses(features).tolist()
    assert (loaded.score, loaded.top) == (net.score, net.top)


def change(path: Path, **arrays: object) -> None:
    with np.load(path) as file:
        kept = dict(file)
    np.savez(path, **{**kept, **{name: np.asarray(array) for name, array in arrays.items()}})


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"format": 2}, "other features"),
        ({"features": ["x"]}, "other features"),
        ({"weights_1": np.zeros((3, 3), np.float32)}, "its layers are"),
        ({"offset_3": np.zeros(3, np.float32)}, "its layers are"),
        ({"mean": np.full(len(FEATURES), np.nan, np.float32)}, "finite float32"),
        ({"mean": np.zeros(len(FEATURES))}, "finite float32"),
        ({"mean": np.zeros(2, np.float32)}, "its scale does not fit"),
        ({"spread": np.zeros(len(FEATURES), np.float32)}, "spread is not positive"),
        ({"top": 0}, "its scale does not fit"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    tmp_path: Path, arrays: dict[str, object], message: str
) -> None:
    path = tmp_path / "net.npz"
    some_net(seed=1).save(path)
    change(path, **arrays)
    with pytest.raises(ConfigError, match=rf"{message}.*make it anew with: sedp train-cut"):
        CutNet.load(path)


def test_a_lone_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "net.npy", np.zeros(3))
    with pytest.raises(ConfigError, match="make it anew"):
        CutNet.load(tmp_path / "net.npy")


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.npz"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="make it anew"):
        CutNet.load(path)
