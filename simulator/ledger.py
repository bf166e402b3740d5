"""What became of each simulated arrival, written down as it happens: some 22 bytes each."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sedp.engine.events import Outcome
from sedp.engine.statistics import EngineStatistics
from sedp.simulator.arrival import Arrival

UNENDED = 255  # in `outcomes`: not yet any Outcome


@dataclass(frozen=True, slots=True)
class SimulatedRun:
    """What came of the arrivals, in their order.

    Args:
        outcomes: uint8[n], values of `Outcome`.
        arrived_ns: int64[n], virtual times.
        latency_ns: int64[n], arrival to end, whatever the outcome.
        rows: int32[n], as they arrived.
        levels: uint8[n], priorities.
        spent_ns: int64[n], work of the runs that held each event, shared by rows; empty unless
            asked for.
        end_ns: virtual time of the last stimulus.
        stimuli: how many the scheduler handled.
        digest: hex; equal digests mean equal commands at equal times.
        statistics: the scheduler's own counters.
    """

    outcomes: NDArray[np.uint8]
    arrived_ns: NDArray[np.int64]
    latency_ns: NDArray[np.int64]
    rows: NDArray[np.int32]
    levels: NDArray[np.uint8]
    spent_ns: NDArray[np.int64]
    end_ns: int
    stimuli: int
    digest: str
    statistics: EngineStatistics

    def count(self, outcome: Outcome) -> int:
        return int(np.count_nonzero(self.outcomes == outcome))

    @property
    def answered(self) -> NDArray[np.bool_]:
        """bool[n]."""
        return np.equal(self.outcomes, Outcome.ANSWERED)

    def in_time(self, target_ns: int) -> NDArray[np.bool_]:
        """bool[n]: answered within the target; what was not answered is never in time."""
        return self.answered & (self.latency_ns <= target_ns)

    def wasted_share(self, target_ns: int) -> float:
        """Of all work, the share spent on events that were not answered in time."""
        total_ns = int(self.spent_ns.sum())
        wasted_ns = int(self.spent_ns[~self.in_time(target_ns)].sum())
        return wasted_ns / total_ns if total_ns else 0.0


class Ledger:
    """The growing side of a `SimulatedRun`.

    Args:
        metered: whether to share out the work of each run among its events.
    """

    def __init__(self, *, metered: bool) -> None:
        self._metered = metered
        self._rows = array("i")
        self._outcomes = bytearray()
        self._arrived_ns = array("q")
        self._latency_ns = array("q")
        self._levels = bytearray()
        self._spent_ns = array("q")

    def __len__(self) -> int:
        return len(self._rows)

    def enter(self, arrival: Arrival) -> int:
        """Note an arrival; the number of its event."""
        event = len(self._rows)
        self._rows.append(arrival.rows)
        self._outcomes.append(UNENDED)
        self._arrived_ns.append(arrival.time_ns)
        self._latency_ns.append(0)
        self._levels.append(arrival.level)
        if self._metered:
            self._spent_ns.append(0)
        return event

    def end(self, events: Sequence[int], outcome: Outcome, now_ns: int) -> None:
        """Note how events ended."""
        value, arrived_ns = outcome.value, self._arrived_ns
        for event in events:
            self._outcomes[event] = value
            self._latency_ns[event] = now_ns - arrived_ns[event]

    def rows_of(self, events: Sequence[int]) -> int:
        """Of all of them together, as they arrived."""
        return sum(map(self._rows.__getitem__, events))

    def spend(self, events: Sequence[int], work_ns: int) -> None:
        """Share the work of a run among its events, to the nanosecond."""
        if not self._metered:
            return
        rows = self.rows_of(events)
        for event in events:
            own_rows = self._rows[event]
            share_ns = work_ns * own_rows // rows
            self._spent_ns[event] += share_ns
            work_ns -= share_ns
            rows -= own_rows

    def close(
        self, end_ns: int, stimuli: int, digest: str, statistics: EngineStatistics
    ) -> SimulatedRun:
        return SimulatedRun(
            outcomes=np.frombuffer(self._outcomes, np.uint8),
            arrived_ns=np.frombuffer(self._arrived_ns, np.int64),
            latency_ns=np.frombuffer(self._latency_ns, np.int64),
            rows=np.frombuffer(self._rows, np.int32),
            levels=np.frombuffer(self._levels, np.uint8),
            spent_ns=np.frombuffer(self._spent_ns, np.int64),
            end_ns=end_ns,
            stimuli=stimuli,
            digest=digest,
            statistics=statistics,
        )
