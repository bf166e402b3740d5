"""Training: the compiled loop against a plain numpy twin, and what it must achieve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sedp.columns import Array
from sedp.demo.dataset import Columns
from sedp.demo.factorization_machine import (
    PARTS,
    Parameters,
    TrainingSettings,
    fit,
    number_rows,
    steps,
)
from sedp.demo.features import Features, read_history
from sedp.demo.model import Model
from sedp.demo.slots import SLOTS
from sedp.demo.training import train
from sedp.demo.training_kernel import train_rows
from sedp.simulator.quality import auc, logloss

Floats = NDArray[np.float64]
Rows = tuple[Columns, NDArray[np.float32]]


def adagrad(values: Floats, squares: Floats, gradient: Floats, step: float) -> None:
    squares += gradient**2
    values -= step * gradient / np.sqrt(squares)


def train_rows_twin(
    order: Array,
    indices: Array,
    inputs: Array,
    label: Array,
    values: tuple[Floats, ...],
    squares: tuple[Floats, ...],
    settings: Array,
) -> float:
    """The same steps in float64 numpy, one array expression for each line of mathematics."""
    embedding, hidden, output = values
    embedding_step, dense_step, factor_decay, weight_decay = settings
    loss = 0.0
    for row in order:
        picked = embedding[indices[row]]
        weight, factors = picked[:, 0], picked[:, 1:]
        total = factors.sum(axis=0)
        net = hidden @ inputs[row]
        active = np.append(np.maximum(net, 0), 1)
        logit = weight.sum() + (total @ total - (factors**2).sum()) / 2 + output @ active
        loss += np.log1p(np.exp((1 - 2 * label[row]) * logit))
        error = 1 / (1 + np.exp(-logit)) - label[row]
        gradient = np.empty_like(picked)
        gradient[:, 0] = error + weight_decay * weight
        gradient[:, 1:] = error * (total - factors) + factor_decay * factors
        moved, sums = picked.copy(), squares[0][indices[row]]
        adagrad(moved, sums, gradient, embedding_step)
        embedding[indices[row]], squares[0][indices[row]] = moved, sums
        passed = error * output[:-1] * (net > 0)
        live = net > 0
        new_hidden, new_squares = hidden[live], squares[1][live]
        adagrad(new_hidden, new_squares, np.outer(passed[live], inputs[row]), dense_step)
        hidden[live], squares[1][live] = new_hidden, new_squares
        adagrad(output, squares[2], error * active, dense_step)
    return loss


def test_the_kernel_takes_the_same_steps_as_plain_numpy() -> None:
    rng = np.random.default_rng(5)
    count, rows, history_count = 200, 30, 6
    settings = TrainingSettings(factors=4, hidden_units=5, factor_spread=0.5)
    parameters = Parameters.start(rows, history_count, settings)
    squares = Parameters.squares(parameters, settings)
    # Slots never share a row: each has ten of its own.
    indices = (rng.integers(0, 10, (count, 3)) + np.array([0, 10, 20])).astype(np.int32)
    inputs = rng.normal(size=(count, history_count + 1)).astype(np.float32)
    label = rng.integers(0, 2, count).astype(np.int8)
    order = rng.permutation(count)
    values = (parameters.embedding, parameters.hidden, parameters.output)
    sums = (squares.embedding, squares.hidden, squares.output)
    twin_values = tuple(array.astype(np.float64) for array in values)
    twin_sums = tuple(array.astype(np.float64) for array in sums)
    numbers = steps(replace(settings, factor_decay=0.01, weight_decay=0.02), 0.25)
    loss = train_rows(order, indices, inputs, label, values, sums, numbers)
    twin_loss = train_rows_twin(order, indices, inputs, label, twin_values, twin_sums, numbers)
    assert loss == pytest.approx(twin_loss, rel=1e-5)
    for array, twin in zip((*values, *sums), (*twin_values, *twin_sums), strict=True):
        np.testing.assert_allclose(array, twin, rtol=2e-4, atol=2e-5)


def test_the_loss_falls(training_rows: Rows) -> None:
    columns, history = training_rows
    losses: list[float] = []
    settings = TrainingSettings(embedding_step=0.1, epochs=4)
    label = columns["label"]
    model = fit(columns, history, label, settings, lambda done, total, loss: losses.append(loss))
    first, last = np.mean(losses[:PARTS]), np.mean(losses[-PARTS:])
    assert last < first < 0.7
    assert logloss(label, model.score(columns, history)) < last


def test_progress_is_told_to_the_end(training_rows: Rows) -> None:
    columns, history = training_rows
    told: list[tuple[int, int]] = []
    settings = TrainingSettings(epochs=1)
    fit(
        columns,
        history,
        columns["label"],
        settings,
        lambda done, total, _: told.append((done, total)),
    )
    assert told == [(part, PARTS) for part in range(1, PARTS + 1)]


def test_training_twice_gives_the_same_bits(training_rows: Rows, model: Model) -> None:
    columns, history = training_rows
    settings = TrainingSettings(embedding_step=0.3, epochs=3)
    again = fit(columns, history, columns["label"], settings)
    for name, array in again.arrays().items():
        assert (array == model.arrays()[name]).all(), name


def test_steps_fall_to_nothing() -> None:
    settings = TrainingSettings(embedding_step=0.5, dense_step=0.25)
    assert steps(settings, 0.0)[:2].tolist() == [0.5, 0.25]
    assert steps(settings, 1.0)[:2].tolist() == [0.0, 0.0]


def test_without_steps_the_model_scores_as_it_started(training_rows: Rows) -> None:
    """Folding the scaling of the history into the net must not change a score."""
    columns, history = training_rows
    settings = TrainingSettings(embedding_step=0, dense_step=0, epochs=1)
    losses: list[float] = []
    label = columns["label"]
    model = fit(columns, history, label, settings, lambda done, total, loss: losses.append(loss))
    sizes = [len(part) for part in np.array_split(label, PARTS)]
    mean = np.average(losses, weights=sizes)
    assert logloss(label, model.score(columns, history)) == pytest.approx(mean, rel=1e-5)


def test_rows_are_numbered_by_slot_and_key(training_rows: Rows) -> None:
    columns, _ = training_rows
    keys, indices = number_rows(columns)
    assert len(set(keys.tolist())) == len(keys)
    for at, slot in enumerate(SLOTS):
        assert (keys[indices[:, at]] == slot.keys(columns)).all()


def test_an_unknown_id_adds_nothing(training_rows: Rows, model: Model) -> None:
    columns, history = training_rows
    stranger = {name: np.array([77_777]) for name in columns}
    net = np.maximum(history[:1] @ model.hidden + model.offset, 0) @ model.output
    expected = 1 / (1 + np.exp(-(net + model.bias).astype(np.float64)))
    assert model.score(stranger, history[:1]) == pytest.approx(expected, abs=1e-6)


def test_the_report_judges_weeks_it_was_not_trained_on_with_history_of_their_eve(
    features: Features,
) -> None:
    told: list[float] = []
    model, report = train(features, lambda share, note: told.append(share))
    rows = report["train_rows"]
    for part, weeks in (("valid", (43, 47)), ("test", (48, 53))):
        columns, quality = features.columns(*weeks), report["quality"][part]
        label = columns["label"]
        history = read_history(features.freeze_history(weeks[0] - 1), columns)
        assert quality["auc"] == auc(label, model.score(columns, history))
        assert quality["logloss"] == logloss(label, model.score(columns, history))
        assert quality["auc"] > 0.55  # households do have favourites
        assert quality["base_rate"] == label.mean()
        rows += quality["rows"]
    assert rows == len(features.columns(1, 53)["week"])
    assert report["embedding_rows"] == len(model.embedding.keys)
    assert told == sorted(told)
