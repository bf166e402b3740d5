"""The client's encoding against an independent reader, and answers that are none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sedp.errors import ConfigError
from sedp.simulator.oip_client import (
    LENGTH_HEADER,
    MalformedAnswer,
    RequestEncoder,
    TensorMetadata,
    decode_answer,
    decode_metadata,
)
from sedp.simulator.recording import Recording, load_recording
from tests.simulator.fake_daemon import answer, read_request
from tests.simulator.recordings import recorded_arrays, save

INPUTS = [
    TensorMetadata("household_id", "INT64", (1,)),
    TensorMetadata("store_id", "INT64", (1,)),
    TensorMetadata("product_id", "INT64", (1, -1)),
]


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return load_recording(save(tmp_path, recorded_arrays()))


def test_every_request_arrives_as_recorded(recording: Recording) -> None:
    encoder = RequestEncoder(recording, INPUTS)
    for request in range(len(recording)):
        headers, body = encoder.encode(request)
        columns = read_request(headers[LENGTH_HEADER], body)
        start, stop = recording.splits[request : request + 2]
        assert columns["household_id"] == recording.columns["household_id"][request]
        assert columns["store_id"] == recording.columns["store_id"][request]
        np.testing.assert_array_equal(
            columns["product_id"], [recording.columns["product_id"][start:stop]]
        )


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (TensorMetadata("price", "FP32", (-1,)), "no column 'price'.*it holds: household_id"),
        (TensorMetadata("product_id", "INT32", (-1,)), "is int64; the pipeline wants INT32"),
        (TensorMetadata("product_id", "INT64", (1,)), "has shape"),
        (TensorMetadata("household_id", "INT64", (-1,)), "has shape"),
        (TensorMetadata("product_id", "INT64", (-1, 4)), "has shape"),
        (TensorMetadata("store_id", "BYTES", (1,)), "pipeline wants BYTES"),
        (TensorMetadata("store_id", "BF16", (1,)), "pipeline wants BF16"),
    ],
)
def test_recording_that_does_not_fit_the_pipeline_is_refused(
    recording: Recording, tensor: TensorMetadata, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        RequestEncoder(recording, [tensor])


def test_answer_is_read_by_name() -> None:
    score, rank = np.array([0.5, 0.25], np.float32), np.array([1, 0], np.int32)
    response = answer({"rank": rank, "score": score})
    assert isinstance(response.body, bytes)
    outputs = decode_answer(response.headers, response.body)
    np.testing.assert_array_equal(outputs["score"], score)
    np.testing.assert_array_equal(outputs["rank"], rank)


def body_of(size: int, shape: list[int], datatype: str = "FP32") -> tuple[dict[str, str], bytes]:
    parameters = {"binary_data_size": size}
    output = {"name": "score", "datatype": datatype, "shape": shape, "parameters": parameters}
    header = json.dumps({"outputs": [output]}).encode()
    return {LENGTH_HEADER: str(len(header))}, header + bytes(8)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b"{}"),
        ({LENGTH_HEADER: "x"}, b"{}"),
        ({LENGTH_HEADER: "2"}, b"{}"),
        ({LENGTH_HEADER: "4"}, b"\xff\xfe{}"),
        body_of(8, [3]),
        body_of(7, [2]),
        body_of(4, [1]),
        body_of(12, [3]),
        body_of(8, [2], "FP99"),
    ],
)
def test_what_is_no_answer_is_said_to_be_malformed(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        decode_answer(headers, body)


def test_metadata_that_is_none_is_malformed() -> None:
    with pytest.raises(MalformedAnswer):
        decode_metadata(b"<html>")
