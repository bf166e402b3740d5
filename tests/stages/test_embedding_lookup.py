"""Embedding look-up over a store of plain dicts: slots, levels, and how often it asks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.columns import Array, Batch, Level
from sedp.errors import ConfigError
from sedp.stages.embedding_lookup import EmbeddingLookup
from sedp.storage.rows.keys import combine, salt_of
from tests.stages.dict_store import DictStore, DictTable
from tests.stages.lone_stage import column_types, make_batch, make_stage, run_stage

DIM = 3
TYPES = {"user": "INT64[1]", "hour": "INT32[1]", "item": "INT64[n]"}
SLOTS = {
    "item": ["item"],
    "user": ["user"],
    "hour_item": ["hour", "item"],
    "user_hour": ["user", "hour"],
}
BATCH = make_batch(
    [3, 2], {"user": [7, 8], "hour": np.array([20, 21], np.int32), "item": [1, 2, 1, 1, 3]}
)

Rows = dict[tuple[str, tuple[int, ...]], list[float]]


def slot_key(slot: str, ids: tuple[int, ...]) -> int:
    return int(combine([np.array([id_]) for id_ in ids], salt_of(slot))[0])


def random_rows(seed: int, ids: list[tuple[str, tuple[int, ...]]]) -> Rows:
    values = np.random.default_rng(seed).normal(size=(len(ids), DIM)).astype(np.float32)
    return dict(zip(ids, values.tolist(), strict=True))


def store_of(rows: Rows) -> tuple[DictStore, DictTable]:
    store = DictStore()
    held = {slot_key(*name): row for name, row in rows.items()}
    return store, store.add("embeddings", "float32", held, default=[0.5] * DIM)


def lookup(slots: dict[str, list[str]], **params: Any) -> EmbeddingLookup:
    return make_stage(EmbeddingLookup, table="embeddings", dim=DIM, slots=slots, **params)


def by_hand(rows: Rows, batch: Batch, slots: list[str], level: Level) -> list[list[list[float]]]:
    """The output of one level, row by row and slot by slot, out of a plain dict."""
    owners = batch.owners.tolist() if level is Level.ITEM else range(batch.event_count)
    answer = []
    for row, owner in enumerate(owners):
        place = {"user": owner, "hour": owner, "item": row}
        ids = {slot: tuple(int(batch[name][place[name]]) for name in SLOTS[slot]) for slot in slots}
        answer.append([rows.get((slot, ids[slot]), [0.5] * DIM) for slot in slots])
    return answer


def test_slots_keep_their_order_in_the_output_of_their_level() -> None:
    rows = random_rows(1, [("item", (1,)), ("hour_item", (20, 1)), ("user_hour", (7, 20))])
    store, _ = store_of(rows)
    batch = make_batch([1], {"user": [7], "hour": np.array([20], np.int32), "item": [1]})
    result = run_stage(lookup(SLOTS), TYPES, batch, store=store)
    unknown = [0.5] * DIM
    items = [rows["item", (1,)], rows["hour_item", (20, 1)]]
    assert result["item_embedding"].tolist() == [items]
    assert result["user_embedding"].tolist() == [[unknown, rows["user_hour", (7, 20)]]]


def test_the_slot_is_part_of_the_key() -> None:
    rows = random_rows(2, [("item", (7,)), ("user", (7,))])
    store, _ = store_of(rows)
    batch = make_batch([1], {"user": [7], "item": [7]})
    stage = lookup({"item": ["item"], "user": ["user"]})
    result = run_stage(stage, {"user": "INT64[1]", "item": "INT64[n]"}, batch, store=store)
    assert result["item_embedding"].tolist() == [[rows["item", (7,)]]]
    assert result["user_embedding"].tolist() == [[rows["user", (7,)]]]


def test_request_slots_are_looked_up_once_a_request() -> None:
    """2 events of 5 candidates: 2 request slots have 4 keys, 2 item slots 10, asked for at once."""
    store, table = store_of(random_rows(3, [("item", (1,))]))
    run_stage(lookup(SLOTS), TYPES, BATCH, store=store)
    [asked] = table.asked
    assert len(asked) == 4 + 10
    assert asked[:4].tolist() == [
        slot_key("user", (7,)),
        slot_key("user_hour", (7, 20)),
        slot_key("user", (8,)),
        slot_key("user_hour", (8, 21)),
    ]


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    slots=st.permutations(list(SLOTS)).flatmap(
        lambda names: st.integers(1, len(names)).map(lambda count: names[:count])
    ),
    seed=st.integers(0, 2**32),
)
def test_rows_equal_those_of_a_plain_dict(counts: list[int], slots: list[str], seed: int) -> None:
    dice = np.random.default_rng(seed)
    columns: dict[str, Array] = {
        "user": dice.integers(0, 3, len(counts)),
        "hour": dice.integers(0, 2, len(counts)).astype(np.int32),
        "item": dice.integers(0, 4, sum(counts)),
    }
    ids: list[tuple[str, tuple[int, ...]]] = [("item", (item,)) for item in range(3)]
    ids += [("user", (user,)) for user in range(2)]
    ids += [("hour_item", (hour, item)) for hour in range(2) for item in range(2)]
    ids += [("user_hour", (user, 1)) for user in range(3)]
    rows = random_rows(seed, ids)
    batch = make_batch(counts, columns)
    store, _ = store_of(rows)
    stage = lookup({slot: SLOTS[slot] for slot in slots})
    types = {name: text for name, text in TYPES.items() if name in stage.requires}
    result = run_stage(stage, types, batch, store=store)
    of_items = [slot for slot in slots if "item" in SLOTS[slot]]
    of_requests = [slot for slot in slots if "item" not in SLOTS[slot]]
    expected = {
        "item_embedding": by_hand(rows, batch, of_items, Level.ITEM),
        "user_embedding": by_hand(rows, batch, of_requests, Level.REQUEST),
    }
    assert {name: column.tolist() for name, column in result.items()} == {
        name: value for name, value in expected.items() if value[0]
    }


def test_a_level_without_slots_has_no_column() -> None:
    provides = lookup({"user": ["user"]}).provides(column_types({"user": "INT64[1]"}))
    assert list(provides) == ["user_embedding"]
    provides = lookup({"item": ["item"]}).provides(column_types({"item": "INT64[n]"}))
    assert list(provides) == ["item_embedding"]


def test_columns_carry_the_names_of_the_params() -> None:
    stage = lookup(SLOTS, request_output="u", item_output="i")
    provides = stage.provides(column_types(TYPES))
    assert {name: str(spec) for name, spec in provides.items()} == {
        "u": "FP32[1, 2, 3]",
        "i": "FP32[n, 2, 3]",
    }


def test_both_outputs_under_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="both 'e'; rename one"):
        lookup(SLOTS, request_output="e", item_output="e")


def test_a_slot_without_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="slot 'user' has no columns"):
        lookup({"item": ["item"], "user": []})


def test_a_slot_is_made_of_integers() -> None:
    with pytest.raises(ValueError, match="'item' is FP32"):
        lookup({"item": ["item"]}).provides(column_types({"item": "FP32[n]"}))


def test_the_form_of_the_table_is_checked_at_open() -> None:
    store = DictStore()
    store.add("embeddings", "float32", {1: [0.0] * 8})
    with pytest.raises(ConfigError, match="rows of 8 float32, but the config says 3 float32"):
        run_stage(lookup(SLOTS), TYPES, BATCH, store=store)
