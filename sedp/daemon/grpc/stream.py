"""ModelStreamInfer: many requests and answers over one call.

Requests of a stream run side by side, a bounded number of them, and are answered in the order they
came. A request that fails is answered with its error and the stream goes on, as Triton does it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from sedp.daemon.grpc.calls import Answer, Border, GrpcCall
from sedp.daemon.grpc.messages import message_class
from sedp.daemon.grpc.wire import nest

AT_ONCE_MAX = 32  # of one stream; then reading waits, and with it the caller
INFER_RESPONSE = 2  # number of the field of ModelStreamInferResponse

_Response = message_class("ModelStreamInferResponse")


class Exchange:
    """Answers streams.

    Args:
        answer: one request of a stream.
    """

    def __init__(self, border: Border, answer: Answer) -> None:
        self._border = border
        self._answer = answer

    async def run(self, call: GrpcCall) -> None:
        """Serve one stream until its caller has nothing more to ask."""
        answers: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue(AT_ONCE_MAX)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write(call, answers))
            while (message := await call.context.read()) is not grpc.aio.EOF:
                await answers.put(group.create_task(self._answer_one(call, message)))
            await answers.put(None)

    async def _write(
        self, call: GrpcCall, answers: asyncio.Queue[asyncio.Task[bytes] | None]
    ) -> None:
        while (answer := await answers.get()) is not None:
            await call.context.write(await answer)

    async def _answer_one(self, call: GrpcCall, message: Any) -> bytes:
        try:
            return nest(INFER_RESPONSE, await self._answer(call, message))
        except Exception as err:
            failure = self._border.explain(call, err)
            return bytes(_Response(error_message=failure.text).SerializeToString())
