"""Dense scoring: runs an ONNX model on the columns of a batch with onnxruntime.

A model that declares an input named `owners` (INT64[n]: the request each candidate belongs to)
gets request-level columns once a request and gathers them itself, so the user's part of the
arithmetic is done once. For any other model request rows are repeated for each candidate, if
candidates are among its inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from sedp.columns import ANY, Array, Batch, ColumnSpec, Level, TensorSpec
from sedp.errors import ConfigError
from sedp.stage import Resources, Stage

OWNERS = "owners"
OWNERS_SPEC = ColumnSpec("INT64", Level.ITEM)
ONNX_TYPES = {
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(float16)": "FP16",
    "tensor(bool)": "BOOL",
    **{f"tensor(int{bits})": f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{f"tensor(uint{bits})": f"UINT{bits}" for bits in (8, 16, 32, 64)},
}


class DenseScoring(Stage):
    """Runs an ONNX model whose inputs and outputs carry the names of columns."""

    class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        model: Annotated[
            str, msgspec.Meta(description="ONNX file; relative to the config file's folder.")
        ]
        inputs: Annotated[
            list[str], msgspec.Meta(min_length=1, description="Columns fed to the model.")
        ]
        outputs: Annotated[
            dict[str, str],
            msgspec.Meta(min_length=1, description='Model outputs and types, {score: "FP32[n]"}.'),
        ]
        threads: Annotated[
            Annotated[int, msgspec.Meta(ge=1, le=256)] | None,
            msgspec.Meta(description="Threads of one run, 1 to 256; default from the cores."),
        ] = None

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        if OWNERS in params.inputs:
            raise ValueError(f"the stage fills in {OWNERS!r} itself; remove it from `inputs`")
        self._outputs = {
            name: TensorSpec.parse(text).column for name, text in params.outputs.items()
        }
        self._inputs: Mapping[str, ColumnSpec] = {}
        self._gathers = False  # the model repeats request rows itself
        self._repeats = False  # we do, since candidates are among the inputs
        self._session: Any = None

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return dict.fromkeys(self.params.inputs)

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        self._inputs = inputs
        return self._outputs

    def open(self, resources: Resources) -> None:
        self._session = _load(
            resources.base_path / self.params.model, self.params.threads or resources.threads
        )
        wanted = {node.name: node for node in self._session.get_inputs()}
        self._gathers = OWNERS in wanted
        levels = {spec.level for spec in self._inputs.values()}
        self._repeats = not self._gathers and levels == {Level.REQUEST, Level.ITEM}
        fed = {**self._inputs, OWNERS: OWNERS_SPEC} if self._gathers else self._inputs
        made = {node.name: node for node in self._session.get_outputs()}
        _check_nodes(self.params.model, "input", wanted, fed)
        _check_nodes(self.params.model, "output", made, self._outputs)

    def process(self, batch: Batch) -> Mapping[str, Array]:
        if self._repeats:
            feed = {n: batch.at_item_level(n, spec.level) for n, spec in self._inputs.items()}
        else:
            feed = {name: batch[name] for name in self._inputs}
        if self._gathers:
            feed[OWNERS] = batch.owners
        names = list(self._outputs)
        return dict(zip(names, self._session.run(names, feed), strict=True))


def _load(path: Path, threads: int) -> Any:
    """A session that uses `threads` cores and never spins on them while idle."""
    try:
        import onnxruntime
    except ImportError as err:
        raise ConfigError(
            "stage kind 'dense_scoring' needs onnxruntime; pip install 'sedp[onnx]'"
        ) from err
    if not path.is_file():
        raise ConfigError(f"model file {path} does not exist; check `model` in the stage's params")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as err:  # onnxruntime raises many kinds for a bad model
        raise ConfigError(f"model file {path} cannot be loaded: {err}") from err


def _check_nodes(
    model: str, kind: str, nodes: Mapping[str, Any], columns: Mapping[str, ColumnSpec]
) -> None:
    """The model's own declaration must agree with the config; free dimensions fit anything."""
    if nodes.keys() != columns.keys():
        raise ConfigError(
            f"model {model!r} has the {kind}s {sorted(nodes)}, but the config names "
            f"{sorted(columns)}; list exactly the model's {kind}s"
        )
    for name, node in nodes.items():
        spec = columns[name]
        if ONNX_TYPES.get(node.type) != spec.datatype or not _fits(node.shape, spec):
            raise ConfigError(
                f"model {model!r}: {kind} {name!r} is {node.type} {node.shape}, but the column "
                f"is {spec}; export the model anew, its first axis free, or change the stages "
                "before it"
            )


def _fits(shape: Sequence[int | str | None], spec: ColumnSpec) -> bool:
    """A free size is a name or `None`; a shape of `[]` is one that onnxruntime cannot tell."""
    if not shape:
        return True
    rows, *sizes = shape
    own = tuple(size if isinstance(size, int) else ANY for size in sizes)
    return not isinstance(rows, int) and ColumnSpec(spec.datatype, spec.level, own).accepts(spec)
