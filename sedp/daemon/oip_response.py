"""An Open Inference Protocol v2 response: from output columns to bytes.

Pure. JSON comes first, the binary tensors follow in the listed order, little-endian and without
padding. Shapes are those the pipeline declares, with the number of candidates filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from sedp.columns import ANY, Array
from sedp.daemon.oip_request import InferenceRequest
from sedp.daemon.tensors import write_binary, write_json
from sedp.pipeline import Pipeline


def write_response(
    pipeline: Pipeline, request: InferenceRequest, columns: Mapping[str, Array]
) -> tuple[bytes, int | None]:
    """Encode the wanted outputs.

    Args:
        columns: by output name, at least those wanted.

    Returns:
        The body, and the length of its JSON part when binary tensors follow, else `None`.

    Raises:
        RequestError: 406, an output wanted as JSON has values that JSON cannot carry.
    """
    rows = request.batch.row_count
    outputs: list[dict[str, Any]] = []
    tails: list[bytes] = []
    for wanted in request.outputs:
        datatype = wanted.tensor.column.datatype
        output: dict[str, Any] = {
            "name": wanted.name,
            "datatype": datatype,
            "shape": [rows if size == ANY else size for size in wanted.tensor.dims],
        }
        if wanted.binary:
            tails.append(write_binary(datatype, columns[wanted.name]))
            output["parameters"] = {"binary_data_size": len(tails[-1])}
        else:
            output["data"] = write_json(wanted.name, datatype, columns[wanted.name])
        outputs.append(output)
    body: dict[str, Any] = {"model_name": pipeline.name, "model_version": pipeline.version}
    if request.id is not None:
        body["id"] = request.id
    body["outputs"] = outputs
    head = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join((head, *tails)), len(head)) if tails else (head, None)
