"""What the Open Inference Protocol says about the server and its models; pipelines are models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import orjson

from sedp import __version__
from sedp.columns import ANY, TensorSpec
from sedp.daemon.oip.tensors import JSON_KINDS
from sedp.pipeline import Pipeline

PLATFORM = "sedp_pipeline"
EXAMPLE_VALUES: dict[type, list[Any]] = {
    bool: [True, False],
    int: [1, 2],
    float: [0.5, 1.5],
    str: ["a", "b"],
}


DATA_EXTENSIONS = (
    "binary_tensor_data",
    "schedule_policy",  # the request parameters `priority` and `timeout`
    "statistics",
    "model_configuration",
)
ADMIN_EXTENSIONS = ("model_repository", "model_repository(unload_dependents)")


def server_metadata(extensions: Sequence[str]) -> dict[str, Any]:
    """What a plane says of itself; `extensions` are those whose calls it answers."""
    return {"name": "sedp", "version": __version__, "extensions": list(extensions)}


def pipeline_config(pipeline: Pipeline) -> dict[str, Any]:
    """The model configuration that load generators read; tensors are never batched by callers."""
    return {
        "name": pipeline.name,
        "platform": PLATFORM,
        "backend": "sedp",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 0,
        "input": [_configured(name, spec) for name, spec in pipeline.inputs.items()],
        "output": [_configured(name, spec) for name, spec in pipeline.outputs.items()],
    }


def pipeline_metadata(pipeline: Pipeline) -> dict[str, Any]:
    """Name, versions and tensors, with -1 for the number of candidates."""
    return {
        "name": pipeline.name,
        "versions": [pipeline.version],
        "platform": PLATFORM,
        "inputs": [_tensor(name, spec) for name, spec in pipeline.inputs.items()],
        "outputs": [_tensor(name, spec) for name, spec in pipeline.outputs.items()],
    }


def example_request(pipeline: Pipeline) -> str | None:
    """A small JSON request that the pipeline takes; `None` when an input has no JSON form."""
    rows = min(2, pipeline.rows_max)
    inputs = []
    for name, spec in pipeline.inputs.items():
        kind = JSON_KINDS.get(spec.column.datatype)
        if kind is None:
            return None
        shape = [rows if size == ANY else size for size in spec.dims]
        count = math.prod(shape)
        data = (EXAMPLE_VALUES[kind] * count)[:count]
        tensor = {"name": name, "datatype": spec.column.datatype, "shape": shape, "data": data}
        inputs.append(tensor)
    return orjson.dumps({"inputs": inputs}).decode()


def _tensor(name: str, spec: TensorSpec) -> dict[str, Any]:
    return {"name": name, "datatype": spec.column.datatype, "shape": list(spec.dims)}


def _configured(name: str, spec: TensorSpec) -> dict[str, Any]:
    datatype = spec.column.datatype
    kind = "STRING" if datatype == "BYTES" else datatype
    return {"name": name, "data_type": f"TYPE_{kind}", "dims": list(spec.dims)}
