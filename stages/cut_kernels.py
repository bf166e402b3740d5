"""Candidate cut, the loops: ranking, describing and cutting the ragged rows of a whole batch.

Request `i` owns rows `splits[i]:splits[i + 1]`; `order` holds, in the same rows, the request's own
places (from 0), best first. Scores rank as in `top_k`: falling, ties in request order, NaN last.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sedp.kernel import inlined, kernel

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

SCORE_MAX = np.float32(1e6)  # what is beyond, or NaN, tells a net no more than that
FEATURE_MAX = np.float32(6.0)  # standard deviations; a net is not asked about farther requests
SIGN = np.uint32(1 << 31)


@inlined
def rank_key(score: np.float32) -> np.uint32:
    """A number that rises as the score falls; equal for both zeros, the greatest for NaN."""
    if score != score:
        return np.uint32(0xFFFFFFFF)
    bits = np.float32(score + np.float32(0)).view(np.uint32)  # -0.0 + 0.0 is 0.0
    return bits if bits & SIGN else np.uint32(~bits & np.uint32(0x7FFFFFFF))


@kernel(
    "void(Array(float32, 2, 'C', readonly=True), Array(float32, 1, 'C', readonly=True), "
    "float32[::1])"
)
def add_weighted(columns: Floats, weights: Floats, scores: Floats) -> None:
    """Add to `scores`, float32[n], what `weights`, float32[k], make of float32[n, k]."""
    for row in range(len(columns)):
        own = np.float32(0)
        for place in range(len(weights)):
            own += columns[row, place] * weights[place]
        scores[row] += own


@kernel(
    "void(Array(float32, 1, 'C', readonly=True), Array(int64, 1, 'C', readonly=True), int64[::1])"
)
def rank_rows(scores: Floats, splits: Integers, order: Integers) -> None:
    """Fill `order`, int64[n]."""
    keys = np.empty(len(scores), np.uint64)
    for event in range(len(splits) - 1):
        first, stop = splits[event], splits[event + 1]
        for row in range(first, stop):
            # The place below the key makes every key different, and the sort as good as stable.
            keys[row] = np.uint64(rank_key(scores[row])) << np.uint64(32) | np.uint64(row - first)
        keys[first:stop].sort()
        for row in range(first, stop):
            order[row] = np.int64(keys[row] & np.uint64(0xFFFFFFFF))


@inlined
def bounded(score: np.float32) -> np.float32:
    """A finite score; NaN counts as the lowest, as it ranks."""
    if score != score:
        return -SCORE_MAX
    return min(max(score, -SCORE_MAX), SCORE_MAX)


@kernel(
    "void(Array(float32, 1, 'C', readonly=True), Array(int64, 1, 'C', readonly=True), "
    "Array(int64, 1, 'C', readonly=True), Array(float32, 1, 'C', readonly=True), int64, "
    "float32[:, ::1])"
)
def describe_requests(
    scores: Floats, splits: Integers, order: Integers, shares: Floats, top: int, out: Floats
) -> None:
    """Fill `out`, float32[events, 4 + shares], with what `sedp.stages.cut_net.FEATURES` says.

    Args:
        shares: float32[g], the depths that the net judges, falling, each in 0..1.
        top: how many of the best count for quality, ≥ 1.
    """
    for event in range(len(splits) - 1):
        first, count = splits[event], splits[event + 1] - splits[event]
        out[event] = 0
        if count == 0:
            continue
        last = min(top, count) - 1
        line = bounded(scores[first + order[first + last]])
        out[event, 0] = np.log(np.float32(count))
        out[event, 1] = line
        out[event, 2] = bounded(scores[first + order[first]]) - line
        out[event, 3] = bounded(scores[first + order[first + last // 2]]) - line
        for depth in range(len(shares)):
            place = min(max(np.int64(np.ceil(shares[depth] * count)), last), count - 1)
            out[event, 4 + depth] = line - bounded(scores[first + order[first + place]])


@inlined
def run_layer(inputs: Floats, weights: Floats, offset: Floats, out: Floats) -> None:
    """`out = inputs @ weights + offset`, in an order of sums that compiles to vectors."""
    out[:] = offset
    for place in range(len(inputs)):
        if inputs[place] != 0:  # half of what a ReLU passes on
            for unit in range(len(offset)):
                out[unit] += inputs[place] * weights[place, unit]


@kernel(
    "void(Array(float32, 2, 'C', readonly=True), "
    "UniTuple(Array(float32, 1, 'C', readonly=True), 2), "
    "UniTuple(Array(float32, 2, 'C', readonly=True), 4), "
    "UniTuple(Array(float32, 1, 'C', readonly=True), 4), float32[:, ::1])"
)
def predict_losses(
    features: Floats,
    scale: tuple[Floats, Floats],
    weights: tuple[Floats, ...],
    offsets: tuple[Floats, ...],
    losses: Floats,
) -> None:
    """Fill `losses`, float32[events, g]: three ReLU layers and a sigmoid, rising along g.

    Args:
        features: float32[events, f].
        scale: mean and spread of the features, float32[f] each.
        weights: float32[f, a], float32[a, b], float32[b, c], float32[c, g].
        offsets: float32[a], [b], [c], [g].
    """
    inputs = np.empty(features.shape[1], np.float32)
    first = np.empty(len(offsets[0]), np.float32)
    second = np.empty(len(offsets[1]), np.float32)
    third = np.empty(len(offsets[2]), np.float32)
    for event in range(len(features)):
        for place in range(len(inputs)):
            value = (features[event, place] - scale[0][place]) / scale[1][place]
            inputs[place] = min(max(value, -FEATURE_MAX), FEATURE_MAX)
        run_layer(inputs, weights[0], offsets[0], first)
        run_layer(np.maximum(first, np.float32(0)), weights[1], offsets[1], second)
        run_layer(np.maximum(second, np.float32(0)), weights[2], offsets[2], third)
        run_layer(np.maximum(third, np.float32(0)), weights[3], offsets[3], losses[event])
        worst = np.float32(0)  # a deeper cut never loses less
        for depth in range(losses.shape[1]):
            logit = losses[event, depth]
            worst = max(worst, np.float32(1) / (np.float32(1) + np.exp(-logit)))
            losses[event, depth] = worst


@kernel(
    "void(Array(float32, 2, 'C', readonly=True), Array(float32, 1, 'C', readonly=True), "
    "Array(float64, 1, 'C', readonly=True), float64[::1])"
)
def choose_shares(
    losses: Floats, shares: Floats, loss_max: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    """Fill `out`, float64[events], with the least share whose loss is within `loss_max`.

    Between two depths the loss counts as a straight line, which is more than it is.

    Args:
        losses: float32[events, g], rising along g.
        shares: float32[g], falling.
        loss_max: float64[events], ≥ 0.
    """
    for event in range(len(losses)):
        share, loss = 1.0, 0.0
        for depth in range(len(shares)):
            next_share, next_loss = np.float64(shares[depth]), np.float64(losses[event, depth])
            if next_loss > loss_max[event]:
                share -= (share - next_share) * (loss_max[event] - loss) / (next_loss - loss)
                break
            share, loss = next_share, next_loss
        out[event] = share


@kernel(
    "void(Array(int64, 1, 'C', readonly=True), Array(int64, 1, 'C', readonly=True), "
    "Array(int64, 1, 'C', readonly=True), boolean[::1])"
)
def keep_best(order: Integers, splits: Integers, counts: Integers, kept: NDArray[np.bool_]) -> None:
    """Set `kept`, bool[n], for the best `counts[i]` rows of request `i` and for no others."""
    kept[:] = False
    for event in range(len(splits) - 1):
        first = splits[event]
        for row in range(first, first + counts[event]):
            kept[first + order[row]] = True
