"""The channel between two ends in one process: answers, errors, the end of the other side."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import msgspec
import pytest

from sedp.daemon.monitoring.statistics import DaemonStatistics
from sedp.errors import ConfigError, RequestError, SedpError, StoreError
from sedp.supervisor import messages
from sedp.supervisor.channel import FRAME_BYTES_MAX, PENDING_MAX, Channel, ChannelClosed

from .samples import worker_statistics

Answering = Callable[[messages.Question], Awaitable[object]]


async def silent(question: messages.Question) -> object:
    await asyncio.Event().wait()
    return None


@asynccontextmanager
async def ends(one: Answering, other: Answering) -> AsyncIterator[tuple[Channel, Channel]]:
    """Two channels that are connected, both running."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    channels = [await Channel.open(end, say) for end, say in zip(pair, (one, other), strict=True)]
    running = [asyncio.ensure_future(channel.run()) for channel in channels]
    try:
        yield channels[0], channels[1]
    finally:
        for channel in channels:
            channel.close()
        await asyncio.gather(*running)


async def test_both_ask_at_once_and_each_answer_finds_its_question() -> None:
    async def upper(question: messages.Question) -> object:
        assert isinstance(question, messages.Load)
        await asyncio.sleep(0)  # let others overtake
        return question.name.upper()

    async with ends(upper, upper) as (one, other):
        names = [f"n{i}" for i in range(200)]
        asked = [c.ask(messages.Load(n), str) for c in (one, other) for n in names]
        assert await asyncio.gather(*asked) == [n.upper() for n in names * 2]


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (ConfigError("bad"), ConfigError),
        (StoreError("gone"), StoreError),
        (RequestError("no", 409, {"Retry-After": "1"}), RequestError),
        (ChannelClosed("theirs, not ours"), SedpError),
        (ValueError("a bug"), SedpError),
    ],
)
async def test_errors_arrive_as_they_were_raised(raised: Exception, seen: type) -> None:
    async def fail(question: messages.Question) -> object:
        raise raised

    async with ends(fail, fail) as (one, _):
        with pytest.raises(SedpError) as caught:
            await one.ask(messages.Tell())
    assert type(caught.value) is seen
    assert str(raised) in str(caught.value)
    if isinstance(raised, RequestError):
        assert isinstance(caught.value, RequestError)
        assert (caught.value.status, caught.value.headers) == (409, {"Retry-After": "1"})


async def test_who_waits_for_an_answer_hears_that_the_other_side_is_gone() -> None:
    async with ends(silent, silent) as (one, other):
        waiting = asyncio.ensure_future(one.ask(messages.Tell()))
        await asyncio.sleep(0)
        other.close()
        with pytest.raises(ChannelClosed):
            await waiting
        with pytest.raises(ChannelClosed):
            await one.ask(messages.Tell())
        one.tell(messages.Beat())  # nobody is there to hear it


async def test_a_notice_has_no_answer() -> None:
    heard = asyncio.Event()

    async def hear(question: messages.Question) -> object:
        if isinstance(question, messages.Beat):
            heard.set()
        return "ignored"

    async with ends(silent, hear) as (one, _):
        one.tell(messages.Beat())
        await heard.wait()
        assert await one.ask(messages.Tell(), str) == "ignored"


async def test_a_question_too_many_is_refused_not_queued() -> None:
    async with ends(silent, silent) as (one, _):
        asked = [asyncio.ensure_future(one.ask(messages.Tell())) for _ in range(PENDING_MAX + 1)]
        with pytest.raises(SedpError, match="1024 questions are open"):
            await asked[-1]
        assert not any(question.done() for question in asked[:-1])
        for question in asked[:-1]:
            question.cancel()


async def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    go = asyncio.Event()

    async def late(question: messages.Question) -> object:
        if isinstance(question, messages.Tell):
            await go.wait()
        return "done"

    async with ends(silent, late) as (one, _):
        with suppress(TimeoutError):
            async with asyncio.timeout(0):
                await one.ask(messages.Tell())
        go.set()
        assert await one.ask(messages.Index(), str) == "done"


@pytest.mark.parametrize("sent", [(FRAME_BYTES_MAX + 1).to_bytes(4, "big"), b"\0\0\0\1\xc1"])
async def test_what_is_no_frame_ends_the_channel(sent: bytes) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    channel = await Channel.open(ours, silent)
    with theirs:
        theirs.sendall(sent)
        await channel.run()
    with pytest.raises(ChannelClosed):
        await channel.ask(messages.Tell())


def test_statistics_survive_the_wire() -> None:
    statistics = worker_statistics(1)
    content = msgspec.msgpack.encode(statistics)
    assert msgspec.msgpack.decode(content, type=DaemonStatistics) == statistics
