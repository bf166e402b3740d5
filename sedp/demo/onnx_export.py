"""The model as ONNX, in a form that computes the user's part once a request.

Everything under the last non-linearity is a sum over slots and history columns, so each side is
reduced to one short row, its *part*:

    linear terms · 1 | factor sums · k | squares of factors · 1 | hidden layer · h

The request's part is gathered to its candidates by `owners` and added to theirs; what remains is
a few operations a candidate. Written with the `onnx` package alone: no training framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sedp.columns import Array
from sedp.demo.model import Model
from sedp.demo.slots import ITEM_HISTORY_TABLES, ITEM_SLOTS, USER_HISTORY_TABLES, USER_SLOTS

if TYPE_CHECKING:
    import onnx

OPSET = 17
IR_VERSION = 8  # the one that came with opset 17, so that older runtimes read the file
ONE, TWO, END = "one", "two", "end"  # constants: axes and bounds


class Graph:
    """Collects nodes and constants; every node has one output, named by the caller."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def constant(self, name: str, value: Array) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


def export_model(model: Model) -> onnx.ModelProto:
    """Build and check the graph.

    Inputs: `user_embedding` FP32[e, slots, 1 + k], `item_embedding` FP32[n, slots, 1 + k], one
    FP32 matrix for each history table by its name, `owners` INT64[n] (the request, 0..e-1, of each
    candidate). Output: `score` FP32[n] in 0..1.
    """
    import onnx
    from onnx import helper

    graph = Graph()
    for name, number in ((ONE, 1), (TWO, 2), (END, np.iinfo(np.int64).max)):
        graph.constant(name, np.array([number], np.int64))
    dim = model.embedding.rows.shape[1]
    user_width = sum(len(table.columns) for table in USER_HISTORY_TABLES)
    user = add_part(
        graph, "user", [table.name for table in USER_HISTORY_TABLES], model.hidden[:user_width]
    )
    item = add_part(
        graph, "item", [table.name for table in ITEM_HISTORY_TABLES], model.hidden[user_width:]
    )
    gathered = graph.node("Gather", [user, "owners"], "user_part_of_candidate", axis=0)
    both = graph.node("Add", [gathered, item], "part")
    add_head(graph, both, model, dim)

    proto = helper.make_model(
        helper.make_graph(
            graph.nodes, "promo-rank", describe_inputs(dim), describe_outputs(), graph.constants
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="sedp",
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto


def add_part(graph: Graph, side: str, histories: list[str], hidden: Array) -> str:
    """Reduce one side's embeddings and history to its part: FP32[rows, 1 + k + 1 + h]."""
    embedding = f"{side}_embedding"
    sums = graph.node("ReduceSum", [embedding, ONE], f"{side}_sums", keepdims=0)
    factors = graph.node("Slice", [embedding, ONE, END, TWO], f"{side}_factors")
    flat = graph.node("Flatten", [factors], f"{side}_factors_flat", axis=1)
    squares = graph.node("ReduceSumSquare", [flat], f"{side}_squares", axes=[1], keepdims=1)
    history = graph.node("Concat", histories, f"{side}_history", axis=1)
    weights = graph.constant(f"{side}_hidden_weights", hidden)
    net = graph.node("MatMul", [history, weights], f"{side}_hidden")
    return graph.node("Concat", [sums, squares, net], f"{side}_part", axis=1)


def add_head(graph: Graph, part: str, model: Model, dim: int) -> None:
    """From the sum of both parts to the score."""
    from onnx import helper

    names = ["linear", "factor_sums", "squares", "hidden"]
    sizes = graph.constant("part_sizes", np.array([1, dim - 1, 1, len(model.output)]))
    graph.nodes.append(helper.make_node("Split", [part, sizes], names, "split_part", axis=1))
    total = graph.node("ReduceSumSquare", ["factor_sums"], "all_pairs", axes=[1], keepdims=1)
    twice = graph.node("Sub", [total, "squares"], "pairs_twice")
    half = graph.constant("half", np.array([0.5], np.float32))
    pairs = graph.node("Mul", [twice, half], "pairs")
    offset = graph.constant("offset", model.offset)
    active = graph.node("Relu", [graph.node("Add", ["hidden", offset], "net")], "active")
    weights = graph.constant("output_weights", model.output[:, None])
    net = graph.node("MatMul", [active, weights], "net_output")
    bias = graph.constant("bias", model.bias)
    logit = graph.node("Sum", ["linear", pairs, net, bias], "logit")
    column = graph.node("Sigmoid", [logit], "score_column")
    graph.node("Squeeze", [column, ONE], "score")


def describe_inputs(dim: int) -> list[Any]:
    """Types of the graph's inputs; `e` requests, `n` candidates."""
    from onnx import TensorProto, helper

    shapes: dict[str, list[str | int]] = {
        "user_embedding": ["e", len(USER_SLOTS), dim],
        "item_embedding": ["n", len(ITEM_SLOTS), dim],
        **{table.name: ["e", len(table.columns)] for table in USER_HISTORY_TABLES},
        **{table.name: ["n", len(table.columns)] for table in ITEM_HISTORY_TABLES},
    }
    floats = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]
    return [*floats, helper.make_tensor_value_info("owners", TensorProto.INT64, ["n"])]


def describe_outputs() -> list[Any]:
    """Types of the graph's outputs."""
    from onnx import TensorProto, helper

    return [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])]
