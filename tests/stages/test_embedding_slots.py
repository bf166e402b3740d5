"""Slots with several values a row, over a store of plain dicts."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.columns import Array, Batch
from sedp.stages.embedding_lookup import EmbeddingLookup
from sedp.storage.rows.keys import combine, salt_of
from tests.stages.dict_store import DictStore, DictTable
from tests.stages.lone_stage import column_types, make_batch, make_stage, run_stage

DIM = 2
DEFAULT = [8.0, -8.0]
TYPES = {"user": "INT64[1]", "liked": "INT32[1, 4]", "item": "INT64[n]", "genres": "INT64[n, 3]"}
SLOTS = {
    "item": ["item"],
    "genres": {"columns": ["genres"], "pooling": "mean", "padding": -1},
    "user_genre": {"columns": ["user", "genres"], "pooling": "sum", "padding": -1},
    "liked": {"columns": ["liked"], "pooling": "sum"},
    "user": ["user"],
}
BATCH = make_batch(
    [2, 1],
    {
        "user": [7, 8],
        "liked": np.array([[1, 2, 2, 0], [0, 0, 0, 0]], np.int32),
        "item": [1, 2, 3],
        "genres": [[4, 5, -1], [-1, -1, -1], [5, -1, 5]],
    },
)


def row_of(slot: str, *ids: int) -> list[float]:
    """Small whole numbers, so that sums are exact; ids 0 have no row."""
    if 0 in ids:
        return DEFAULT
    seed = sum((place + 3) * id_ for place, id_ in enumerate(ids)) + len(slot)
    return [float(seed), float(seed % 5)]


def store() -> tuple[DictStore, DictTable]:
    ids: list[tuple[str, tuple[int, ...]]]
    ids = [(slot, (id_,)) for slot in SLOTS for id_ in range(1, 10)]
    ids += [("user_genre", (user, genre)) for user in (7, 8) for genre in range(1, 10)]
    rows = {
        int(combine([np.array([id_]) for id_ in own], salt_of(slot))[0]): row_of(slot, *own)
        for slot, own in ids
    }
    opened = DictStore()
    return opened, opened.add("embeddings", "float32", rows, default=DEFAULT)


def lookup(slots: dict[str, Any]) -> EmbeddingLookup:
    return make_stage(EmbeddingLookup, table="embeddings", dim=DIM, slots=slots)


def pooled(rows: list[list[float]], pooling: str) -> list[float]:
    total = np.array(rows or [[0.0] * DIM], np.float32).sum(axis=0)
    count = len(rows) if rows and pooling == "mean" else 1
    return [float(number) for number in total / np.float32(count)]


def by_hand(batch: Batch) -> dict[str, list[list[list[float]]]]:
    """Both outputs, row by row and slot by slot."""
    items, users = [], []
    for owner, item, genres in zip(batch.owners, batch["item"], batch["genres"], strict=True):
        user, own = int(batch["user"][owner]), [int(genre) for genre in genres if genre != -1]
        items.append(
            [
                row_of("item", int(item)),
                pooled([row_of("genres", genre) for genre in own], "mean"),
                pooled([row_of("user_genre", user, genre) for genre in own], "sum"),
            ]
        )
    for user, liked in zip(batch["user"], batch["liked"], strict=True):
        rows = [row_of("liked", int(id_)) for id_ in liked]
        users.append([pooled(rows, "sum"), row_of("user", int(user))])
    return {"item_embedding": items, "user_embedding": users}


def run(batch: Batch) -> dict[str, list[Any]]:
    result = run_stage(lookup(SLOTS), TYPES, batch, store=store()[0])
    return {name: column.tolist() for name, column in result.items()}


def test_values_of_a_row_are_pooled_at_the_place_of_their_slot() -> None:
    result = run(BATCH)
    assert result == by_hand(BATCH)
    one, two = row_of("genres", 4), row_of("genres", 5)
    assert result["item_embedding"][0][1] == [(one[0] + two[0]) / 2, (one[1] + two[1]) / 2]


def test_a_row_of_padding_alone_gets_zeros() -> None:
    assert run(BATCH)["item_embedding"][1][1:] == [[0, 0], [0, 0]]


def test_without_padding_every_value_counts_and_unknown_ones_get_the_default() -> None:
    assert run(BATCH)["user_embedding"][1][0] == [4 * value for value in DEFAULT]


def test_only_bags_and_only_values_that_count_are_asked_for() -> None:
    opened, table = store()
    slots = {"genres": SLOTS["genres"]}
    run_stage(lookup(slots), {"genres": TYPES["genres"]}, BATCH, store=opened)
    assert [len(keys) for keys in table.asked] == [4]


@settings(deadline=None)
@given(counts=st.lists(st.integers(1, 4), min_size=1, max_size=4), seed=st.integers(0, 2**32))
def test_rows_equal_those_by_hand(counts: list[int], seed: int) -> None:
    dice = np.random.default_rng(seed)
    columns: dict[str, Array] = {
        "user": dice.integers(7, 9, len(counts)),
        "liked": dice.integers(0, 6, (len(counts), 4)).astype(np.int32),
        "item": dice.integers(0, 6, sum(counts)),
        "genres": dice.integers(-1, 6, (sum(counts), 3)),
    }
    batch = make_batch(counts, columns)
    for name, rows in by_hand(batch).items():
        assert np.allclose(run(batch)[name], rows, rtol=1e-6)


def test_a_bag_of_request_columns_is_of_the_request() -> None:
    slots = {name: SLOTS[name] for name in ("liked", "genres")}
    types = column_types({name: TYPES[name] for name in ("liked", "genres")})
    provides = lookup(slots).provides(types)
    assert {name: str(spec) for name, spec in provides.items()} == {
        "user_embedding": "FP32[1, 1, 2]",
        "item_embedding": "FP32[n, 1, 2]",
    }


def test_padding_may_be_zero() -> None:
    slots = {"liked": {"columns": ["liked"], "pooling": "mean", "padding": 0}}
    result = run_stage(lookup(slots), {"liked": TYPES["liked"]}, BATCH, store=store()[0])
    rows = [row_of("liked", id_) for id_ in (1, 2, 2)]
    assert result["user_embedding"].tolist() == [[pooled(rows, "mean")], [[0, 0]]]


def test_padding_is_compared_as_64_bits() -> None:
    """-1 in a UINT64 column is its largest number."""
    most = (1 << 64) - 1
    batch = make_batch([1], {"genres": np.array([[4, most, most]], np.uint64)})
    slots = {"genres": SLOTS["genres"]}
    result = run_stage(lookup(slots), {"genres": "UINT64[n, 3]"}, batch, store=store()[0])
    assert result["item_embedding"].tolist() == [[row_of("genres", 4)]]


@pytest.mark.parametrize(
    ("slot", "words"),
    [
        (
            ["genres"],
            r"INT64\[n, 3\], several values a row; .*columns: \['genres'\], pooling: mean",
        ),
        ({"columns": ["item"], "pooling": "sum"}, r"of \['item'\] 0 have several values a row"),
        ({"columns": ["genres", "liked"], "pooling": "sum"}, "2 have several values a row"),
        ({"columns": ["scores"], "pooling": "sum"}, r"'scores' is FP32\[n, 2\]; use an INT"),
        ({"columns": ["grid"], "pooling": "sum"}, r"'grid' is INT64\[n, 2, 2\]; use an INT"),
        ({"columns": ["genres", "price"], "pooling": "sum"}, r"'price' is FP32\[n\]"),
    ],
)
def test_columns_that_do_not_fit_a_slot_are_refused(slot: Any, words: str) -> None:
    others = {"scores": "FP32[n, 2]", "grid": "INT64[n, 2, 2]", "price": "FP32[n]"}
    stage = lookup({"it": slot})
    types = {name: text for name, text in (TYPES | others).items() if name in stage.requires}
    with pytest.raises(ValueError, match=words):
        stage.provides(column_types(types))


def test_a_pooled_slot_without_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="slot 'it' has no columns"):
        lookup({"it": {"columns": [], "pooling": "sum"}})


@pytest.mark.parametrize(
    "slot",
    [
        {"columns": ["genres"]},
        {"columns": ["genres"], "pooling": "max"},
        {"columns": ["genres"], "pooling": "sum", "padding": 1 << 63},
        {"columns": ["genres"], "pooling": "sum", "pad": 0},
    ],
)
def test_settings_of_a_pooled_slot_are_checked(slot: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        lookup({"it": slot})
