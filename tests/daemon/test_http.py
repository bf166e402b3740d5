"""The data plane over real sockets: paths, methods, forms of requests and answers."""

from __future__ import annotations

import aiohttp
import pytest

from . import wire
from .calls import X, infer_url, url
from .conftest import StartDaemon


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True, "live": True}),
        ("/v2/models/double/ready", {"name": "double", "ready": True}),
        ("/v2/models/double/versions/1/ready", {"name": "double", "ready": True}),
        ("/v2/models/d%6Fuble/ready?verbose=1", {"name": "double", "ready": True}),
        (
            "/v2/models/double/versions/1",
            {
                "name": "double",
                "versions": ["1"],
                "platform": "sedp_pipeline",
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
                "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
            },
        ),
    ],
)
async def test_paths_answer(
    start_daemon: StartDaemon, http: aiohttp.ClientSession, path: str, body: object
) -> None:
    daemon = await start_daemon()
    async with http.get(url(daemon, path)) as response:
        assert (response.status, await response.json()) == (200, body)
    async with http.head(url(daemon, path)) as response:
        assert (response.status, await response.read()) == (200, b"")


async def test_server_metadata_is_at_both_paths(
    start_daemon: StartDaemon, http: aiohttp.ClientSession
) -> None:
    daemon = await start_daemon()
    for path in ("/v2", "/v2/"):
        async with http.get(url(daemon, path)) as response:
            metadata = await response.json()
            assert metadata["name"] == "sedp"
            assert metadata["extensions"] == [
                "binary_tensor_data",
                "schedule_policy",
                "statistics",
                "model_configuration",
            ]


@pytest.mark.parametrize("binary_in", [False, True])
@pytest.mark.parametrize("binary_out", [False, True])
async def test_infer_in_every_form(
    start_daemon: StartDaemon, http: aiohttp.ClientSession, binary_in: bool, binary_out: bool
) -> None:
    daemon = await start_daemon()
    body, length = wire.request(
        X, binary=binary_in, id="r7", parameters={"binary_data_output": binary_out}
    )
    headers = {wire.LENGTH: length} if length else {}
    async with http.post(infer_url(daemon), data=body, headers=headers) as response:
        assert response.status == 200
        json_bytes = response.headers.get(wire.LENGTH)
        assert (json_bytes is not None) == binary_out
        raw = await response.read()
    assert wire.answer(raw, json_bytes)["y"].tolist() == [2.0, 5.0]
    assert b'"id":"r7"' in raw


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("POST", "/v2/models/dubble/infer", 404, "did you mean 'double'"),
        ("POST", "/v2/models/double/versions/9/infer", 404, "has no version '9'; it has '1'"),
        ("GET", "/v2/models/double/labels", 404, "nothing at that path"),
        ("GET", "/v2/models/dubble/stats", 404, "did you mean 'double'"),
        ("POST", "/v2/repository/models/double/unload", 404, "nothing at"),
        ("GET", "/v1/models", 404, "GET /v2 answers"),
        ("GET", "/metrics", 404, "nothing at '/metrics'"),
        ("GET", "/v2/models/double/infer", 405, "use POST"),
        ("DELETE", "/v2/models/double", 405, "use GET, HEAD"),
        ("OPTIONS", "/v2", 405, "use GET, HEAD"),
    ],
)
async def test_wrong_paths_and_methods(
    start_daemon: StartDaemon,
    http: aiohttp.ClientSession,
    method: str,
    path: str,
    status: int,
    words: str,
) -> None:
    daemon = await start_daemon()
    async with http.request(method, url(daemon, path)) as response:
        assert response.status == status
        assert words in (await response.json())["error"]
        assert ("Allow" in response.headers) == (status == 405)


async def test_a_request_id_is_echoed_when_it_is_fit_to_be_logged(
    start_daemon: StartDaemon, http: aiohttp.ClientSession
) -> None:
    daemon = await start_daemon()
    sent = {"good-1": True, "x" * 128: True, "x" * 129: False, "a\tb": False, "ä": False, "": False}
    seen = set()
    for theirs, is_fit in sent.items():
        async with http.get(url(daemon, "/v2"), headers={"X-Request-Id": theirs}) as response:
            assert (response.headers["X-Request-Id"] == theirs) == is_fit
            seen.add(response.headers["X-Request-Id"])
    assert len(seen) == len(sent)
