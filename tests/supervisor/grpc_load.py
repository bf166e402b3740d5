"""Callers over gRPC that never repeat a call: what a channel's own retries would hide fails."""

from __future__ import annotations

import asyncio
from collections import Counter

import grpc
import numpy as np

from tests.background import Background
from tests.daemon.grpc_front import INFER, request

from .load import PAUSE_S

MESSAGE = request({"x": ("FP32", np.array([1.0, 2.5], np.float32))})
OPTIONS = (("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))


class GrpcLoad(Background):
    """As `Load`, over gRPC.

    Args:
        keeping: callers that keep their channel.
        fresh: callers that take a new channel, and with it a connection, for each call.
    """

    def __init__(self, address: str, *, keeping: int, fresh: int) -> None:
        self.answered = 0
        self.failures: Counter[grpc.StatusCode] = Counter()
        self._address = address
        self._kinds = [True] * keeping + [False] * fresh
        super().__init__()

    async def _run(self) -> None:
        await asyncio.gather(*(self._call(keeps) for keeps in self._kinds))

    async def _call(self, keeps: bool) -> None:
        while not self._is_over:
            async with grpc.aio.insecure_channel(self._address, OPTIONS) as channel:
                await self._ask(channel)
                while keeps and not self._is_over:
                    await self._ask(channel)

    async def _ask(self, channel: grpc.aio.Channel) -> None:
        await asyncio.sleep(PAUSE_S)
        try:
            await channel.unary_unary(INFER)(MESSAGE)
        except grpc.aio.AioRpcError as err:
            self.failures[err.code()] += 1
        else:
            self.answered += 1
