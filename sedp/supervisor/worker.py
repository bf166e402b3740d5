"""What a worker process does: see `sedp.supervisor.__main__` for how it is started.

It serves what it is told to, on sockets it inherited, and says by a notice twice a second that its
loop turns. It lives as long as its channel: when that ends, because it was told to stop or because
the supervisor is gone, it drains and exits, so that no worker is left alone with the port.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import msgspec
import numpy as np
import uvloop

from sedp.config.loading import Config, load
from sedp.cores import hand_on_sooner, usable_cores
from sedp.daemon.access.shared_use import SharedUse
from sedp.daemon.doors import Doors
from sedp.daemon.http.acceptor import ConnectionCounts, ConnectionShare
from sedp.daemon.monitoring.statistics import DaemonStatistics
from sedp.daemon.server import Change, Server
from sedp.errors import SedpError
from sedp.storage.ram.shared_ram import SharedRam
from sedp.supervisor import messages
from sedp.supervisor.channel import Channel
from sedp.supervisor.early_log import EarlyLog
from sedp.supervisor.launch import Inherited

BEAT_S = 0.5
EXIT_S = 2.0  # beyond the drain, before an orphan that hangs is ended by force

log = logging.getLogger(__name__)


class Worker:
    """What the supervisor talks to; `run` is its life."""

    def __init__(self, inherited: Inherited, early_log: EarlyLog) -> None:
        self._inherited = inherited
        self._early_log = early_log
        self._begun: messages.Begin | None = None
        self._shared_ram: SharedRam | None = None
        self._server: Server | None = None
        self._change: Change | None = None
        self._stopping: asyncio.Task[int] | None = None

    async def run(self) -> NoReturn:
        """Serve until the channel ends, then exit; 1 when events were cut off."""
        end = socket.socket(fileno=self._inherited.channel)
        self._channel = await Channel.open(end, self._answer)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._channel.tell, messages.LeaveAsked())
        beating = loop.create_task(self._beat())
        await self._channel.run()
        beating.cancel()
        cut = 0
        if self._server is not None:
            if self._stopping is None:
                log.warning("the supervisor is gone; draining")
            cut = await self._stop(self._server)
        # Threads of stages that do not end would hold up an ordinary exit for ever.
        os._exit(1 if cut else 0)

    async def _beat(self) -> None:
        while True:
            if self._server is not None:
                self._channel.tell(messages.Beat())
            await asyncio.sleep(BEAT_S)

    async def _answer(self, question: messages.Question) -> object:
        if isinstance(question, messages.Begin):
            await self._begin(question)
            return None
        server = self._server
        if server is None:
            raise SedpError("the worker has not begun")
        match question:
            case messages.Tell():
                return server.statistics()
            case messages.Prepare(config):
                return await self._prepare(server, config)
            case messages.Commit() | messages.Abort():
                await self._end_change(server, question)
            case messages.Load(name):
                await server.load(name)
            case messages.Unload(name):
                await server.unload(name)
            case messages.Index():
                return server.repository.index()
            case messages.Tuning(moves_max):
                return server.tuning.state(moves_max)
            case messages.Freeze(frozen):
                server.tuning.freeze(frozen)
            case messages.FeedBack(pipeline, users):
                served = server.repository.find(pipeline)
                return served.feed_back(np.frombuffer(users, np.uint64))
            case messages.Retire():
                return await self._retire(server)
            case messages.Stop():
                return await self._stop(server)
            case _:
                raise SedpError(f"a worker does not answer {type(question).__name__}")
        return None

    async def _begin(self, begin: messages.Begin) -> None:
        self._begun = begin
        self._shared_ram = SharedRam.follow(self._inherited.ram, begin.workers)
        config = await asyncio.to_thread(self._load, begin.config)
        threading.Thread(
            target=_end_with_supervisor,
            args=(os.dup(self._inherited.channel), _longest_end_s(config)),
            daemon=True,
        ).start()
        counts, slot = ConnectionCounts(self._inherited.counts), self._inherited.slot
        server = await Server.start(
            config,
            self._doors(),
            share=ConnectionShare(counts, slot),
            shared=SharedUse(self._inherited.use, slot),
            shared_ram=self._shared_ram,
            gathered=self._gather,
        )
        for name in begin.unloaded:
            await server.unload(name)
        server.tuning.freeze(begin.frozen)
        self._server = server
        gc.enable()
        gc.freeze()  # what is loaded stays; full collections need not walk it again and again
        self._early_log.release()

    def _doors(self) -> Doors:
        grpc = self._inherited.grpc
        return Doors(
            data=socket.socket(fileno=self._inherited.data),
            admin=None,
            grpc=None if grpc is None else socket.socket(fileno=grpc),
        )

    def _load(self, content: bytes) -> Config:
        """The config, with this worker's share of what all of them may use together."""
        assert self._begun is not None
        config = load(Path(self._begun.path), os.environ, content)
        workers = self._begun.workers
        cores = usable_cores() if config.daemon.threads == "auto" else config.daemon.threads
        daemon = msgspec.structs.replace(config.daemon, threads=max(1, cores // workers))
        store = config.store
        if store is not None:
            # One of them records: each would begin the file anew, and all see a like sample.
            records = store.access_log and self._inherited.number == 0
            ram = store.ram if self._shared_ram is not None else store.ram // workers
            store = msgspec.structs.replace(store, ram=ram, mode="follow", access_log=records)
        # One of them keeps what it learned: each would overwrite what the others wrote.
        management = {
            name: managed.with_plan_written(self._inherited.number == 0)
            for name, managed in config.management.items()
        }
        return replace(config, daemon=daemon, store=store, management=management)

    async def _prepare(self, server: Server, content: bytes) -> list[str]:
        if self._change is not None:
            raise SedpError("a reload is under way")
        config = await asyncio.to_thread(self._load, content)
        self._change = await server.prepare(config)
        return self._change.lines

    async def _end_change(self, server: Server, question: messages.Commit | messages.Abort) -> None:
        change, self._change = self._change, None
        if change is None:
            return
        if isinstance(question, messages.Commit):
            change.commit()
            await server.repository.settled()
        else:
            await change.discard()

    async def _gather(self) -> DaemonStatistics:
        gathered: DaemonStatistics = await self._channel.ask(messages.Gather(), DaemonStatistics)
        return gathered

    async def _retire(self, server: Server) -> DaemonStatistics:
        await server.retire()
        statistics = server.statistics()
        await self._stop(server)
        return statistics

    async def _stop(self, server: Server) -> int:
        """Once, however often it is asked for."""
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(server.stop())
        return await asyncio.shield(self._stopping)


def _longest_end_s(config: Config) -> float:
    return (config.daemon.drain_delay_ns + config.daemon.drain_ns) / 1e9 + EXIT_S


def _end_with_supervisor(channel: int, grace_s: float) -> None:
    """In a thread: end this process even when its loop hangs and never sees the channel's end."""
    hangup = select.poll()
    hangup.register(channel, select.POLLRDHUP)
    hangup.poll()
    time.sleep(grace_s)
    os._exit(1)


def main() -> None:
    """Be a worker; the argument says which."""
    inherited = msgspec.json.decode(sys.argv[1], type=Inherited)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # for the supervisor, who tells its workers
    hand_on_sooner()
    faulthandler.enable()  # SIGABRT from the supervisor's watchdog shows where the loop hangs
    early_log = EarlyLog(inherited.number, is_held=inherited.is_quiet)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Worker(inherited, early_log).run())
