"""A daemon served from a config file that a test may change, with stages of the tests' own."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from sedp.config.loading import Config, load
from sedp.daemon.daemon import Daemon

HERE = "listen: 127.0.0.1:0, admin: 127.0.0.1:0, workers: 1"
MODULE = __name__.rpartition(".")[0] + ".served_stages"


class ConfigFile:
    """A config whose pipelines each multiply `x` by a factor.

    Args:
        folder: of the file.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "c.yaml"
        self.more = ""  # of the daemon's section
        self.end = ""  # of the file

    def write(self, **pipelines: str) -> None:
        """One pipeline each, by its stage's params."""
        lines = ["api_version: sedp/v1", f"daemon: {{{HERE}{self.more}}}", "pipelines:"]
        for name, params in pipelines.items():
            stages = f'stages: {{s: {{kind: "{MODULE}:Scale", params: {{{params}}}}}}}'
            floats = 'inputs: {x: "FP32[n]"}, outputs: {y: "FP32[n]"}'
            lines.append(f"  {name}: {{{floats}, deadline: 30s, {stages}}}")
        self.path.write_text("\n".join([*lines, self.end]))

    def load(self) -> Config:
        return load(self.path, {})


class Operator:
    """One who calls the admin plane."""

    def __init__(self, http: aiohttp.ClientSession, daemon: Daemon) -> None:
        self._http = http
        self.daemon = daemon

    @property
    def data_address(self) -> str:
        return self.daemon.data_address

    @property
    def responses(self) -> Counter[int]:
        """Of the admin plane, by status; 499 stands for callers who left."""
        return Counter(self.daemon.statistics().listeners["admin"].responses)

    async def post(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and answer."""
        url = f"http://{self.daemon.admin_address}{path}"
        async with self._http.post(url, json=body) as response:
            return response.status, await response.json()

    async def load(self, name: str) -> tuple[int, Any]:
        return await self.post(f"/v2/repository/models/{name}/load")

    async def unload(self, name: str) -> tuple[int, Any]:
        return await self.post(f"/v2/repository/models/{name}/unload")

    async def index(self) -> Mapping[str, tuple[str, str]]:
        """State and reason by name."""
        _, entries = await self.post("/v2/repository/index")
        return {entry["name"]: (entry["state"], entry["reason"]) for entry in entries}

    async def answered(self, name: str) -> int | None:
        """How many events of a pipeline were answered since the start, as `/status.json` says."""
        async with self._http.get(f"http://{self.daemon.admin_address}/status.json") as response:
            pipelines = {p["name"]: p for p in (await response.json())["pipelines"]}
        return int(pipelines[name]["outcomes"]["answered"]) if name in pipelines else None

    async def infer(self, name: str, rows: int = 1) -> float | str:
        """The factor of a pipeline, or the error that it answers with."""
        tensor = {"name": "x", "datatype": "FP32", "shape": [rows], "data": [1.0] * rows}
        url = f"http://{self.daemon.data_address}/v2/models/{name}/infer"
        async with self._http.post(url, json={"inputs": [tensor]}) as response:
            answer = await response.json()
            if response.status != 200:
                return str(answer["error"])
            return float(np.float32(answer["outputs"][0]["data"][0]))


async def keep_asking(operator: Operator, name: str, until: asyncio.Event) -> list[float | str]:
    """Answers, one after the other, until told to end."""
    answers = []
    while not until.is_set():
        answers.append(await operator.infer(name))
    return answers
