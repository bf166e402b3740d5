"""Dense scoring with ONNX models of a few nodes, against numpy."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.columns import Array
from sedp.errors import ConfigError
from sedp.stage import Resources
from sedp.stages.dense_scoring import DenseScoring
from tests.stages.lone_stage import column_types, make_batch, make_stage, run_stage
from tests.stages.tiny_models import (
    DOUBLE,
    FLOAT,
    INT32,
    INT64,
    WEIGHTS,
    Tensor,
    save_concat_model,
    save_gather_model,
    save_identity,
)

CONCAT_TYPES = {"user": "FP32[1, 2]", "item": "FP32[n, 3]"}
GATHER_TYPES = {"user": "FP32[1, 2]", "item": "FP32[n, 2]"}
GATHER_OUTPUTS = {"score": "FP32[n]", "doubled": "FP32[1, 2]"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_concat_model(folder / "concat.onnx")
    save_gather_model(folder / "gather.onnx")
    (folder / "text.onnx").write_text("not a model")
    return folder


def whole_numbers(seed: int, *shape: int) -> Array:
    """float32 of small whole numbers, for which sums are exact in any order."""
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(1, 5), min_size=1, max_size=5), seed=st.integers(0, 2**32))
def test_request_rows_are_repeated_for_each_candidate(
    models: Path, counts: list[int], seed: int
) -> None:
    user, item = whole_numbers(seed, len(counts), 2), whole_numbers(seed + 1, sum(counts), 3)
    stage = make_stage(
        DenseScoring, model="concat.onnx", inputs=["user", "item"], outputs={"score": "FP32[n]"}
    )
    batch = make_batch(counts, {"user": user, "item": item})
    result = run_stage(stage, CONCAT_TYPES, batch, base_path=models)
    expected = np.hstack([np.repeat(user, counts, axis=0), item]) @ WEIGHTS[:, 0]
    np.testing.assert_array_equal(result["score"], expected)


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(1, 5), min_size=1, max_size=5), seed=st.integers(0, 2**32))
def test_a_model_with_owners_gathers_by_itself(models: Path, counts: list[int], seed: int) -> None:
    """`doubled` has one row a request: the user's part was worked out once."""
    user, item = whole_numbers(seed, len(counts), 2), whole_numbers(seed + 1, sum(counts), 2)
    stage = make_stage(
        DenseScoring, model="gather.onnx", inputs=["user", "item"], outputs=GATHER_OUTPUTS
    )
    batch = make_batch(counts, {"user": user, "item": item})
    result = run_stage(stage, GATHER_TYPES, batch, base_path=models)
    np.testing.assert_array_equal(result["doubled"], 2 * user)
    expected = (np.repeat(2 * user, counts, axis=0) * item).sum(axis=1)
    np.testing.assert_array_equal(result["score"], expected)


def test_columns_that_are_strided_in_memory_are_fed_alike(models: Path) -> None:
    user, item = whole_numbers(5, 2, 2), whole_numbers(6, 10, 6)[::2, ::2]
    assert not item.flags.c_contiguous
    stage = make_stage(
        DenseScoring, model="concat.onnx", inputs=["user", "item"], outputs={"score": "FP32[n]"}
    )
    batch = make_batch([2, 3], {"user": user, "item": item})
    result = run_stage(stage, CONCAT_TYPES, batch, base_path=models)
    expected = np.hstack([np.repeat(user, [2, 3], axis=0), item]) @ WEIGHTS[:, 0]
    np.testing.assert_array_equal(result["score"], expected)


def open_identity(folder: Path, source: Tensor, target: Tensor, column: str) -> None:
    """Open the model `y` = `x` where the pipeline's columns are both of type `column`."""
    save_identity(folder / "model.onnx", source, target)
    stage = make_stage(DenseScoring, model="model.onnx", inputs=["x"], outputs={"y": column})
    stage.provides(column_types({"x": column}))
    stage.open(Resources(folder))


@pytest.mark.parametrize(
    ("sizes", "column"),
    [
        (["n"], "FP32[n]"),
        ([None, 4], "FP32[n, 4]"),
        (["n", "m"], "FP32[n, 4]"),
        (["n", 2, "m"], "FP32[n, 2, 3]"),
        (None, "FP32[n, 4]"),
    ],
)
def test_free_dimensions_of_the_model_fit_any_column(
    tmp_path: Path, sizes: list[int | str | None] | None, column: str
) -> None:
    open_identity(tmp_path, (FLOAT, sizes), (FLOAT, sizes), column)


