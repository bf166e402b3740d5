"""A gRPC plane in this process over real engines, and the caller's side of it in plain bytes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from sedp.columns import DTYPES, Array, Batch, ColumnSpec, Level, TensorSpec
from sedp.config.daemon_settings import DaemonSettings
from sedp.daemon.access.guard import Guard
from sedp.daemon.grpc.extra import load_grpc_plane
from sedp.daemon.grpc.messages import message_class
from sedp.daemon.grpc.plane import GrpcPlane
from sedp.daemon.oip.request import RequestReader
from sedp.daemon.oip.statistics import Loaded, model_statistics
from sedp.daemon.served import PipelineState, Served, State
from sedp.engine.events import Outcome
from sedp.engine.graph import StagePlan
from sedp.engine.statistics import EngineStatistics
from sedp.errors import RequestError
from sedp.live import Engine
from sedp.pipeline import Pipeline, StageUse, compile_pipeline
from sedp.pipeline_checks import nearest
from sedp.stage import Stage

from . import wire
from .user_stages import Double, Fail, Gate

SERVICE = "inference.GRPCInferenceService"
INFER = f"/{SERVICE}/ModelInfer"
Tensors = Mapping[str, tuple[str, Array]]


class Echo(Stage):
    """Gives a column of any datatype back as it came."""

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {"v": ColumnSpec(self.params, Level.ITEM)}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {"w": inputs["v"]}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        return {"w": batch["v"].copy()}


def pipelines(gate: Gate) -> list[Pipeline]:
    """`double` answers at once, `gate` when let, `fail` never; `fp32` and so on are echoes."""
    floats = {"x": TensorSpec.parse("FP32[n]")}, {"y": TensorSpec.parse("FP32[n]")}
    waiting = StageUse(gate, StagePlan(queue_rows_max=8, batch_rows_max=8), executor="thread")
    return [
        compile_pipeline("double", *floats, _only(Double(None)), rows_max=8),
        compile_pipeline(
            "gate", *floats, {"s": waiting}, rows_max=8, in_flight_max=2, deadline_ns=60 * 10**9
        ),
        compile_pipeline("fail", *floats, _only(Fail(None)), rows_max=8),
        *(_echo(datatype) for datatype in DTYPES),
    ]


def _echo(datatype: str) -> Pipeline:
    tensor = TensorSpec.parse(f"{datatype}[n]")
    return compile_pipeline(
        datatype.lower(), {"v": tensor}, {"w": tensor}, _only(Echo(datatype)), rows_max=8
    )


def _only(stage: Stage) -> dict[str, StageUse]:
    return {"s": StageUse(stage, executor="inline")}


class Shelf:
    """The repository's port over pipelines that are open from the start."""

    def __init__(self, pipelines: Sequence[Pipeline], tensors_max: int) -> None:
        self.pipelines = {pipeline.name: pipeline for pipeline in pipelines}
        self.places = {
            name: Served(pipeline, Engine((pipeline,)), RequestReader(pipeline, tensors_max))
            for name, pipeline in self.pipelines.items()
        }

    def find(self, name: str, version: str | None = None) -> Served:
        if name not in self.places:
            hint = nearest(name[:64], self.places)
            raise RequestError(f"there is no pipeline {name[:64]!r}{hint}", 404)
        if version not in (None, "1"):
            raise RequestError(f"pipeline {name!r} has no version {version!r}", 404)
        return self.places[name]

    def names(self) -> tuple[str, ...]:
        return tuple(self.places)

    def index(self) -> list[PipelineState]:
        states = {False: State.UNAVAILABLE, True: State.READY}
        return [
            PipelineState(name, "1", states[name in self.places], "") for name in self.pipelines
        ]

    def statistics(self) -> EngineStatistics:
        parts = [served.engine.statistics() for served in self.places.values()]
        return EngineStatistics(
            tuple(pipeline for part in parts for pipeline in part.pipelines),
            tuple(stage for part in parts for stage in part.stages),
        )


