"""Columns: types as text, what may be read as what, and batches against plain lists."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.columns import ANY, DATATYPES, DTYPES, Batch, ColumnSpec, Level, TensorSpec

SIZES = st.integers(1, 999_999_999)
SHAPES = st.lists(SIZES, max_size=4).map(tuple)
COLUMNS = st.builds(ColumnSpec, st.sampled_from(list(DTYPES)), st.sampled_from(Level), SHAPES)


@pytest.mark.parametrize(
    ("text", "level", "shape", "dims"),
    [
        ("INT64[1]", Level.REQUEST, (), (1,)),
        ("FP32[10]", Level.REQUEST, (10,), (10,)),
        ("FP32[1, 10]", Level.REQUEST, (10,), (1, 10)),
        ("FP32[1, 1]", Level.REQUEST, (1,), (1, 1)),
        ("FP32[3, 1]", Level.REQUEST, (3, 1), (3, 1)),
        ("INT64[n]", Level.ITEM, (), (ANY,)),
        ("INT64[1, n]", Level.ITEM, (), (1, ANY)),
        ("INT64[n, 16]", Level.ITEM, (16,), (ANY, 16)),
        ("INT64[1, n, 16]", Level.ITEM, (16,), (1, ANY, 16)),
        (" BYTES [ n , 2 ] ", Level.ITEM, (2,), (ANY, 2)),
    ],
)
def test_a_leading_one_is_the_batch_axis_and_n_counts_the_candidates(
    text: str, level: Level, shape: tuple[int, ...], dims: tuple[int, ...]
) -> None:
    tensor = TensorSpec.parse(text)
    assert (tensor.column.level, tensor.column.shape, tensor.dims) == (level, shape, dims)


@settings(deadline=None)
@given(column=COLUMNS)
def test_a_column_reads_back_from_its_own_text(column: ColumnSpec) -> None:
    assert TensorSpec.parse(str(column)).column == column


@settings(deadline=None)
@given(column=COLUMNS, batched=st.booleans())
def test_a_tensor_reads_back_from_its_own_text(column: ColumnSpec, batched: bool) -> None:
    sizes = ["1"] * batched + ["n"] * (column.level is Level.ITEM) + [str(s) for s in column.shape]
    tensor = TensorSpec.parse(f"{column.datatype}[{','.join(sizes or ['1'])}]")
    assert TensorSpec.parse(str(tensor)) == tensor


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not a tensor type"),
        ("FP32", "not a tensor type"),
        ("FP32[n", "not a tensor type"),
        ("FP32[n]]", "not a tensor type"),
        ("FP32[n] FP32[n]", "not a tensor type"),
        ("FP31[n]", "'FP31' is not a datatype; known: BOOL, UINT8"),
        ("fp32[n]", "'fp32' is not a datatype"),
        ("FP32[]", "sizes must be"),
        ("FP32[0]", "sizes must be"),
        ("FP32[-1]", "sizes must be"),
        ("FP32[n, n]", "sizes must be"),
        ("FP32[8, n]", "sizes must be"),
        ("FP32[n, 0]", "sizes must be"),
        ("FP32[n,]", "sizes must be"),
        ("FP32[n, 01]", "sizes must be"),
        ("FP32[n, 1e3]", "sizes must be"),
        ("FP32[n, 1٣]", "sizes must be"),
        ("FP32[n, 1000000000]", "sizes must be"),
    ],
)
def test_any_other_text_is_refused_with_the_mend(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        TensorSpec.parse(text)


def test_every_datatype_has_a_dtype_of_its_own() -> None:
    assert {name: DATATYPES[dtype] for name, dtype in DTYPES.items()} == {n: n for n in DTYPES}


@settings(deadline=None)
@given(column=COLUMNS)
def test_a_column_is_accepted_as_itself_and_with_any_size(column: ColumnSpec) -> None:
    assert column.accepts(column)
    free = ColumnSpec(column.datatype, column.level, (ANY,) * len(column.shape))
    assert free.accepts(column)


@settings(deadline=None)
@given(
    want=st.lists(st.sampled_from([ANY, 1, 2]), max_size=3).map(tuple),
    have=st.lists(st.sampled_from([1, 2]), max_size=3).map(tuple),
)
def test_sizes_are_compared_one_by_one(want: tuple[int, ...], have: tuple[int, ...]) -> None:
    pattern = ",".join("[12]" if size == ANY else str(size) for size in want)
    fits = re.fullmatch(pattern, ",".join(map(str, have))) is not None
    required = ColumnSpec("INT64", Level.ITEM, want)
    assert required.accepts(ColumnSpec("INT64", Level.ITEM, have)) == fits


def test_another_datatype_or_level_is_never_accepted() -> None:
    required = ColumnSpec("INT64", Level.ITEM)
    assert not required.accepts(ColumnSpec("INT32", Level.ITEM))
    assert not required.accepts(ColumnSpec("INT64", Level.REQUEST))


@settings(deadline=None)
@given(counts=st.lists(st.integers(0, 5), max_size=8), seed=st.integers(0, 2**32))
def test_a_batch_knows_whose_each_row_is(counts: list[int], seed: int) -> None:
    dice = np.random.default_rng(seed)
    users = dice.integers(0, 100, (len(counts), 2))
    items = dice.integers(0, 100, sum(counts))
    splits = np.array([sum(counts[:event]) for event in range(len(counts) + 1)], np.int64)
    batch = Batch({"user": users, "item": items}, splits)

    owners = [event for event, count in enumerate(counts) for _ in range(count)]
    assert (batch.event_count, batch.row_count) == (len(counts), len(owners))
    assert batch.owners.dtype == np.int64
    assert batch.owners.tolist() == owners
    repeated = batch.at_item_level("user", Level.REQUEST)
    assert repeated.tolist() == [users[owner].tolist() for owner in owners]
    assert repeated.shape == (len(owners), 2)


def test_an_item_column_is_at_item_level_already() -> None:
    items = np.arange(3)
    batch = Batch({"item": items}, np.array([0, 1, 3]))
    assert batch.at_item_level("item", Level.ITEM) is items
    assert batch["item"] is items


def test_owners_are_computed_once_a_batch() -> None:
    batch = Batch({}, np.array([0, 1, 3]))
    assert batch.owners is batch.owners