@pytest.mark.parametrize(
    ("tensor", "column"),
    [
        ((DOUBLE, ["n"]), "FP32[n]"),
        ((INT64, ["n"]), "INT32[n]"),
        ((FLOAT, ["n", 4]), "FP32[n, 3]"),
        ((FLOAT, ["n", 4]), "FP32[n]"),
        ((FLOAT, ["n"]), "FP32[n, 4]"),
    ],
)
def test_a_model_that_disagrees_with_the_columns_is_refused(
    tmp_path: Path, tensor: Tensor, column: str
) -> None:
    with pytest.raises(ConfigError, match=r"input 'x' is .* but the column is"):
        open_identity(tmp_path, tensor, tensor, column)


def test_outputs_are_checked_as_well_as_inputs(tmp_path: Path) -> None:
    tensor: Tensor = (FLOAT, ["n", 4])
    save_identity(tmp_path / "model.onnx", tensor, tensor)
    stage = make_stage(DenseScoring, model="model.onnx", inputs=["x"], outputs={"y": "FP32[n]"})
    stage.provides(column_types({"x": "FP32[n, 4]"}))
    with pytest.raises(ConfigError, match=r"output 'y' is .* but the column is FP32"):
        stage.open(Resources(tmp_path))


def test_a_model_exported_for_a_fixed_number_of_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="its first axis free"):
        open_identity(tmp_path, (FLOAT, [1, 4]), (FLOAT, [1, 4]), "FP32[n, 4]")


def test_owners_must_be_64_bit(tmp_path: Path) -> None:
    save_gather_model(tmp_path / "model.onnx", owners=(INT32, ["n"]))
    stage = make_stage(
        DenseScoring, model="model.onnx", inputs=["user", "item"], outputs=GATHER_OUTPUTS
    )
    with pytest.raises(ConfigError, match=r"input 'owners' is tensor\(int32\)"):
        run_stage(stage, GATHER_TYPES, make_batch([1], {}), base_path=tmp_path)


def test_owners_are_not_a_column() -> None:
    with pytest.raises(ValueError, match="remove it from `inputs`"):
        make_stage(DenseScoring, model="m", inputs=["user", "owners"], outputs={"y": "FP32[n]"})


@pytest.mark.parametrize(
    ("inputs", "outputs", "complaint"),
    [
        (["user"], {"score": "FP32[n]"}, "inputs .*'item', 'user'.* config names .*'user'"),
        (["user", "item", "hour"], {"score": "FP32[n]"}, "list exactly the model's inputs"),
        (["user", "item"], {"scores": "FP32[n]"}, "outputs .*'score'.* config names .*'scores'"),
    ],
)
def test_inputs_and_outputs_are_those_of_the_model(
    models: Path, inputs: list[str], outputs: Mapping[str, str], complaint: str
) -> None:
    stage = make_stage(DenseScoring, model="concat.onnx", inputs=inputs, outputs=outputs)
    types = {**CONCAT_TYPES, "hour": "INT64[1]"}
    stage.provides({name: column_types(types)[name] for name in inputs})
    with pytest.raises(ConfigError, match=complaint):
        stage.open(Resources(models))


@pytest.mark.parametrize(
    ("model", "complaint"),
    [("mising.onnx", "mising.onnx does not exist"), ("text.onnx", "cannot be loaded")],
)
def test_a_file_that_is_no_model_is_the_operators_error(
    models: Path, model: str, complaint: str
) -> None:
    stage = make_stage(DenseScoring, model=model, inputs=["x"], outputs={"y": "FP32[n]"})
    with pytest.raises(ConfigError, match=complaint):
        stage.open(Resources(models))


def test_without_onnxruntime_the_message_says_what_to_install(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    stage = make_stage(DenseScoring, model="text.onnx", inputs=["x"], outputs={"y": "FP32[n]"})
    with pytest.raises(ConfigError, match=r"pip install 'sedp\[onnx\]'"):
        stage.open(Resources(models))


@pytest.mark.parametrize(("param", "lent", "used"), [(None, 3, 3), (2, 3, 2)])
def test_threads_are_those_lent_unless_the_params_say_otherwise(
    models: Path, monkeypatch: pytest.MonkeyPatch, param: int | None, lent: int, used: int
) -> None:
    options = onnxruntime.SessionOptions()
    monkeypatch.setattr(onnxruntime, "SessionOptions", lambda: options)
    stage = make_stage(
        DenseScoring,
        model="concat.onnx",
        inputs=["user", "item"],
        outputs={"score": "FP32[n]"},
        threads=param,
    )
    stage.provides(column_types(CONCAT_TYPES))
    stage.open(Resources(models, threads=lent))
    assert options.intra_op_num_threads == used


@pytest.mark.parametrize("threads", [0, 257])
def test_threads_are_bounded(threads: int) -> None:
    params = {"model": "m", "inputs": ["x"], "outputs": {"y": "FP32[n]"}, "threads": threads}
    with pytest.raises(msgspec.ValidationError, match=r"threads"):
        make_stage(DenseScoring, **params)


def test_an_output_of_no_tensor_type_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a tensor type"):
        make_stage(DenseScoring, model="m", inputs=["x"], outputs={"score": "float"})