@dataclass(frozen=True)
class Front:
    """A plane that serves; `gate` holds up the pipeline of that name."""

    plane: GrpcPlane
    shelf: Shelf
    gate: Gate

    @property
    def address(self) -> str:
        return self.plane.address

    def in_flight(self, pipeline: str) -> int:
        [found] = self.shelf.places[pipeline].engine.statistics().pipelines
        return found.in_flight

    def outcomes(self, pipeline: str) -> dict[Outcome, int]:
        [found] = self.shelf.places[pipeline].engine.statistics().pipelines
        return {outcome: count for outcome, count in found.outcomes.items() if count}

    async def close(self) -> None:
        self.gate.open_wide()
        await self.plane.close(0)
        for served in self.shelf.places.values():
            served.engine.close()


async def open_front(
    *,
    guard: Guard | None = None,
    folder: Path = Path(),
    address: str = "127.0.0.1:0",
    **settings: Any,
) -> Front:
    """Serve the pipelines of this file; other keyword arguments are daemon settings."""
    chosen, gate = DaemonSettings(**settings), Gate(Gate.Params())
    shelf = Shelf(pipelines(gate), chosen.tensors_max)

    async def statistics(name: str | None) -> Mapping[str, Any]:
        loaded = dict.fromkeys(shelf.places, Loaded("1", 0))
        return model_statistics(shelf.statistics(), loaded, name)

    plane = load_grpc_plane()(
        shelf,  # type: ignore[arg-type] # the same port
        guard or Guard(),
        chosen,
        folder=folder,
        statistics=statistics,
    )
    await plane.start(address)
    plane.ready = True
    return Front(plane, shelf, gate)


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[tuple[Front, grpc.aio.Channel]]:
    """A plane for a while, and a channel to it; options are those of `open_front`."""
    front = await open_front(**options)
    try:
        async with grpc.aio.insecure_channel(front.address) as channel:
            yield front, channel
    finally:
        await front.close()


@dataclass(frozen=True)
class Reply:
    """How a call ended."""

    code: grpc.StatusCode
    text: str
    message: bytes
    metadata: Mapping[str, str]


async def call(channel: grpc.aio.Channel, path: str, message: bytes, **options: Any) -> Reply:
    """One call with one message, bytes in and bytes out; never raises what the server said."""
    pending = channel.unary_unary(path)(message, **options)
    answer = b""
    try:
        answer = await pending
    except grpc.aio.AioRpcError as err:
        metadata = {key: str(value) for key, value in err.trailing_metadata() or ()}
        return Reply(err.code(), err.details() or "", b"", metadata)
    metadata = {key: str(value) for key, value in await pending.trailing_metadata()}
    return Reply(grpc.StatusCode.OK, "", answer, metadata)


def request(tensors: Tensors, model: str = "double", **fields: Any) -> bytes:
    """A `ModelInferRequest` with raw tensors; `fields` are set on top."""
    made = message_class("ModelInferRequest")(
        **{
            "model_name": model,
            "inputs": [
                {"name": name, "datatype": datatype, "shape": list(array.shape)}
                for name, (datatype, array) in tensors.items()
            ],
            "raw_input_contents": [wire.tensor_bytes(*tensor) for tensor in tensors.values()],
            **fields,
        }
    )
    return bytes(made.SerializeToString())


def outputs(message: bytes) -> dict[str, Array]:
    """Raw outputs of a `ModelInferResponse` by name, read as the binary form of REST is."""
    response = message_class("ModelInferResponse").FromString(message)
    items = [
        {
            "name": item.name,
            "datatype": item.datatype,
            "shape": list(item.shape),
            "parameters": {"binary_data_size": len(raw)},
        }
        for item, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    ]
    head = json.dumps({"outputs": items}).encode()
    return wire.answer(head + b"".join(response.raw_output_contents), len(head))
