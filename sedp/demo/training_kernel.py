"""The training loop over impressions, compiled.

Every step computes the score of one impression, then moves each number it used against its
gradient. Kept to arrays and tuples of arrays, so that the test's plain numpy twin reads the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.demo.model import Floats
from sedp.kernel import inlined, kernel

Triple = tuple[Floats, Floats, Floats]


@inlined
def adagrad(values: Floats, squares: Floats, at: int, gradient: float, step: float) -> None:
    """Move one number by its own share of the step."""
    squares[at] += gradient * gradient
    values[at] -= step * gradient / np.sqrt(squares[at])


@inlined
def sum_slots(index: NDArray[np.int32], embedding: Floats, sums: Floats) -> float:
    """Fill `sums` with the sum of the slots' rows; return linear terms plus all pairs."""
    sums[:] = 0
    squares = np.float32(0)
    for row in index:
        for j in range(sums.size):
            value = embedding[row, j]
            sums[j] += value
            if j > 0:
                squares += value * value
    pairs = np.float32(0)
    for j in range(1, sums.size):
        pairs += sums[j] * sums[j]
    return float(sums[0] + np.float32(0.5) * (pairs - squares))


@inlined
def run_net(inputs: Floats, hidden: Floats, output: Floats, activations: Floats) -> float:
    """Fill `activations`, the last one with the constant 1; return the net's output with bias."""
    activations[-1] = 1
    total = output[-1]
    for unit in range(hidden.shape[0]):
        value = np.float32(0)
        for j in range(inputs.size):
            value += hidden[unit, j] * inputs[j]
        activations[unit] = max(value, np.float32(0))
        total += output[unit] * activations[unit]
    return float(total)


@inlined
def move_slots(
    index: NDArray[np.int32],
    sums: Floats,
    error: float,
    embedding: Floats,
    squares: Floats,
    settings: Floats,
) -> None:
    """One step of every slot's row; slots that share a row move it one after the other."""
    for row in index:
        gradient = error + settings[3] * embedding[row, 0]
        adagrad(embedding[row], squares[row], 0, gradient, settings[0])
        for j in range(1, sums.size):
            value = embedding[row, j]
            gradient = error * (sums[j] - value) + settings[2] * value
            adagrad(embedding[row], squares[row], j, gradient, settings[0])


@inlined
def move_net(
    inputs: Floats,
    activations: Floats,
    error: float,
    values: Triple,
    squares: Triple,
    step: float,
) -> None:
    """One step of both layers; a unit at 0 passes no gradient."""
    hidden, output = values[1], values[2]
    for unit in range(hidden.shape[0]):
        if activations[unit] > 0:
            passed = error * output[unit]
            for j in range(inputs.size):
                adagrad(hidden[unit], squares[1][unit], j, passed * inputs[j], step)
    for unit in range(output.size):
        adagrad(output, squares[2], unit, error * activations[unit], step)


@kernel(
    "float64(Array(int64, 1, 'C', readonly=True), Array(int32, 2, 'C', readonly=True), "
    "Array(float32, 2, 'C', readonly=True), Array(int8, 1, 'C', readonly=True), "
    "Tuple((float32[:, ::1], float32[:, ::1], float32[::1])), "
    "Tuple((float32[:, ::1], float32[:, ::1], float32[::1])), "
    "Array(float32, 1, 'C', readonly=True))"
)
def train_rows(
    order: NDArray[np.int64],
    indices: NDArray[np.int32],
    inputs: Floats,
    label: NDArray[np.int8],
    values: Triple,
    squares: Triple,
    settings: Floats,
) -> Any:
    """One step for each impression in `order`; changes `values` and `squares` in place.

    Args:
        order: int64[o], rows to visit.
        indices: int32[n, slots], rows of the embedding.
        inputs: float32[n, m + 1], scaled history and a last column of ones.
        label: int8[n].
        values: float32[r, 1 + k], float32[h, m + 1], float32[h + 1].
        squares: sums of squared gradients, of the same shapes.
        settings: float32[4], see `factorization_machine.steps`.

    Returns:
        The sum of the log-losses, each taken before its step.
    """
    embedding, hidden, output = values
    sums = np.empty(embedding.shape[1], np.float32)
    activations = np.empty(output.size, np.float32)
    loss = 0.0
    for row in order:
        logit = sum_slots(indices[row], embedding, sums)
        logit += run_net(inputs[row], hidden, output, activations)
        sign = np.float32(1 - 2 * label[row])
        loss += np.log1p(np.exp(sign * logit))
        error = np.float32(1) / (np.float32(1) + np.exp(-logit)) - label[row]
        move_slots(indices[row], sums, error, embedding, squares[0], settings)
        move_net(inputs[row], activations, error, values, squares, settings[1])
    return loss
