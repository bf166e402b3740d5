"""The ctr-rank network: 429 inputs, two hidden layers, one score; as ONNX in two forms.

A row of inputs is `[dense 13 | user 10 × 16 | item 16 × 16]`. In the *plain* form it comes whole,
so the user's 160 inputs are multiplied once a candidate. The first layer is linear, hence a sum of
three products; the *split* form computes the user's once a request and adds it to each of its
candidates, which is exact and saves a third of the arithmetic.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sedp.demo.onnx_export import IR_VERSION, OPSET, Graph

if TYPE_CHECKING:
    import onnx

DENSE, USER_SLOTS, ITEM_SLOTS, DIM = 13, 10, 16, 16
USER_WIDTH, ITEM_WIDTH = USER_SLOTS * DIM, ITEM_SLOTS * DIM
WIDTHS = (DENSE + USER_WIDTH + ITEM_WIDTH, 256, 128, 1)

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Network:
    """One weight matrix and one bias row a layer; ReLU between them, sigmoid at the end."""

    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]

    def score(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores of `rows` (float64[n, 429]) in double precision: the reference."""
        for weights, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            rows = np.maximum(rows @ weights.astype(np.float64) + bias, 0.0)
        logits = rows @ self.weights[-1].astype(np.float64) + self.biases[-1]
        return 1.0 / (1.0 + np.exp(-logits[:, 0]))


def draw_network(dice: np.random.Generator) -> Network:
    """He's initialisation: signals keep their size from layer to layer."""
    sizes = list(itertools.pairwise(WIDTHS))
    return Network(
        tuple(
            (dice.standard_normal(size) * np.sqrt(2 / size[0])).astype(np.float32) for size in sizes
        ),
        tuple((dice.standard_normal(size[1]) * 0.1).astype(np.float32) for size in sizes),
    )


def export_plain(network: Network) -> onnx.ModelProto:
    """`rows` FP32[n, 429] → `scores` FP32[n]."""
    graph = Graph()
    weights = graph.constant("weights_0", network.weights[0])
    bias = graph.constant("bias_0", network.biases[0])
    first = graph.node("Gemm", ["rows", weights, bias], "first")
    _add_head(graph, first, network)
    return _model(graph, {"rows": ["n", WIDTHS[0]]})


def export_split(network: Network) -> onnx.ModelProto:
    """The form for stages: request rows come once a request, `owners` says whose each candidate is.

    Inputs: `dense` FP32[n, 13], `user_embedding` FP32[e, 10, 16], `item_embedding`
    FP32[n, 16, 16], `owners` INT64[n] (0..e-1). Output: `scores` FP32[n].
    """
    graph = Graph()
    parts = np.split(network.weights[0], [DENSE, DENSE + USER_WIDTH])
    names = [
        graph.constant(f"{side}_weights", part)
        for side, part in zip(("dense", "user", "item"), parts, strict=True)
    ]
    bias = graph.constant("bias_0", network.biases[0])
    user = graph.node("Flatten", ["user_embedding"], "user", axis=1)
    user_part = graph.node("Gemm", [user, names[1], bias], "user_part")
    shared = graph.node("Gather", [user_part, "owners"], "user_part_of_candidate", axis=0)
    item = graph.node("Flatten", ["item_embedding"], "item", axis=1)
    with_dense = graph.node("Gemm", ["dense", names[0], shared], "with_dense")
    first = graph.node("Gemm", [item, names[2], with_dense], "first")
    _add_head(graph, first, network)
    return _model(
        graph,
        {
            "dense": ["n", DENSE],
            "user_embedding": ["e", USER_SLOTS, DIM],
            "item_embedding": ["n", ITEM_SLOTS, DIM],
        },
        owners=True,
    )


def _add_head(graph: Graph, first: str, network: Network) -> None:
    """From the first layer's sums to the scores."""
    sums = first
    for layer in range(1, len(network.weights)):
        active = graph.node("Relu", [sums], f"active_{layer}")
        weights = graph.constant(f"weights_{layer}", network.weights[layer])
        bias = graph.constant(f"bias_{layer}", network.biases[layer])
        sums = graph.node("Gemm", [active, weights, bias], f"sums_{layer}")
    column = graph.node("Sigmoid", [sums], "scores_column")
    graph.node("Squeeze", [column, graph.constant("one", np.array([1], np.int64))], "scores")


def _model(
    graph: Graph, inputs: dict[str, list[str | int]], *, owners: bool = False
) -> onnx.ModelProto:
    import onnx
    from onnx import TensorProto, helper

    nodes: list[Any] = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in inputs.items()
    ]
    if owners:
        nodes.append(helper.make_tensor_value_info("owners", TensorProto.INT64, ["n"]))
    output = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n"])
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "ctr-rank", nodes, [output], graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="sedp",
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto
