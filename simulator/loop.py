"""The simulated driver: the live scheduler under a virtual clock.

Carries out the commands of the very `Scheduler` that serves, with a heap instead of an event loop
and threads. Whatever is under way is an entry `(time_ns, serial, stimulus)`; the serial makes ties
deterministic, so the same arrivals and seed give the same commands, which the digest proves. Time
jumps from entry to entry: a simulated hour costs what its events cost.

Two modes. *model*: a service model says how long a run takes, and nothing is computed. *execute*:
the stages are really run as well, so answers come out; times still come from the model.

Memory is bounded by what is in flight, plus 13 bytes for each arrival (outcome, latency, rows).
Prior art: SimPy for the heap key, TigerBeetle for simulating production code.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from sedp.engine.events import (
    NEVER_NS,
    AnyCommand,
    AnyStimulus,
    Arrived,
    BatchFinished,
    Cancelled,
    Finish,
    Outcome,
    RunBatch,
    SetTimer,
    TimerFired,
)
from sedp.engine.scheduler import Scheduler
from sedp.engine.statistics import EngineStatistics
from sedp.simulator.arrival import Arrival
from sedp.simulator.faults import Faults
from sedp.simulator.service import ServiceModel

Watch = Callable[[int, AnyStimulus, list[AnyCommand]], None]

UNENDED = 255  # in `outcomes`: not yet any Outcome
DIGEST_BYTES = 1 << 16  # commands are hashed in pieces of about this size


class Execution(Protocol):
    """Port of mode *execute*: who really runs the stages."""

    def admit(self, event: int, arrival: Arrival) -> None:
        """Take the columns that `arrival` brings."""

    def run(self, stage: int, events: Sequence[int]) -> bool:
        """Run a stage on the events, joined in this order; `False` when it raises."""

    def finish(self, event: int, outcome: Outcome) -> None:
        """Forget an event; hand its answer over if it has one."""


@dataclass(frozen=True, slots=True)
class SimulatedRun:
    """What came of the arrivals, in their order.

    Args:
        outcomes: uint8[n], values of `Outcome`.
        latency_ns: int64[n], arrival to end, whatever the outcome.
        end_ns: virtual time of the last stimulus.
        stimuli: how many the scheduler handled.
        digest: hex; equal digests mean equal commands at equal times.
        statistics: the scheduler's own counters.
    """

    outcomes: NDArray[np.uint8]
    latency_ns: NDArray[np.int64]
    end_ns: int
    stimuli: int
    digest: str
    statistics: EngineStatistics

    def count(self, outcome: Outcome) -> int:
        return int(np.count_nonzero(self.outcomes == outcome))


class Simulator:
    """Runs a fresh scheduler through one stream of arrivals.

    Args:
        scheduler: fed by nobody else.
        service: how long runs take.
        rng: dice for the service model.
        execution: really runs the stages; `None` is mode *model*.
        faults: what goes wrong.
        watch: called after each step with time, stimulus and commands; fits the invariant
            checker's `check` and a stimulus log's `append`.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        service: ServiceModel,
        rng: np.random.Generator,
        *,
        execution: Execution | None = None,
        faults: Faults | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._service = service
        self._rng = rng
        self._execution = execution
        self._faults = faults
        self._watch = watch
        self._heap: list[tuple[int, int, AnyStimulus]] = []
        self._serial = 0
        self._now_ns = 0
        self._rows = array("i")
        self._outcomes = bytearray()
        self._latency_ns = array("q")  # negative arrival time until the event ends
        self._encoder = msgspec.msgpack.Encoder()
        self._hash = hashlib.blake2b(digest_size=16)
        self._unhashed = bytearray()

    def run(self, arrivals: Iterable[Arrival]) -> SimulatedRun:
        """Let everybody arrive and everything end. Call it once.

        Raises:
            ValueError: an arrival earlier than the one before it.
        """
        for arrival in arrivals:
            self._advance(arrival.time_ns)
            self._arrive(arrival)
        self._advance(NEVER_NS)
        self._hash.update(self._unhashed)
        assert self._scheduler.in_flight == 0, "events are left inside and nothing is under way"
        return SimulatedRun(
            np.frombuffer(self._outcomes, np.uint8),
            np.frombuffer(self._latency_ns, np.int64),
            self._now_ns,
            len(self._rows) + self._serial,
            self._hash.hexdigest(),
            self._scheduler.statistics(),
        )

    def _arrive(self, arrival: Arrival) -> None:
        now_ns = arrival.time_ns
        if now_ns < self._now_ns:
            raise ValueError(f"arrival at {now_ns} ns comes after {self._now_ns} ns; sort by time")
        event = len(self._rows)
        self._rows.append(arrival.rows)
        self._outcomes.append(UNENDED)
        self._latency_ns.append(-now_ns)
        if self._execution is not None:
            self._execution.admit(event, arrival)
        if arrival.leaves_ns < NEVER_NS:
            self._push(arrival.leaves_ns, Cancelled(event))
        self._feed(now_ns, Arrived(event, arrival.pipeline, arrival.rows, arrival.deadline_ns))

    def _advance(self, until_ns: int) -> None:
        """Let happen what is due up to a moment, that moment included."""
        heap = self._heap
        while heap and heap[0][0] <= until_ns:
            time_ns, _, stimulus = heappop(heap)
            self._feed(time_ns, stimulus)

    def _feed(self, now_ns: int, stimulus: AnyStimulus) -> None:
        self._now_ns = now_ns
        commands = self._scheduler.handle(now_ns, stimulus)
        if self._watch is not None:
            self._watch(now_ns, stimulus, commands)
        if not commands:
            return
        self._digest(now_ns, commands)
        for command in commands:
            match command:
                case RunBatch():
                    self._run_batch(command)
                case Finish():
                    self._finish(command)
                case SetTimer():
                    spins = command.due_ns <= now_ns and type(stimulus) is TimerFired
                    assert not spins, "a timer that is due at once would be set for ever"
                    self._push(command.due_ns, TimerFired(command.stage))

    def _push(self, time_ns: int, stimulus: AnyStimulus) -> None:
        self._serial += 1
        heappush(self._heap, (max(time_ns, self._now_ns), self._serial, stimulus))

    def _run_batch(self, run: RunBatch) -> None:
        events, stage, now_ns = run.events, run.stage, self._now_ns
        rows = sum(map(self._rows.__getitem__, events))
        service_ns = self._service(stage, len(events), rows, self._rng)
        failed = False
        if self._faults is not None:
            service_ns = self._faults.slowed_ns(now_ns, stage, service_ns)
            failed = self._faults.fails is not None and self._faults.fails(now_ns, stage, events)
        if self._execution is not None and not failed:
            failed = not self._execution.run(stage, events)
        self._push(now_ns + service_ns, BatchFinished(run.batch, failed))

    def _finish(self, finish: Finish) -> None:
        outcome = finish.outcome.value
        for event in finish.events:
            self._outcomes[event] = outcome
            self._latency_ns[event] += self._now_ns
            if self._execution is not None:
                self._execution.finish(event, finish.outcome)

    def _digest(self, now_ns: int, commands: list[AnyCommand]) -> None:
        self._encoder.encode_into((now_ns, commands), self._unhashed, -1)
        if len(self._unhashed) > DIGEST_BYTES:
            self._hash.update(self._unhashed)
            self._unhashed.clear()
