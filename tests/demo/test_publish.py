"""The published tables and the recording, read back the way a server does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sedp.columns import Array, Batch, Level
from sedp.demo.dataset import Columns
from sedp.demo.features import Features
from sedp.demo.impressions import select_weeks
from sedp.demo.model import Model, sigmoid
from sedp.demo.publish import collect_tables, publish_tables
from sedp.demo.recording import record_requests
from sedp.demo.slots import (
    HISTORY_TABLES,
    HOUSEHOLD_FEATURES,
    PLACEMENT,
    PRODUCT_FEATURES,
    SLOTS,
    FeatureTable,
)
from sedp.simulator.recording import load_recording
from sedp.storage.store import ParameterStore


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory, features: Features, model: Model
) -> Iterator[ParameterStore]:
    path = tmp_path_factory.mktemp("published") / "store"
    told: list[float] = []
    publish_tables(collect_tables(features, model), path, lambda share, _: told.append(share))
    assert told == sorted(told)
    assert told[-1] == 1
    with ParameterStore.open(path, ram_bytes=1 << 20) as store:
        yield store


@pytest.fixture(scope="module")
def arrays(features: Features, model: Model, impressions: Batch) -> dict[str, Array]:
    return record_requests(impressions, features, model)


def look_up(store: ParameterStore, name: str, keys: NDArray[np.uint64]) -> Array:
    table = store.table(name)
    rows = np.empty((len(keys), table.spec.dim), table.spec.dtype)
    table.lookup(np.ascontiguousarray(keys), rows, np.empty(len(keys), np.bool_))
    return rows


def fetch(store: ParameterStore, table: FeatureTable, columns: Columns) -> dict[str, Array]:
    rows = look_up(store, table.name, table.keys(columns))
    return {name: rows[:, at] for at, name in enumerate(table.columns)}


def score_from_store(store: ParameterStore, model: Model, columns: Columns) -> Array:
    """Only the four columns that a caller sends, the store, and the dense numbers."""
    columns = dict(columns)
    for table in (HOUSEHOLD_FEATURES, PRODUCT_FEATURES, PLACEMENT):
        columns |= fetch(store, table, columns)
    history = np.concatenate(
        [look_up(store, table.name, table.keys(columns)) for table in HISTORY_TABLES], axis=1
    )
    slots = np.stack([look_up(store, "fm", slot.keys(columns)) for slot in SLOTS], axis=1)
    linear, factors = slots[:, :, 0].sum(axis=1), slots[:, :, 1:]
    pairs = (factors.sum(axis=1) ** 2 - (factors**2).sum(axis=1)).sum(axis=1) / 2
    net = np.maximum(history @ model.hidden + model.offset, 0) @ model.output
    return sigmoid(model.bias + linear + pairs + net)


def test_the_store_gives_the_expected_scores(
    store: ParameterStore, model: Model, arrays: dict[str, Array]
) -> None:
    requests = Batch(arrays, arrays["splits"])
    sent = {
        name: requests.at_item_level(name, Level.REQUEST)
        for name in ("household_id", "store_id", "week")
    }
    scores = score_from_store(store, model, {**sent, "product_id": arrays["product_id"]})
    assert np.abs(scores - arrays["expected_score"]).max() < 1e-5


def test_tables_have_the_names_and_forms_that_serving_expects(store: ParameterStore) -> None:
    forms = {spec.name: (spec.dim, spec.dtype) for spec in store.tables()}
    assert forms == {
        "fm": (9, "float32"),
        "household_features": (7, "int32"),
        "product_features": (5, "int32"),
        "placement": (2, "int32"),
        "household_history": (3, "float32"),
        "product_history": (5, "float32"),
        "type_history": (5, "float32"),
        "household_product": (3, "float32"),
        "household_type": (3, "float32"),
    }
    assert store.table("placement").spec.columns == ("display", "mailer")


def test_unknown_keys_read_as_zeros(store: ParameterStore) -> None:
    for spec in store.tables():
        assert not look_up(store, spec.name, np.array([123], np.uint64)).any()


def test_placement_covers_the_served_weeks_and_no_others(
    store: ParameterStore, features: Features
) -> None:
    columns = features.columns(1, 53)
    found = fetch(store, PLACEMENT, columns)
    served = columns["week"] >= 43
    for name, codes in found.items():
        assert (codes == np.where(served, columns[name], 0)).all()


def test_publishing_again_makes_a_new_version(
    tmp_path: Path, features: Features, model: Model
) -> None:
    contents = [entry for entry in collect_tables(features, model) if entry[0].name == "fm"]
    for _ in range(2):
        publish_tables(contents, tmp_path / "store", lambda share, note: None)
    with ParameterStore.open(tmp_path / "store", read_only=True) as store:
        assert store.versions("fm") == (1, 2)


def test_the_recording_is_one_that_replay_reads(
    tmp_path: Path, arrays: dict[str, Array], impressions: Batch
) -> None:
    np.savez(tmp_path / "recording.npz", allow_pickle=False, **arrays)
    recording = load_recording(tmp_path / "recording.npz")
    requests = select_weeks(impressions, 43, 53)
    assert set(recording.columns) == {"household_id", "store_id", "week", "product_id"}
    assert all(column.dtype == np.int64 for column in recording.columns.values())
    assert recording.label is not None
    assert (recording.label == requests["label"]).all()
    assert (recording.splits == requests.splits).all()
    test_weeks = recording.in_weeks(48, 53)
    assert len(test_weeks) == select_weeks(impressions, 48, 53).event_count
