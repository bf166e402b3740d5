"""Hand-over: joined columns equal row-by-row concatenation, and are views where they can be."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.columns import Array, Batch, ColumnSpec, Level, TensorSpec
from sedp.errors import StageError
from sedp.payload import Payload, answer, check_result, hand_out, join_batch
from sedp.pipeline import BoundStage, Pipeline, StageUse, compile_pipeline
from sedp.stage import Params, Stage

TYPES = {
    "user": "INT64[1]",
    "context": "FP32[1, 2]",
    "item": "INT64[n]",
    "tags": "INT64[n, 3]",
    "hidden": "INT64[n]",
    "score": "FP32[n]",
    "vector": "FP32[n, 2]",
    "mood": "INT64[1]",
    "all": "INT64[1]",
    "late": "FP32[n]",
}
SPECS = {name: TensorSpec.parse(text).column for name, text in TYPES.items()}


class Declared(Stage):
    """A stage that is nothing but its declarations."""

    def __init__(self, reads: str, writes: str) -> None:
        super().__init__(Params())
        self.reads, self.writes = reads.split(), writes.split()

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {name: SPECS[name] for name in self.reads}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {name: SPECS[name] for name in self.writes}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        raise AssertionError("nothing runs here")


def fork() -> Pipeline:
    """`left` and `right` read the request; `reader` reads both and the request, `late` only one."""
    uses = {
        "left": StageUse(Declared("user item", "score vector")),
        "right": StageUse(Declared("context", "mood")),
        "reader": StageUse(Declared("user context item tags score vector mood", "all")),
        "late": StageUse(Declared("score", "late")),
    }
    inputs = {
        name: TensorSpec.parse(TYPES[name])
        for name in ("user", "context", "item", "tags", "hidden")
    }
    outputs = {name: TensorSpec.parse(TYPES[name]) for name in ("all", "late", "vector")}
    return compile_pipeline("fork", inputs, outputs, uses)


PIPELINE = fork()
LEFT, RIGHT, READER, LATE = PIPELINE.stages


def random_column(dice: np.random.Generator, spec: ColumnSpec, rows: int) -> Array:
    return dice.integers(0, 10**6, (rows, *spec.shape)).astype(spec.dtype)


class Crowd:
    """Events with every column known beforehand: what each must find wherever it is joined."""

    def __init__(self, counts: Sequence[int], seed: int) -> None:
        dice = np.random.default_rng(seed)
        self.counts = counts
        self.columns = [
            {
                name: random_column(dice, spec, count if spec.level is Level.ITEM else 1)
                for name, spec in SPECS.items()
            }
            for count in counts
        ]
        self.payloads = []
        for count, columns in zip(counts, self.columns, strict=True):
            request = {name: columns[name] for name in PIPELINE.inputs}
            self.payloads.append(Payload(Batch(request, np.array([0, count])), 4))

    def expected(self, name: str, events: Sequence[int]) -> Array:
        """Row by row, by hand."""
        return np.array([row for event in events for row in self.columns[event][name]])

    def check(self, stage: BoundStage, events: Sequence[int]) -> Batch:
        """Join and compare with the plain concatenation."""
        batch = join_batch(stage, [self.payloads[event] for event in events])
        counts = [self.counts[event] for event in events]
        assert batch.splits.tolist() == [sum(counts[:i]) for i in range(len(counts) + 1)]
        assert set(batch.columns) == set(stage.inputs), "no column more than the stage reads"
        for name, column in batch.columns.items():
            assert column.dtype == SPECS[name].dtype
            assert column.shape[1:] == SPECS[name].shape
            np.testing.assert_array_equal(column, self.expected(name, events))
        return batch

    def run(self, stage: BoundStage, events: Sequence[int]) -> dict[str, Array]:
        """Join, and hand back what the stage ought to have made."""
        batch = self.check(stage, events)
        result = {name: self.expected(name, events) for name in stage.provides}
        payloads = [self.payloads[event] for event in events]
        hand_out(stage, PIPELINE.stages.index(stage), check_result(stage, batch, result), payloads)
        return result


def random_batches(dice: random.Random, events: Sequence[int]) -> list[list[int]]:
    """Every event once, in any company; half of the time in the order of arrival."""
    order = list(events) if dice.random() < 0.5 else dice.sample(events, len(events))
    cuts = sorted(dice.sample(range(1, len(order)), dice.randrange(len(order))))
    return [order[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(order)], strict=True)]


COUNTS = st.lists(st.integers(1, 4), min_size=1, max_size=8)


@settings(deadline=None)
@given(counts=COUNTS, seed=st.integers(0, 2**32))
def test_any_mix_of_batches_equals_row_by_row_concatenation(counts: list[int], seed: int) -> None:
    """And a column is a view exactly when its events are neighbours in the chunk it lies in."""
    dice, crowd = random.Random(seed), Crowd(counts, seed)
    events = range(len(counts))
    chunks: dict[str, list[tuple[list[int], dict[str, Array]]]] = {"left": [], "right": []}
    for stage in (LEFT, RIGHT):
        for members in random_batches(dice, events):
            chunks[stage.name].append((members, crowd.run(stage, members)))
    for members in random_batches(dice, events):
        batch = crowd.check(READER, members)
        for name, stage_name in (("score", "left"), ("vector", "left"), ("mood", "right")):
            home, chunk = next(c for c in chunks[stage_name] if members[0] in c[0])
            start = home.index(members[0])
            neighbours = home[start : start + len(members)] == members
            assert np.shares_memory(batch[name], chunk[name]) == neighbours
        crowd.run(READER, members)
    for members in random_batches(dice, events):
        crowd.run(LATE, members)
    for event in events:
        result = answer(PIPELINE, crowd.payloads[event])
        assert set(result) == set(PIPELINE.outputs)
        for name, column in result.items():
            np.testing.assert_array_equal(column, crowd.columns[event][name])


def test_the_same_events_in_the_same_order_are_not_copied() -> None:
    crowd = Crowd([2, 1, 3], seed=1)
    left, right = crowd.run(LEFT, [0, 1, 2]), crowd.run(RIGHT, [0, 1, 2])
    batch = crowd.check(READER, [0, 1, 2])
    assert all(np.shares_memory(batch[name], left[name]) for name in ("score", "vector"))
    assert np.shares_memory(batch["mood"], right["mood"])


def test_neighbours_out_of_a_larger_chunk_are_not_copied() -> None:
    crowd = Crowd([2, 1, 3, 2], seed=2)
    left, right = crowd.run(LEFT, [0, 1, 2, 3]), crowd.run(RIGHT, [0, 1, 2, 3])
    batch = crowd.check(READER, [1, 2])
    assert np.shares_memory(batch["vector"], left["vector"])
    assert np.shares_memory(batch["mood"], right["mood"])
    assert np.shares_memory(crowd.check(LATE, [1, 2])["score"], left["score"])


@pytest.mark.parametrize("events", [[1, 0], [0, 2], [2, 0, 1]])
def test_others_of_one_chunk_are_copied_in_the_order_asked(events: list[int]) -> None:
    crowd = Crowd([2, 1, 3], seed=3)
    left, _ = crowd.run(LEFT, [0, 1, 2]), crowd.run(RIGHT, [0, 1, 2])
    assert not np.shares_memory(crowd.check(READER, events)["score"], left["score"])


def test_one_event_alone_is_never_copied() -> None:
    crowd = Crowd([3], seed=4)
    batch = crowd.check(LEFT, [0])
    assert np.shares_memory(batch["item"], crowd.columns[0]["item"])


def test_an_answer_is_a_view_of_where_it_was_made() -> None:
    crowd = Crowd([2, 3], seed=5)
    left, _ = crowd.run(LEFT, [1, 0]), crowd.run(RIGHT, [0, 1])
    crowd.run(READER, [0, 1])
    crowd.run(LATE, [0, 1])
    result = answer(PIPELINE, crowd.payloads[0])
    assert (result["vector"].shape, result["all"].shape) == ((2, 2), (1,))
    assert np.shares_memory(result["vector"], left["vector"])


def good_result(crowd: Crowd) -> dict[str, Any]:
    return {name: crowd.expected(name, [0, 1]) for name in LEFT.provides}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"score": ...}, r"returned columns \['vector'\], but it declares \['score', 'vector'\]"),
        ({"extra": np.zeros(5)}, r"returned columns \['extra', 'score', 'vector'\]"),
        ({"score": np.zeros(4, np.float32)}, r"'score' of shape \(4,\), but \(5,\) is due"),
        ({"score": np.zeros(2, np.float32)}, r"for 2 events of 5 rows"),
        ({"score": np.zeros((5, 1), np.float32)}, r"of shape \(5, 1\), but \(5,\) is due"),
        ({"vector": np.zeros((5, 3), np.float32)}, r"of shape \(5, 3\), but \(5, 2\) is due"),
        ({"score": np.zeros(5)}, r"of dtype float64, but it declares float32; .*astype\(float32\)"),
        ({"score": np.zeros(5, ">f4")}, r"of dtype >f4, but it declares float32"),
        ({"score": [0.0] * 5}, r"'score' of shape list, but \(5,\) is due"),
        ({"score": None}, r"'score' of shape NoneType"),
    ],
)
def test_a_result_other_than_declared_is_refused(change: dict[str, Any], complaint: str) -> None:
    crowd = Crowd([2, 3], seed=6)
    batch = crowd.check(LEFT, [0, 1])
    result = {**good_result(crowd), **change}
    result = {name: column for name, column in result.items() if column is not ...}
    with pytest.raises(StageError, match=f"stage 'left' .*{complaint}"):
        hand_out(LEFT, 0, check_result(LEFT, batch, result), crowd.payloads)
    assert [payload.places[1] for payload in crowd.payloads] == [None, None], "nobody got a place"


def test_a_request_level_result_has_a_row_an_event() -> None:
    crowd = Crowd([2, 3], seed=7)
    batch = crowd.check(RIGHT, [0, 1])
    with pytest.raises(StageError, match=r"'mood' of shape \(5,\), but \(2,\) is due"):
        hand_out(
            RIGHT, 1, check_result(RIGHT, batch, {"mood": np.zeros(5, np.int64)}), crowd.payloads
        )


def test_a_stage_that_returns_nothing_is_told_what_to_return() -> None:
    """`process` without its `return` is the first slip of an author."""
    crowd = Crowd([2, 3], seed=8)
    batch = crowd.check(LEFT, [0, 1])
    nothing: Any = None
    with pytest.raises(StageError, match=r"\['score', 'vector'\]; return exactly those"):
        check_result(LEFT, batch, nothing)
