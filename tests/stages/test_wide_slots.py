"""Slots that come as one column of ids, and keys that share the rows of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.columns import Array
from sedp.pipeline_checks import PipelineError
from sedp.stages.embedding_lookup import EmbeddingLookup
from sedp.stages.wide_slots import hash_places, place_salts, share_out
from sedp.storage.rows.keys import combine, salt_of
from tests.stages.dict_store import DictStore, DictTable
from tests.stages.lone_stage import make_batch, make_stage, run_stage

DIM = 2
TYPES = {"user_ids": "INT64[1, 3]", "item_ids": "INT64[1, n, 2]", "shop": "INT64[1]"}
BATCH = make_batch(
    [2, 1],
    {
        "user_ids": [[1, 2, 3], [4, 5, 6]],
        "item_ids": [[10, 11], [12, 13], [-10, 2**62]],
        "shop": [7, 8],
    },
)
USER = {"columns": ["user_ids"], "pooling": "none"}
ITEM = {"columns": ["item_ids"], "pooling": "none"}


def key_of(slot: str, id_: int) -> int:
    return int(combine([np.array([id_])], salt_of(slot))[0])


def row_of(key: int) -> list[float]:
    """A row that says whose it is."""
    return [float(key % 9973), float(key % 7919)]


class EchoTable(DictTable):
    """Gives every key the row that `row_of` makes of it."""

    def lookup(self, keys: Any, out: Array, missing: Any) -> int:
        out[:] = [row_of(key) for key in keys.tolist()]
        missing[:] = False
        self.asked.append(keys.copy())
        return 0


def store_of_all() -> tuple[DictStore, DictTable]:
    store = DictStore()
    plain = store.add("embeddings", "float32", {0: [0.0] * DIM})
    table = store.tables["embeddings"] = EchoTable(plain.spec, {}, [0.0] * DIM)
    return store, table


def embed(slots: dict[str, Any], **params: Any) -> EmbeddingLookup:
    return make_stage(EmbeddingLookup, table="embeddings", dim=DIM, slots=slots, **params)


def read(slots: dict[str, Any], **params: Any) -> dict[str, list[Any]]:
    used = {column for slot in slots.values() for column in _columns(slot)}
    types = {name: text for name, text in TYPES.items() if name in used}
    store, _ = store_of_all()
    result = run_stage(embed(slots, **params), types, BATCH, store=store)
    return {name: column.tolist() for name, column in result.items()}


def _columns(slot: Any) -> list[str]:
    columns: list[str] = slot if isinstance(slot, list) else slot["columns"]
    return columns


def test_each_place_is_a_slot_of_its_own_named_by_its_number() -> None:
    result = read({"item": ITEM})["item_embedding"]
    expected = [
        [row_of(key_of("item.0", first)), row_of(key_of("item.1", second))]
        for first, second in BATCH["item_ids"].tolist()
    ]
    assert result == expected


def test_a_request_level_column_is_looked_up_once_a_request() -> None:
    result = read({"user": USER})["user_embedding"]
    assert result[1] == [row_of(key_of(f"user.{place}", 4 + place)) for place in range(3)]
    assert len(result) == 2


def test_wide_and_other_slots_keep_their_order() -> None:
    pooled = {"columns": ["user_ids"], "pooling": "sum"}
    slots = {"user": USER, "shop": ["shop"], "basket": pooled, "again": USER}
    result = np.array(read(slots)["user_embedding"])
    assert result.shape == (2, 3 + 1 + 1 + 3, DIM)
    alone = {name: np.array(read({name: slot})["user_embedding"]) for name, slot in slots.items()}
    assert result.tolist() == np.concatenate(list(alone.values()), axis=1).tolist()


def test_both_levels_are_asked_for_in_one_look_up() -> None:
    store, table = store_of_all()
    types = {name: TYPES[name] for name in ("user_ids", "item_ids")}
    run_stage(embed({"item": ITEM, "user": USER}), types, BATCH, store=store)
    assert [len(keys) for keys in table.asked] == [2 * 3 + 3 * 2]


@given(ids=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20))
def test_hashed_places_equal_keys_of_single_columns(ids: list[int]) -> None:
    keys = np.empty((len(ids), 2), np.uint64)
    column = np.array([ids, ids], np.int64).T.copy()
    hash_places(column, place_salts("slot", 2), keys)
    for place in range(2):
        expected = combine([column[:, place]], salt_of(f"slot.{place}"))
        assert keys[:, place].tolist() == expected.tolist()


@given(
    keys=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50),
    buckets=st.integers(1, 2**32),
)
def test_buckets_are_a_share_of_the_upper_bits(keys: list[int], buckets: int) -> None:
    shared = np.array(keys, np.uint64)
    share_out(shared, buckets)
    assert shared.tolist() == [((key >> 32) * buckets) >> 32 for key in keys]
    assert all(bucket < buckets for bucket in shared.tolist())


def test_buckets_of_many_keys_are_filled_evenly() -> None:
    keys = np.empty((50_000, 1), np.uint64)
    hash_places(np.arange(50_000)[:, None], place_salts("slot", 1), keys)
    share_out(keys.ravel(), 10)
    counts = np.bincount(keys.ravel().astype(np.int64), minlength=10)
    assert counts.min() > 4_700
    assert counts.max() < 5_300


def test_with_buckets_all_slots_ask_for_bucket_numbers() -> None:
    pooled = {"columns": ["item_ids"], "pooling": "mean"}
    store, table = store_of_all()
    slots = {"user": USER, "shop": ["shop"], "item": ITEM, "basket": pooled}
    run_stage(embed(slots, buckets=5), TYPES, BATCH, store=store)
    asked = np.concatenate(table.asked).tolist()
    assert set(asked) <= set(range(5))
    assert len(asked) == 2 * 4 + 3 * 2 + 3 * 2


@pytest.mark.parametrize(
    "slot",
    [
        {"columns": ["item_ids", "shop"], "pooling": "none"},
        {"columns": ["item_ids"], "pooling": "none", "padding": 0},
    ],
)
def test_places_that_are_kept_take_one_column_without_padding(slot: dict[str, Any]) -> None:
    store, _ = store_of_all()
    types = {name: TYPES[name] for name in slot["columns"]}
    with pytest.raises((PipelineError, ValueError), match="keeps its place; name that column"):
        run_stage(embed({"item": slot}), types, BATCH, store=store)
