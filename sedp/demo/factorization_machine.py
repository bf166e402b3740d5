"""Training of the model: stochastic gradient descent on the log-loss, one impression a step.

Adagrad gives every number its own step, so a product seen twice learns as fast as one seen daily;
the common factor falls to zero over the run, which stands in for stopping early. One thread and a
seeded order: the same data gives the same model. The loop is numba, about 3 µs an impression.
Duchi, Hazan, Singer: Adaptive Subgradient Methods, JMLR 2011.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sedp.demo.dataset import Columns
from sedp.demo.keyed_rows import KeyedRows
from sedp.demo.model import Floats, Model
from sedp.demo.slots import SLOTS
from sedp.demo.training_kernel import train_rows

PARTS = 20  # an epoch's parts: the step falls, and progress is told, after each


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Chosen on weeks 43 to 47, training on weeks 1 to 42.

    Args:
        factors: numbers of an embedding besides its linear weight.
        hidden_units: width of the net over the history.
        epochs: passes over all impressions.
        embedding_step, dense_step: first steps; they fall to 0 in equal parts.
        factor_decay, weight_decay: L2 penalties of factors and linear weights, per impression.
        factor_spread: standard deviation of the first factors.
        embedding_start, dense_start: first sums of squared gradients; large ones slow the start.
    """

    factors: int = 8
    hidden_units: int = 16
    epochs: int = 2
    embedding_step: float = 0.02
    dense_step: float = 0.1
    factor_decay: float = 1e-4
    weight_decay: float = 1e-5
    factor_spread: float = 0.02
    embedding_start: float = 0.1
    dense_start: float = 1.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the kernel changes in place: numbers and, alike in shape, their sums of squares.

    Args:
        embedding: float32[r, 1 + k].
        hidden: float32[h, m + 1], the last column for the constant 1.
        output: float32[h + 1], the last number is the bias.
    """

    embedding: Floats
    hidden: Floats
    output: Floats

    @classmethod
    def start(cls, rows: int, history_count: int, settings: TrainingSettings) -> Parameters:
        """Linear weights, biases and the net's output at 0, the rest small and random."""
        rng = np.random.default_rng(settings.seed)
        embedding = rng.normal(0, settings.factor_spread, (rows, 1 + settings.factors))
        embedding[:, 0] = 0
        hidden = rng.normal(0, history_count**-0.5, (settings.hidden_units, history_count + 1))
        hidden[:, -1] = 0
        output = rng.normal(0, settings.hidden_units**-0.5, settings.hidden_units + 1)
        output[-1] = 0
        return cls(*(array.astype(np.float32) for array in (embedding, hidden, output)))

    @classmethod
    def squares(cls, like: Parameters, settings: TrainingSettings) -> Parameters:
        """The first sums of squared gradients."""
        return cls(
            np.full_like(like.embedding, settings.embedding_start),
            np.full_like(like.hidden, settings.dense_start),
            np.full_like(like.output, settings.dense_start),
        )


def fit(
    columns: Columns,
    history: Floats,
    label: NDArray[np.int8],
    settings: TrainingSettings | None = None,
    on_part: Callable[[int, int, float], None] = lambda done, total, loss: None,
) -> Model:
    """Train a model.

    Args:
        columns: the columns of all slots, n rows each.
        history: float32[n, m].
        label: int8[n], 0 or 1.
        on_part: called with parts done, parts in all and the mean log-loss of the last part.
    """
    settings = settings or TrainingSettings()
    keys, indices = number_rows(columns)
    mean, spread = history.mean(axis=0), history.std(axis=0) + np.float32(1e-6)
    inputs = np.ones((len(history), history.shape[1] + 1), np.float32)
    inputs[:, :-1] = (history - mean) / spread
    parameters = Parameters.start(len(keys), history.shape[1], settings)
    squares = Parameters.squares(parameters, settings)
    rng = np.random.default_rng(settings.seed)
    total = settings.epochs * PARTS
    for epoch in range(settings.epochs):
        for part, order in enumerate(np.array_split(rng.permutation(len(label)), PARTS)):
            done = epoch * PARTS + part
            loss = train_rows(
                order,
                indices,
                inputs,
                label,
                (parameters.embedding, parameters.hidden, parameters.output),
                (squares.embedding, squares.hidden, squares.output),
                steps(settings, done / total),
            )
            on_part(done + 1, total, loss / max(len(order), 1))
    return unscale(parameters, keys, mean, spread)


def number_rows(columns: Columns) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """The keys of all slots, uint64[r], and which one each impression has: int32[n, slots]."""
    keys, indices, count = [], [], 0
    for slot in SLOTS:
        slot_keys, index = np.unique(slot.keys(columns), return_inverse=True)
        keys.append(slot_keys)
        indices.append((index + count).astype(np.int32))
        count += len(slot_keys)
    return np.concatenate(keys), np.stack(indices, axis=1)


def steps(settings: TrainingSettings, progress: float) -> Floats:
    """float32[4]: embedding step, dense step, factor decay, weight decay at `progress` in 0..1."""
    left = 1 - progress
    return np.array(
        [
            left * settings.embedding_step,
            left * settings.dense_step,
            settings.factor_decay,
            settings.weight_decay,
        ],
        np.float32,
    )


def unscale(
    parameters: Parameters, keys: NDArray[np.uint64], mean: Floats, spread: Floats
) -> Model:
    """Fold the scaling of the history into the net's first layer, so that it reads tables as is."""
    hidden: Floats = parameters.hidden[:, :-1] / spread
    offset: Floats = parameters.hidden[:, -1] - (hidden @ mean).astype(np.float32)
    return Model(
        embedding=KeyedRows.from_unsorted(keys, parameters.embedding),
        hidden=np.ascontiguousarray(hidden.T),
        offset=offset,
        output=parameters.output[:-1].copy(),
        bias=parameters.output[-1:],
    )
