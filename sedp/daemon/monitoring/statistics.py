"""A frozen snapshot of the daemon; `/metrics` and `/status.json` are made from nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sedp.daemon.access.guard import GuardStatistics
from sedp.daemon.in_flight_bytes import BytesStatistics
from sedp.daemon.loop_watch import LoopStatistics
from sedp.engine.statistics import EngineStatistics
from sedp.manager.moves import Move
from sedp.storage.tables.statistics import StoreStatistics

NOBODY_ASKED = GuardStatistics(0, 0, {})


@dataclass(frozen=True, slots=True)
class ListenerStatistics:
    """`connections` is a level, the rest counts from the start.

    Args:
        responses: by HTTP status; 499 stands for callers who left before theirs.
        callers_cut: connections ended because their callers did not read.
    """

    connections: int
    connections_refused: int
    responses: Mapping[int, int]
    callers_cut: int = 0


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One serving process.

    Args:
        state: "starting", "ready", "leaving" or "dead".
        started_s: Unix time.
        restarts: how often its place was filled anew.
        rss_bytes: memory in RAM; 0 when unknown.
        number: of its place, from 0.
        connections: open now, on the data plane.
        stalls: how often the process in this place was ended because it hung.
    """

    pid: int
    state: str
    started_s: float
    restarts: int
    rss_bytes: int
    number: int = 0
    connections: int = 0
    stalls: int = 0


@dataclass(frozen=True, slots=True)
class OwnCounts:
    """What one stage tells of itself.

    Args:
        counts: from its opening.
        levels: of now.
    """

    pipeline: str
    name: str
    counts: Mapping[str, int]
    levels: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LoadStatistics:
    """What is done under load, besides what engines count.

    Args:
        frozen: processes that move no knob.
        moves: of knobs since the start, by pipeline; "" is the process.
        recent: the last moves, oldest first.
        shed: events since the start, by pipeline and level; only of those that were read.
        own: of the stages that tell something.
        executors: processes by pipeline, stage and where they run it just now, inline or thread.
        held: bytes of requests, by pipeline; of those that are tuned.
    """

    frozen: int = 0
    moves: Mapping[str, int] = field(default_factory=dict)
    recent: tuple[Move, ...] = ()
    shed: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    own: tuple[OwnCounts, ...] = ()
    executors: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    held: Mapping[str, BytesStatistics] = field(default_factory=dict)


UNLOADED = LoadStatistics()


@dataclass(frozen=True, slots=True)
class DaemonStatistics:
    """One moment of a daemon.

    Args:
        uptime_ns: since the pipelines were opened.
        listeners: by plane, "data" and "admin".
        log_lines_left_out: failures counted but not logged, to keep the log bounded.
        guard: who was turned away, and what tenants use.
        workers: the processes that serve, by number; none when the daemon serves by itself.
        load: what is done under it.
        loop: how well it turned.
        threads: by runtime; of a worker.
    """

    ready: bool
    uptime_ns: int
    engine: EngineStatistics
    store: StoreStatistics | None
    listeners: Mapping[str, ListenerStatistics]
    log_lines_left_out: int
    guard: GuardStatistics = NOBODY_ASKED
    workers: tuple[WorkerState, ...] = ()
    load: LoadStatistics = UNLOADED
    loop: LoopStatistics = field(default_factory=LoopStatistics)
    threads: Mapping[str, int] = field(default_factory=dict)
