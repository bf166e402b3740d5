"""ONNX models of a few nodes, small enough to be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 9  # what an opset of 17 came with; a runtime need not know later ones

Sizes = Sequence[int | str | None] | None
Tensor = tuple[int, Sizes]  # element type and shape

FLOAT, DOUBLE, INT32, INT64 = (
    TensorProto.FLOAT,
    TensorProto.DOUBLE,
    TensorProto.INT32,
    TensorProto.INT64,
)

WEIGHTS = np.array([[1.0], [10.0], [100.0], [1000.0], [10000.0]], np.float32)


def save_model(
    path: Path,
    nodes: Sequence[Any],
    inputs: Mapping[str, Tensor],
    outputs: Mapping[str, Tensor],
    weights: Mapping[str, Any] | None = None,
) -> None:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, *tensor) for name, tensor in inputs.items()],
        [helper.make_tensor_value_info(name, *tensor) for name, tensor in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    opset = helper.make_opsetid("", OPSET)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION), str(path))


def save_identity(path: Path, source: Tensor, target: Tensor) -> None:
    """`y` = `x`, declared as told."""
    save_model(path, [helper.make_node("Identity", ["x"], ["y"])], {"x": source}, {"y": target})


def save_concat_model(path: Path) -> None:
    """`score` = [user, item] · (1, 10, 100, 1000, 10000), user FP32[n, 2], item FP32[n, 3]."""
    nodes = [
        helper.make_node("Concat", ["user", "item"], ["both"], axis=1),
        helper.make_node("MatMul", ["both", "weights"], ["column"]),
        helper.make_node("Squeeze", ["column", "axes"], ["score"]),
    ]
    inputs: dict[str, Tensor] = {"user": (FLOAT, ["n", 2]), "item": (FLOAT, ["n", 3])}
    weights = {"weights": WEIGHTS, "axes": np.array([1])}
    save_model(path, nodes, inputs, {"score": (FLOAT, ["n"])}, weights)


def save_gather_model(path: Path, owners: Tensor = (INT64, ["n"])) -> None:
    """`score` = (2 · user)[owners] · item; `doubled` = 2 · user, one row a request."""
    nodes = [
        helper.make_node("Add", ["user", "user"], ["doubled"]),
        helper.make_node("Gather", ["doubled", "owners"], ["users"], axis=0),
        helper.make_node("Mul", ["users", "item"], ["products"]),
        helper.make_node("ReduceSum", ["products", "axes"], ["score"], keepdims=0),
    ]
    inputs: dict[str, Tensor] = {
        "user": (FLOAT, ["requests", 2]),
        "item": (FLOAT, ["n", 2]),
        "owners": owners,
    }
    outputs: dict[str, Tensor] = {"score": (FLOAT, ["n"]), "doubled": (FLOAT, ["requests", 2])}
    save_model(path, nodes, inputs, outputs, {"axes": np.array([1])})
