"""All built-in stages over a real parameter store, against a walk through plain dicts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from sedp.columns import Array, TensorSpec
from sedp.operator import Operator
from sedp.payload import Payload, answer
from sedp.pipeline import Pipeline, StageUse, compile_pipeline
from sedp.stage import Resources
from sedp.stages.dense_scoring import DenseScoring
from sedp.stages.embedding_lookup import EmbeddingLookup
from sedp.stages.feature_fetch import FeatureFetch
from sedp.stages.top_k import TopK
from sedp.storage.rows.keys import combine, salt_of
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from tests.stages.lone_stage import make_batch, make_stage
from tests.stages.test_top_k import sorted_ranks
from tests.stages.tiny_models import FLOAT, Tensor, save_model

Ids = tuple[int, ...]

CITIES = {7: 70, 8: 80}
GOODS = {10: (1, 100), 11: (2, 110), 12: (1, 120), 13: (3, 130)}  # brand and price
MAKERS = {1: 1000, 2: 2000}
# Embeddings of one number: visitors by user and city, tastes by city and brand.
VISITORS: dict[Ids, float] = {(7, 70): 3.0, (8, 80): -2.0, (9, 0): 4.0}
TASTES: dict[Ids, float] = {(70, 1): 5.0, (70, 2): -7.0, (80, 1): 6.0, (80, 3): 11.0}
UNKNOWN = 0.5
K = 3

REQUESTS = [(7, [10, 11, 12]), (8, [13, 99]), (9, [10]), (7, [12, 12, 13, 11])]


def keyed(slot: str, rows: Mapping[Ids, float]) -> dict[int, float]:
    """Rows by the key that a slot makes of their ids."""
    columns = [np.array(ids) for ids in zip(*rows, strict=True)]
    return dict(zip(combine(columns, salt_of(slot)).tolist(), rows.values(), strict=True))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ParameterStore]:
    folder = tmp_path_factory.mktemp("store")
    with ParameterStore.open(folder, ram_bytes=1 << 20, create=True) as opened:
        fill(opened, TableSpec("people", 1, "int32"), CITIES)
        fill(opened, TableSpec("goods", 2, "int64", default=(9, -1)), GOODS)
        fill(opened, TableSpec("makers", 1, "int32"), MAKERS)
        embeddings = keyed("visitor", VISITORS) | keyed("taste", TASTES)
        fill(opened, TableSpec("embeddings", 1, "float32", default=(UNKNOWN,)), embeddings)
        yield opened


def fill(store: ParameterStore, spec: TableSpec, rows: Mapping[int, object]) -> None:
    values = np.array(list(rows.values()), spec.dtype).reshape(len(rows), spec.dim)
    store.import_table(spec, [(np.array(list(rows), np.uint64), values)])


def open_house(store: ParameterStore, folder: Path) -> Pipeline:
    """Two fetches, the second chained on a 64-bit column; embeddings; their product; ranks."""
    product = [
        helper.make_node("Mul", ["user_embedding", "item_embedding"], ["products"]),
        helper.make_node("ReduceSum", ["products", "axes"], ["score"], keepdims=0),
    ]
    sizes: Tensor = (FLOAT, ["n", 1, 1])
    inputs = {"user_embedding": sizes, "item_embedding": sizes}
    save_model(
        folder / "product.onnx",
        product,
        inputs,
        {"score": (FLOAT, ["n"])},
        {"axes": np.array([1, 2])},
    )
    goods = {"table": "goods", "key": ["item"], "datatype": "INT64", "columns": ["brand", "price"]}
    makers = {"table": "makers", "key": ["brand"], "columns": ["maker"]}
    people = {"table": "people", "key": ["user"], "columns": ["city"]}
    slots = {"visitor": ["user", "city"], "taste": ["city", "brand"]}
    stages = {
        "rank": make_stage(TopK, k=K),
        "goods": make_stage(FeatureFetch, fetches=[goods, makers]),
        "people": make_stage(FeatureFetch, fetches=[people]),
        "embed": make_stage(EmbeddingLookup, table="embeddings", dim=1, slots=slots),
        "score": make_stage(
            DenseScoring, model="product.onnx", inputs=list(inputs), outputs={"score": "FP32[n]"}
        ),
    }
    wire = {"user": "INT64[1]", "item": "INT64[n]"}
    made = {"rank": f"INT32[{K}]", "score": "FP32[n]", "price": "INT64[n]", "maker": "INT32[n]"}
    pipeline = compile_pipeline(
        "house",
        {name: TensorSpec.parse(text) for name, text in wire.items()},
        {name: TensorSpec.parse(text) for name, text in made.items()},
        {name: StageUse(stage) for name, stage in stages.items()},
    )
    for stage in stages.values():
        stage.open(Resources(folder, store=store))
    return pipeline


def walk(user: int, items: list[int]) -> dict[str, Any]:
    """The answer to one request, out of the dicts."""
    city = CITIES.get(user, 0)
    brands = [GOODS.get(item, (9, -1))[0] for item in items]
    visitor = VISITORS.get((user, city), UNKNOWN)
    scores = [visitor * TASTES.get((city, brand), UNKNOWN) for brand in brands]
    return {
        "score": scores,
        "rank": [sorted_ranks(scores, K)],
        "price": [GOODS.get(item, (9, -1))[1] for item in items],
        "maker": [MAKERS.get(brand, 0) for brand in brands],
    }


def answers_of(pipeline: Pipeline, batches: list[list[int]]) -> dict[int, dict[str, Array]]:
    """Run the requests through the stages, joined in the batches given."""
    payloads = [
        Payload(make_batch([len(items)], {"user": [user], "item": items}), len(pipeline.stages))
        for user, items in REQUESTS
    ]
    for position, stage in enumerate(pipeline.stages):
        for batch in batches:
            Operator(stage, position).run([payloads[event] for event in batch])
    return {event: answer(pipeline, payload) for event, payload in enumerate(payloads)}


def test_answers_equal_a_walk_through_plain_dicts_in_any_batches(
    store: ParameterStore, tmp_path: Path
) -> None:
    pipeline = open_house(store, tmp_path)
    expected = {event: walk(*request) for event, request in enumerate(REQUESTS)}
    for order in itertools.permutations(range(len(REQUESTS))):
        for cut in range(len(REQUESTS)):
            batches = [list(order[:cut]), list(order[cut:])] if cut else [list(order)]
            answers = answers_of(pipeline, batches)
            assert {
                event: {name: column.tolist() for name, column in columns.items()}
                for event, columns in answers.items()
            } == expected


def test_the_store_counts_the_default_rows_that_were_served(
    store: ParameterStore, tmp_path: Path
) -> None:
    def defaults() -> int:
        return next(t.defaults for t in store.statistics().tables if t.spec.name == "goods")

    pipeline = open_house(store, tmp_path)
    before = defaults()
    answers_of(pipeline, [[0, 1, 2, 3]])
    assert defaults() - before == 1, "item 99 is unknown"
