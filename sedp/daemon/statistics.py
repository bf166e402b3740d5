"""A frozen snapshot of the daemon; `/metrics` and `/status.json` are made from nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sedp.engine.statistics import EngineStatistics
from sedp.storage.statistics import StoreStatistics


@dataclass(frozen=True, slots=True)
class ListenerStatistics:
    """`connections` is a level, the rest counts from the start.

    Args:
        responses: by HTTP status; 499 stands for callers who left before theirs.
    """

    connections: int
    connections_refused: int
    responses: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class DaemonStatistics:
    """One moment of a daemon.

    Args:
        uptime_ns: since the pipelines were opened.
        listeners: by plane, "data" and "admin".
        log_lines_left_out: failures counted but not logged, to keep the log bounded.
    """

    ready: bool
    uptime_ns: int
    engine: EngineStatistics
    store: StoreStatistics | None
    listeners: Mapping[str, ListenerStatistics]
    log_lines_left_out: int
