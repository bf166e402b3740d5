"""`tritonclient[http]` as it is installed from PyPI, sync and asyncio, against a running daemon."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from sedp.columns import Array
from sedp.daemon.daemon import Daemon

from .conftest import StartDaemon

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of gevent's import, which is not ours to mend
    import tritonclient.http as triton
    import tritonclient.http.aio as triton_aio
    from tritonclient.utils import InferenceServerException

VALUES = np.array([0.5, -1.25, 3e8], np.float32)


def run_repository(data: str, admin: str) -> Iterator[object]:
    """The calls of an operator, on the admin plane, and what the data plane makes of them."""
    with triton.InferenceServerClient(admin) as client, triton.InferenceServerClient(data) as user:
        yield client.is_server_live() and client.is_server_ready()
        yield "model_repository" in client.get_server_metadata()["extensions"]
        yield {entry["state"] for entry in client.get_model_repository_index()} == {"READY"}
        client.unload_model("double")
        yield not user.is_model_ready("double")
        client.load_model("double")
        yield user.is_model_ready("double")
        with pytest.raises(InferenceServerException, match="did you mean 'double'"):
            client.load_model("dubble")
        with pytest.raises(InferenceServerException, match="change the config file"):
            client.load_model("double", config="{}")
        inputs = [tensor(triton.InferInput, "x", "FP32", VALUES, True)]
        user.infer("double", inputs)
        [stats] = user.get_inference_statistics("double")["model_stats"]
        yield stats["inference_stats"]["success"]["count"] == 1
        yield len(user.get_inference_statistics()["model_stats"]) == 5
        yield user.get_model_config("double")["input"][0]["data_type"] == "TYPE_FP32"


def tensor(kind: Any, name: str, datatype: str, array: Array, binary: bool) -> Any:
    made = kind(name, list(array.shape), datatype)
    return made.set_data_from_numpy(array, binary_data=binary)


def use_everything(address: str) -> Iterator[object]:
    """One call after the other, as a script would make them; runs in a thread."""
    with triton.InferenceServerClient(address) as client:
        yield client.is_server_live() and client.is_server_ready()
        yield client.is_model_ready("double") and client.is_model_ready("double", "1")
        yield client.get_server_metadata()["name"] == "sedp"
        yield client.get_model_metadata("double")["inputs"][0]["shape"] == [-1]
        for binary in (True, False):
            inputs = [tensor(triton.InferInput, "x", "FP32", VALUES, binary)]
            for outputs in (None, [triton.InferRequestedOutput("y", binary_data=binary)]):
                for compression in (None, "gzip", "deflate"):
                    result = client.infer(
                        "double",
                        inputs,
                        outputs=outputs,
                        request_id="id-1",
                        timeout=500_000,
                        priority=1,
                        request_compression_algorithm=compression,
                        response_compression_algorithm=compression,
                    )
                    yield result.as_numpy("y").tolist() == (VALUES * 2).tolist()
                    yield result.get_response()["id"] == "id-1"
        batch = [tensor(triton.InferInput, "x", "FP32", VALUES[None], True)]  # leading axis of 1
        yield client.infer("double", batch).as_numpy("y").shape == (3,)
        yield client.async_infer("double", inputs).get_result().as_numpy("y").size == 3
        yield from use_strings(client)
        yield from misuse(client, inputs)


def use_strings(client: Any) -> Iterator[object]:
    words = np.array(["ä", "", "long" * 9], object)
    for binary in (True, False):
        inputs = [
            tensor(triton.InferInput, "t", "BYTES", words, binary),
            tensor(triton.InferInput, "u", "BYTES", words[:1], binary),
        ]
        outputs = [triton.InferRequestedOutput("t2", binary_data=binary)]
        result = client.infer("textual", inputs, outputs=outputs).as_numpy("t2")
        yield [w if isinstance(w, str) else w.decode() for w in result] == words.tolist()


def misuse(client: Any, inputs: list[Any]) -> Iterator[object]:
    for model, words in (("dubble", "did you mean 'double'"), ("fail", "the pipeline failed")):
        with pytest.raises(InferenceServerException, match=words):
            client.infer(model, inputs)
    with pytest.raises(InferenceServerException, match="it must be FP32"):
        client.infer(
            "double", [tensor(triton.InferInput, "x", "INT32", np.arange(3, dtype=np.int32), True)]
        )
    yield not client.is_model_ready("dubble")


async def test_the_sync_client_works_unmodified(start_daemon: StartDaemon) -> None:
    daemon = await start_daemon()
    results = await asyncio.to_thread(lambda: list(use_everything(daemon.data_address)))
    assert len(results) > 30
    assert all(results)


async def test_the_asyncio_client_works_unmodified(start_daemon: StartDaemon) -> None:
    daemon: Daemon = await start_daemon()
    async with triton_aio.InferenceServerClient(daemon.data_address) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("double")
        for binary in (True, False):
            inputs = [tensor(triton_aio.InferInput, "x", "FP32", VALUES, binary)]
            result = await client.infer("double", inputs, request_compression_algorithm="gzip")
            assert result.as_numpy("y").tolist() == (VALUES * 2).tolist()
        with pytest.raises(InferenceServerException, match="did you mean"):
            await client.infer("dubble", inputs)


async def test_the_repository_is_run_from_the_admin_plane(start_daemon: StartDaemon) -> None:
    daemon = await start_daemon()
    addresses = daemon.data_address, daemon.admin_address
    results = await asyncio.to_thread(lambda: list(run_repository(*addresses)))
    assert len(results) > 7
    assert all(results)
