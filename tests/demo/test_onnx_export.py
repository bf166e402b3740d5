from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from sedp.columns import Array, Batch
from sedp.demo.dataset import Columns
from sedp.demo.features import Features, read_history
from sedp.demo.impressions import select_weeks
from sedp.demo.model import Model
from sedp.demo.onnx_export import export_model
from sedp.demo.slots import HISTORY_TABLES, ITEM_SLOTS, USER_HISTORY_TABLES, USER_SLOTS, Slot

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def session(model: Model) -> Any:
    return onnxruntime.InferenceSession(export_model(model).SerializeToString())


def embed(model: Model, slots: tuple[Slot, ...], columns: Columns) -> Array:
    return np.stack([model.embedding.find(slot.keys(columns)) for slot in slots], axis=1)


def feed_of(features: Features, model: Model, requests: Batch, columns: Columns) -> dict[str, Any]:
    """The graph's inputs as a server makes them: the user's side once a request."""
    histories = features.freeze_history(47)
    firsts = {name: column[requests.splits[:-1]] for name, column in columns.items()}
    feed = {
        "user_embedding": embed(model, USER_SLOTS, firsts),
        "item_embedding": embed(model, ITEM_SLOTS, columns),
        "owners": requests.owners,
    }
    for table in HISTORY_TABLES:
        source = firsts if table in USER_HISTORY_TABLES else columns
        feed[table.name] = histories[table.name].find(table.keys(source))
    return feed


def test_the_graph_scores_like_training(
    features: Features, model: Model, impressions: Batch, session: Any
) -> None:
    requests, columns = select_weeks(impressions, 48, 53), features.columns(48, 53)
    history = read_history(features.freeze_history(47), columns)
    expected = model.score(columns, history)
    (scores,) = session.run(["score"], feed_of(features, model, requests, columns))
    assert scores.dtype == np.float32
    assert np.abs(scores - expected).max() < TOLERANCE
    assert expected.std() > 0.05  # scores that are all alike would prove nothing


def test_joining_requests_changes_no_score(
    features: Features, model: Model, impressions: Batch, session: Any
) -> None:
    requests, columns = select_weeks(impressions, 48, 53), features.columns(48, 53)
    feed = feed_of(features, model, requests, columns)
    (joined,) = session.run(["score"], feed)
    users = {"user_embedding", *(table.name for table in USER_HISTORY_TABLES)}
    for event in range(0, requests.event_count, 7):
        rows = slice(requests.splits[event], requests.splits[event + 1])
        alone = {
            name: array[event : event + 1] if name in users else array[rows]
            for name, array in feed.items()
        }
        alone["owners"] = np.zeros(rows.stop - rows.start, np.int64)
        assert np.abs(session.run(["score"], alone)[0] - joined[rows]).max() < TOLERANCE


def test_inputs_carry_the_names_and_sizes_that_serving_makes(session: Any) -> None:
    shapes = {node.name: (node.type, node.shape) for node in session.get_inputs()}
    assert shapes == {
        "user_embedding": ("tensor(float)", ["e", 9, 9]),
        "item_embedding": ("tensor(float)", ["n", 8, 9]),
        "household_history": ("tensor(float)", ["e", 3]),
        "product_history": ("tensor(float)", ["n", 5]),
        "type_history": ("tensor(float)", ["n", 5]),
        "household_product": ("tensor(float)", ["n", 3]),
        "household_type": ("tensor(float)", ["n", 3]),
        "owners": ("tensor(int64)", ["n"]),
    }
    assert [(node.name, node.shape) for node in session.get_outputs()] == [("score", ["n"])]


def test_a_saved_model_is_the_same_model(
    tmp_path: Path, model: Model, training_rows: tuple[Columns, NDArray[np.float32]]
) -> None:
    np.savez(tmp_path / "model.npz", allow_pickle=False, **model.arrays())
    loaded = Model.load(tmp_path / "model.npz")
    assert (loaded.score(*training_rows) == model.score(*training_rows)).all()
    assert export_model(loaded).SerializeToString() == export_model(model).SerializeToString()
