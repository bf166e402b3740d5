"""Feature fetch over a store of plain dicts: which keys it asks for, where the rows go."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.columns import Level
from sedp.errors import ConfigError, StoreError
from sedp.stages.feature_fetch import FeatureFetch
from sedp.storage.rows.keys import combine, salt_of
from tests.stages.dict_store import DictStore
from tests.stages.lone_stage import column_types, make_batch, make_stage, run_stage

TYPES = {"user": "INT64[1]", "item": "INT64[n]"}
BATCH = make_batch([2, 3], {"user": [7, 8], "item": [10, 11, 10, 99, 12]})
GOODS = {10: [1, 100], 11: [2, 200], 12: [3, 300]}


def fetch(*fetches: dict[str, Any]) -> FeatureFetch:
    return make_stage(FeatureFetch, fetches=list(fetches))


def hashed_key(name: str, *ids: int) -> int:
    return int(combine([np.array([id_]) for id_ in ids], salt_of(name))[0])


def test_each_element_of_a_row_becomes_a_column() -> None:
    store = DictStore()
    store.add("goods", "int32", GOODS, default=[-1, -2])
    stage = fetch({"table": "goods", "key": ["item"], "columns": ["brand", "price"]})
    result = run_stage(stage, TYPES, BATCH, store=store)
    assert result["brand"].tolist() == [1, 2, 1, -1, 3]
    assert result["price"].tolist() == [100, 200, 100, -2, 300], "99 is unknown: the default row"


def test_output_takes_the_whole_row_as_a_vector() -> None:
    store = DictStore()
    store.add("goods", "float32", {10: [0.5, 0.25, 1], 11: [4, 5, 6]})
    parts = {"table": "goods", "key": ["item"], "datatype": "FP32"}
    result = run_stage(fetch({**parts, "output": "vector", "dim": 3}), TYPES, BATCH, store=store)
    assert list(result) == ["vector"]
    assert result["vector"].tolist() == [
        [0.5, 0.25, 1],
        [4, 5, 6],
        [0.5, 0.25, 1],
        [0] * 3,
        [0] * 3,
    ]


def test_a_request_level_key_is_looked_up_once_a_request() -> None:
    store = DictStore()
    table = store.add("people", "int32", {7: [31], 8: [55]})
    stage = fetch({"table": "people", "key": ["user"], "columns": ["age"]})
    result = run_stage(stage, TYPES, BATCH, store=store)
    assert result["age"].tolist() == [31, 55]
    assert [keys.tolist() for keys in table.asked] == [[7, 8]]


def test_a_single_id_is_its_own_key_and_negative_ids_wrap() -> None:
    store = DictStore()
    table = store.add("goods", "int32", {-5: [1], 2**40: [2]})
    batch = make_batch([2], {"item": [-5, 2**40]})
    stage = fetch({"table": "goods", "key": ["item"], "columns": ["brand"]})
    result = run_stage(stage, {"item": "INT64[n]"}, batch, store=store)
    assert result["brand"].tolist() == [1, 2]
    assert table.asked[0].tolist() == [2**64 - 5, 2**40]


@pytest.mark.parametrize("datatype", ["INT8", "INT16", "INT32", "INT64", "UINT8", "UINT64"])
def test_the_width_of_an_id_does_not_change_its_key(datatype: str) -> None:
    stage = fetch(
        {"table": "raw", "key": ["item"], "columns": ["a"]},
        {"table": "mixed", "key": ["item"], "hashed": True, "columns": ["b"]},
    )
    store = DictStore()
    store.add("raw", "int32", {100: [1]})
    store.add("mixed", "int32", {hashed_key("mixed", 100): [2]})
    types = {"item": f"{datatype}[n]"}
    dtype = column_types(types)["item"].dtype
    batch = make_batch([1], {"item": np.array([100], dtype)})
    result = run_stage(stage, types, batch, store=store)
    assert (result["a"].tolist(), result["b"].tolist()) == ([1], [2])


def test_several_key_columns_are_hashed_with_the_name_of_the_table() -> None:
    store = DictStore()
    seen = {(7, 10): [1], (7, 11): [2], (8, 10): [3], (8, 99): [4], (10, 7): [5]}
    store.add("seen", "int32", {hashed_key("seen", *ids): row for ids, row in seen.items()})
    stage = fetch({"table": "seen", "key": ["user", "item"], "columns": ["clicks"]})
    result = run_stage(stage, TYPES, BATCH, store=store)
    assert result["clicks"].tolist() == [1, 2, 3, 4, 0]


def test_a_later_fetch_may_use_columns_of_an_earlier_one() -> None:
    store = DictStore()
    store.add("goods", "int32", GOODS)
    store.add("brands", "int32", {1: [11], 2: [22], 3: [33]})
    stage = fetch(
        {"table": "goods", "key": ["item"], "columns": ["brand", "price"]},
        {"table": "brands", "key": ["brand"], "columns": ["maker"]},
    )
    assert set(stage.requires) == {"item"}
    result = run_stage(stage, TYPES, BATCH, store=store)
    assert result["maker"].tolist() == [11, 22, 11, 0, 33]


def test_a_fetched_64_bit_column_may_be_a_key_too() -> None:
    """An element of INT64 rows lies strided in memory, and tables take only dense keys."""
    store = DictStore()
    store.add("goods", "int64", GOODS)
    store.add("brands", "int32", {1: [11], 2: [22], 3: [33]})
    stage = fetch(
        {"table": "goods", "key": ["item"], "datatype": "INT64", "columns": ["brand", "price"]},
        {"table": "brands", "key": ["brand"], "columns": ["maker"]},
    )
    result = run_stage(stage, TYPES, BATCH, store=store)
    assert result["maker"].tolist() == [11, 22, 11, 0, 33]


def test_a_chain_takes_the_level_of_what_it_hangs_on() -> None:
    stage = fetch(
        {"table": "people", "key": ["user"], "columns": ["city"]},
        {"table": "cities", "key": ["city"], "columns": ["country"]},
        {"table": "shops", "key": ["city", "item"], "output": "offer", "dim": 2},
    )
    provides = stage.provides(column_types(TYPES))
    assert provides["country"].level is Level.REQUEST
    assert (provides["offer"].level, provides["offer"].shape) == (Level.ITEM, (2,))


@settings(deadline=None)
@given(
    users=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=5),
    seed=st.integers(0, 2**32),
)
def test_rows_find_their_way_home(users: list[tuple[int, int]], seed: int) -> None:
    """Mixed levels, chained, against a walk over events and candidates in plain Python."""
    city = {0: [5], 1: [6], 2: [5]}
    price = {(5, 0): 50, (5, 1): 51, (6, 0): 60, (6, 2): 62}
    store = DictStore()
    store.add("people", "int32", city, default=[9])
    rows = {hashed_key("prices", *key): [value] for key, value in price.items()}
    store.add("prices", "int32", rows, default=[-1])
    stage = fetch(
        {"table": "people", "key": ["user"], "columns": ["city"]},
        {"table": "prices", "key": ["city", "item"], "columns": ["price"]},
    )
    counts = [count for _, count in users]
    items = np.random.default_rng(seed).integers(0, 3, sum(counts))
    batch = make_batch(counts, {"user": [user for user, _ in users], "item": items})
    result = run_stage(stage, TYPES, batch, store=store)
    owners = [user for user, count in users for _ in range(count)]
    assert result["city"].tolist() == [city.get(user, [9])[0] for user, _ in users]
    assert result["price"].tolist() == [
        price.get((city.get(user, [9])[0], item), -1)
        for user, item in zip(owners, items.tolist(), strict=True)
    ]


@pytest.mark.parametrize(
    ("wrong", "mend"),
    [
        ({"columns": ["a"], "datatype": "BYTES"}, "use INT32, INT64 or FP32"),
        ({"columns": ["a"], "datatype": "FLOAT"}, "use INT32, INT64 or FP32"),
        ({}, "either `columns` .* or `output`"),
        ({"columns": ["a"], "output": "b", "dim": 1}, "either `columns` .* or `output`"),
        ({"output": "b"}, "needs `dim`"),
        ({"columns": ["a", "b", "a"]}, "repeat a name"),
        ({"columns": ["a"], "key": ["user", "item"], "hashed": False}, "must be hashed"),
    ],
)
def test_params_that_cannot_be_meant_are_refused(wrong: dict[str, Any], mend: str) -> None:
    with pytest.raises(ValueError, match=mend):
        fetch({"table": "goods", "key": ["item"], **wrong})


@pytest.mark.parametrize("wrong", [{"key": []}, {"dim": -1}, {"tabel": "goods"}])
def test_params_of_the_wrong_form_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        fetch({"table": "goods", "key": ["item"], "columns": ["a"], **wrong})


@pytest.mark.parametrize("text", ["FP32[n]", "INT64[n, 2]", "BOOL[n]", "BYTES[n]"])
def test_keys_are_integers_one_a_row(text: str) -> None:
    stage = fetch({"table": "goods", "key": ["item"], "columns": ["a"]})
    with pytest.raises(ValueError, match=r"'item' is .* made of integers"):
        stage.provides(column_types({"item": text}))


@pytest.mark.parametrize("second", ["item", "brand"])
def test_a_column_is_fetched_once(second: str) -> None:
    stage = fetch(
        {"table": "goods", "key": ["item"], "columns": ["brand"]},
        {"table": "brands", "key": ["item"], "columns": [second]},
    )
    with pytest.raises(ValueError, match=f"'{second}'.* exist already"):
        stage.provides(column_types(TYPES))


def test_without_a_store_it_does_not_open() -> None:
    stage = fetch({"table": "goods", "key": ["item"], "columns": ["brand"]})
    with pytest.raises(ConfigError, match="no `store` section"):
        run_stage(stage, TYPES, BATCH)


def test_the_form_of_the_table_is_checked_at_open() -> None:
    store = DictStore()
    store.add("goods", "int64", GOODS)
    narrow = fetch({"table": "goods", "key": ["item"], "columns": ["brand"], "datatype": "INT64"})
    with pytest.raises(ConfigError, match="rows of 2 int64, but the config says 1 int64"):
        run_stage(narrow, TYPES, BATCH, store=store)
    other = fetch({"table": "goods", "key": ["item"], "columns": ["brand", "price"]})
    with pytest.raises(ConfigError, match="rows of 2 int64, but the config says 2 int32"):
        run_stage(other, TYPES, BATCH, store=store)


def test_an_unknown_table_is_the_operators_error() -> None:
    stage = fetch({"table": "godos", "key": ["item"], "columns": ["brand"]})
    store = DictStore()
    store.add("goods", "int32", GOODS)
    with pytest.raises(StoreError, match="godos"):
        run_stage(stage, TYPES, BATCH, store=store)
