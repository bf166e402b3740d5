"""What a response looks like, and what is said about values it cannot carry."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from sedp.columns import Array
from sedp.daemon.oip.metadata import example_request, pipeline_metadata
from sedp.daemon.oip.request import InferenceRequest, RequestReader
from sedp.daemon.oip.response import write_response
from sedp.errors import RequestError

from . import wire

PIPELINE = wire.pipeline(
    {"item": "INT32[n]"},
    {"score": "FP32[n]", "tag": "BYTES[n]", "half": "FP16[n]", "top": "INT32[1, 3]"},
)


def ask(**fields: Any) -> InferenceRequest:
    body, _ = wire.request({"item": ("INT32", np.arange(2))}, **fields)
    return RequestReader(PIPELINE, 64).read(body)


def test_response_fills_in_the_rows() -> None:
    request = ask(parameters={"binary_data_output": True}, id="r1")
    columns = {
        "score": np.array([0.5, 0.25], np.float32),
        "tag": np.array([b"x", b"\xff"], object),
        "half": np.array([1, 2], np.float16),
        "top": np.array([[3, 2, 1]], np.int32),
    }
    body, json_bytes = write_response(PIPELINE, request, columns)
    assert json_bytes is not None
    head = json.loads(body[:json_bytes])
    assert (head["model_name"], head["model_version"], head["id"]) == ("p", "1", "r1")
    assert [output["shape"] for output in head["outputs"]] == [[2], [2], [2], [1, 3]]
    back = wire.answer(body, json_bytes)
    assert {name: array.tolist() for name, array in back.items()} == {
        name: array.tolist() for name, array in columns.items()
    }


def test_an_answer_without_an_id_differs_in_nothing_else() -> None:
    """Its JSON is kept whole and not put together anew."""
    columns = {"score": np.array([0.5, 0.25], np.float32), "top": np.array([[3, 2, 1]], np.int32)}
    wanted = [{"name": name, "parameters": {"binary_data": True}} for name in columns]
    whole, whole_bytes = write_response(PIPELINE, ask(outputs=wanted), columns)
    filled, filled_bytes = write_response(PIPELINE, ask(outputs=wanted, id="r1"), columns)
    assert whole_bytes is not None
    assert filled_bytes is not None
    told = json.loads(filled[:filled_bytes])
    assert told.pop("id") == "r1"
    assert json.loads(whole[:whole_bytes]) == told
    assert whole[whole_bytes:] == filled[filled_bytes:]
    degraded, degraded_bytes = write_response(PIPELINE, ask(outputs=wanted), columns, ("cut",))
    assert json.loads(degraded[:degraded_bytes])["parameters"] == {"degraded": "cut"}


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("score", np.array([1, np.nan], np.float32), "holds NaN or infinity"),
        ("score", np.array([np.inf, 0], np.float32), "holds NaN or infinity"),
        ("tag", np.array([b"x", b"\xff"], object), "is not UTF-8"),
    ],
)
def test_what_json_cannot_carry_is_refused_with_the_mend(
    name: str, values: Array, reason: str
) -> None:
    request = ask(outputs=[{"name": name}])
    with pytest.raises(RequestError, match=f"{reason}.*binary_data") as caught:
        write_response(PIPELINE, request, {name: values})
    assert caught.value.status == 406


@pytest.mark.parametrize("last", [2.5, np.nan])
def test_outputs_may_lie_anywhere_in_memory(last: float) -> None:
    values = np.frombuffer(b"?" + np.array([1, last], np.float32).tobytes(), np.float32, offset=1)
    request = ask(outputs=[{"name": "score"}])
    if np.isnan(last):
        with pytest.raises(RequestError, match="NaN"):
            write_response(PIPELINE, request, {"score": values})
    else:
        assert b"[1.0,2.5]" in write_response(PIPELINE, request, {"score": values})[0]


def test_metadata_has_minus_one_for_the_candidates() -> None:
    metadata = pipeline_metadata(PIPELINE)
    assert metadata["inputs"][0] == {"name": "item", "datatype": "INT32", "shape": [-1]}
    assert metadata["outputs"][3] == {"name": "top", "datatype": "INT32", "shape": [1, 3]}


def test_the_example_request_is_accepted() -> None:
    outputs = {"y": "FP32[n]"}
    for text in ("BOOL[n]", "INT8[1, n, 3]", "FP64[5]", "BYTES[1]"):
        pipeline = wire.pipeline({"x": text, "z": "INT64[n]"}, outputs)
        example = example_request(pipeline)
        assert example is not None
        assert RequestReader(pipeline, 64).read(example.encode()).batch.row_count == 2
    assert example_request(wire.pipeline({"x": "FP16[n]"}, outputs)) is None
