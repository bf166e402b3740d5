"""An Open Inference Protocol v2 response: from output columns to bytes.

Pure. JSON comes first, the binary tensors follow in the listed order, little-endian and without
padding. Shapes are those the pipeline declares, with the number of candidates filled in.

Names, shapes and sizes depend on what is asked and on the number of candidates alone. That part,
the *frame*, is written once and kept with what was asked; a response fills in values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import orjson

from sedp.columns import ANY, DTYPES, Array
from sedp.daemon.oip.outputs import Frame, WantedOutput, WantedOutputs
from sedp.daemon.oip.request import InferenceRequest
from sedp.daemon.oip.tensors import write_binary, write_json
from sedp.pipeline import Pipeline

DEGRADED = "degraded"  # parameter of an answer: names of stages, with commas between
FRAMES_MAX = 1024  # kept with one set of outputs: one for each number of candidates


def write_response(
    pipeline: Pipeline,
    request: InferenceRequest,
    columns: Mapping[str, Array],
    degraded: Sequence[str] = (),
) -> tuple[bytes, int | None]:
    """Encode the wanted outputs.

    Args:
        columns: by output name, at least those wanted.
        degraded: stages that did less than they could; told in the parameter of that name.

    Returns:
        The body, and the length of its JSON part when binary tensors follow, else `None`.

    Raises:
        RequestError: 406, an output wanted as JSON has values that JSON cannot carry.
    """
    outputs, rows = request.outputs, request.batch.row_count
    frame = outputs.frames.get(rows) or _keep_frame(pipeline, outputs, rows)
    if frame.whole and request.id is None and not degraded:
        tails = [write_binary(w.tensor.column.datatype, columns[w.name]) for w in outputs]
        return b"".join((frame.whole, *tails)), len(frame.whole)
    return _fill(frame, request, columns, degraded)


def _fill(
    frame: Frame,
    request: InferenceRequest,
    columns: Mapping[str, Array],
    degraded: Sequence[str],
) -> tuple[bytes, int | None]:
    """Write what is asked for into a frame."""
    text = [frame.opening]
    if request.id is not None:
        text += (b'"id":', orjson.dumps(request.id), b",")
    if degraded:
        text += (b'"parameters":', orjson.dumps({DEGRADED: ",".join(degraded)}), b",")
    text.append(b'"outputs":[')
    tails: list[bytes] = []
    for wanted, opening in zip(request.outputs, frame.outputs, strict=True):
        column = columns[wanted.name]
        text.append(opening)
        if not wanted.binary:
            values = write_json(wanted.name, wanted.tensor.column.datatype, column)
            text += (orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY), b"},")
            continue
        datatype = wanted.tensor.column.datatype
        tails.append(write_binary(datatype, column))
        if datatype == "BYTES":
            text.append(b"%d}}," % len(tails[-1]))
    head = b"".join(text)[: -len(b",")] + b"]}"
    return (b"".join((head, *tails)), len(head)) if tails else (head, None)


def _keep_frame(pipeline: Pipeline, outputs: WantedOutputs, rows: int) -> Frame:
    told = orjson.dumps({"model_name": pipeline.name, "model_version": pipeline.version})
    opening, parts = told[:-1] + b",", tuple(_frame(wanted, rows) for wanted in outputs)
    whole = b""
    if all(w.binary and w.tensor.column.datatype != "BYTES" for w in outputs):
        whole = b'%b"outputs":[%b]}' % (opening, b"".join(parts)[: -len(b",")])
    frame = Frame(opening, parts, whole)
    if len(outputs.frames) >= FRAMES_MAX:
        outputs.frames.clear()
    outputs.frames[rows] = frame
    return frame


def _frame(wanted: WantedOutput, rows: int) -> bytes:
    """All of an output's JSON when its size is known, else what stands before size or values."""
    shape = [rows if size == ANY else size for size in wanted.tensor.dims]
    datatype = wanted.tensor.column.datatype
    text = orjson.dumps({"name": wanted.name, "datatype": datatype, "shape": shape})[:-1]
    if not wanted.binary:
        return text + b',"data":'
    text += b',"parameters":{"binary_data_size":'
    if datatype == "BYTES":
        return text  # its size depends on its values
    return text + b"%d}}," % (math.prod(shape) * DTYPES[datatype].itemsize)
