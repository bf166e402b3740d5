"""A gRPC inference response from output columns.

Outputs go the way the inputs came: raw, or as typed contents. FP16 has no typed form, and the
forms are never mixed, so one such output makes all of them raw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sedp.columns import ANY, Array
from sedp.daemon.grpc.messages import message_class
from sedp.daemon.grpc.request import CONTENTS
from sedp.daemon.grpc.wire import join
from sedp.daemon.oip.request import InferenceRequest
from sedp.daemon.oip.response import DEGRADED
from sedp.daemon.oip.tensors import write_binary
from sedp.pipeline import Pipeline

_Response = message_class("ModelInferResponse")


def write_response(
    pipeline: Pipeline,
    request: InferenceRequest,
    columns: Mapping[str, Array],
    *,
    typed: bool,
    degraded: Sequence[str] = (),
) -> bytes:
    """Encode the wanted outputs as a `ModelInferResponse`.

    Args:
        columns: by output name, at least those wanted.
        typed: fill typed contents instead of `raw_output_contents`, if the datatypes can.
        degraded: stages that did less than they could; told in the parameter of that name.
    """
    rows = request.batch.row_count
    typed = typed and all(item.tensor.column.datatype in CONTENTS for item in request.outputs)
    outputs: list[dict[str, Any]] = []
    tensors: list[bytes] = []
    for wanted in request.outputs:
        datatype = wanted.tensor.column.datatype
        shape = [rows if size == ANY else size for size in wanted.tensor.dims]
        output: dict[str, Any] = {"name": wanted.name, "datatype": datatype, "shape": shape}
        if typed:
            values = columns[wanted.name].reshape(-1).tolist()
            output["contents"] = {CONTENTS[datatype]: values}
        else:
            tensors.append(write_binary(datatype, columns[wanted.name]))
        outputs.append(output)
    head = _Response(
        model_name=pipeline.name,
        model_version=pipeline.version,
        id=request.id or "",
        outputs=outputs,
        parameters={DEGRADED: {"string_param": ",".join(degraded)}} if degraded else {},
    )
    return join(head.SerializeToString(), tensors)
