"""The simulated driver: the live scheduler under a virtual clock.

Carries out the commands of the very `Scheduler` that serves, with a heap instead of an event loop
and threads. Whatever is under way is an entry `(time_ns, serial, what)`; the serial makes ties
deterministic, so the same arrivals and seed give the same commands, which the digest proves. Time
jumps from entry to entry: a simulated hour costs what its events cost.

Two modes. *model*: a service model says how long a run takes, and nothing is computed. *execute*:
the stages are really run as well, so answers come out; times still come from the model. In either,
runs have a core each, or share those of one machine.

Memory is bounded by what is in flight, plus some 22 bytes for each arrival (see `ledger`).
Prior art: SimPy for the heap key, TigerBeetle for simulating production code.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush

import msgspec
import numpy as np

from sedp.engine.events import (
    NEVER_NS,
    Abandon,
    AnyCommand,
    AnyStimulus,
    Arrived,
    BatchFinished,
    Cancelled,
    FallBack,
    Finish,
    Outcome,
    RunBatch,
    SetTimer,
    TimerFired,
)
from sedp.engine.scheduler import Scheduler
from sedp.simulator.arrival import Arrival
from sedp.simulator.callers import Callers
from sedp.simulator.cores import Cores
from sedp.simulator.faults import Faults
from sedp.simulator.ledger import Ledger, SimulatedRun
from sedp.simulator.results import Execution
from sedp.simulator.service import ServiceModel

Watch = Callable[[int, AnyStimulus, list[AnyCommand]], None]
Tick = Callable[[int], Sequence[AnyStimulus]]

DIGEST_BYTES = 1 << 16  # commands are hashed in pieces of about this size


class Due(enum.Enum):
    """Entries of the heap that are the driver's own business."""

    CORES = enum.auto()  # the next run on shared cores ends, unless that was put off
    TICK = enum.auto()


class Simulator:
    """Runs a fresh scheduler through one stream of arrivals.

    Args:
        scheduler: fed by nobody else.
        service: how long runs take.
        rng: dice for the service model.
        execution: what runs do besides taking time; `None` is nothing.
        faults: what goes wrong.
        watch: called after each step with time, stimulus and commands; fits the invariant
            checker's `check` and a stimulus log's `append`.
        callers: those who ask again; `None` is nobody.
        cores: that all runs share evenly; `None` gives each run one of its own.
        door_ns: work of the door for each event that ends unanswered; needs `cores`.
        ticks: `(every_ns, callback)`: called from the first arrival on until all is over, with
            the time; the stimuli it returns are fed at once.
        metered: whether to note how much work went into each event.
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
        callers: Callers | None = None,
        cores: int | None = None,
        door_ns: int = 0,
        ticks: tuple[int, Tick] | None = None,
        metered: bool = False,
    ) -> None:
        assert not door_ns or cores is not None, (
            "a door that costs something needs cores to work on"
        )
        self._scheduler = scheduler
        self._service = service
        self._rng = rng
        self._execution = execution
        self._faults = faults
        self._watch = watch
        self._callers = callers
        self._cores = None if cores is None else Cores(cores)
        self._cores_due_ns = NEVER_NS
        self._door_ns = door_ns
        self._ticks = ticks
        self._heap: list[tuple[int, int, AnyStimulus | Arrival | Due]] = []
        self._serial = 0
        self._now_ns = 0
        self._stimuli = 0
        self._arriving = True
        self._ledger = Ledger(metered=metered)
        self._encoder = msgspec.msgpack.Encoder()
        self._hash = hashlib.blake2b(digest_size=16)
        self._unhashed = bytearray()

    def run(
        self, arrivals: Iterable[Arrival], stimuli: Iterable[tuple[int, AnyStimulus]] = ()
    ) -> SimulatedRun:
        """Let everybody arrive and everything end. Call it once.

        Args:
            stimuli: what else happens from outside, `(time_ns, stimulus)`: changes of plan, drain.

        Raises:
            ValueError: an arrival earlier than the one before it.
        """
        for time_ns, stimulus in stimuli:
            self._push(time_ns, stimulus)
        for arrival in arrivals:
            if self._ticks is not None and not len(self._ledger):
                self._push(arrival.time_ns + self._ticks[0], Due.TICK)
            self._advance(arrival.time_ns)
            self._arrive(arrival)
        self._arriving = False
        self._advance(NEVER_NS)
        self._hash.update(self._unhashed)
        assert self._scheduler.in_flight == 0, "events are left inside and nothing is under way"
        statistics = self._scheduler.statistics(self._now_ns)
        return self._ledger.close(self._now_ns, self._stimuli, self._hash.hexdigest(), statistics)

    def _arrive(self, arrival: Arrival) -> None:
        now_ns = arrival.time_ns
        if now_ns < self._now_ns:
            raise ValueError(f"arrival at {now_ns} ns comes after {self._now_ns} ns; sort by time")
        event = self._ledger.enter(arrival)
        if self._execution is not None:
            self._execution.admit(event, arrival)
        if self._callers is not None:
            self._callers.asked(event, arrival)
        if arrival.leaves_ns < NEVER_NS:
            self._push(arrival.leaves_ns, Cancelled(event))
        arrived = Arrived(
            event,
            arrival.pipeline,
            arrival.rows,
            deadline_ns=arrival.deadline_ns,
            due_ns=arrival.due_ns,
            level=arrival.level,
            user=arrival.user,
            tenant=arrival.tenant,
        )
        self._feed(now_ns, arrived)

    def _advance(self, until_ns: int) -> None:
        """Let happen what is due up to a moment, that moment included."""
        heap = self._heap
        while heap and heap[0][0] <= until_ns:
            time_ns, _, what = heappop(heap)
            if type(what) is Arrival:
                self._arrive(what)
            elif isinstance(what, Due):
                self._mind(time_ns, what)
            else:
                self._feed(time_ns, what)

    def _mind(self, now_ns: int, what: Due) -> None:
        if what is Due.TICK:
            self._tick(now_ns)
        elif now_ns == self._cores_due_ns:  # else a stale one
            assert self._cores is not None
            self._cores_due_ns = NEVER_NS
            for end in self._cores.ended(now_ns):
                self._feed(now_ns, end)
            self._plan_cores(self._cores)

    def _tick(self, now_ns: int) -> None:
        assert self._ticks is not None
        every_ns, callback = self._ticks
        for stimulus in callback(now_ns):
            self._feed(now_ns, stimulus)
        if self._arriving or self._heap:
            self._push(now_ns + every_ns, Due.TICK)

    def _feed(self, now_ns: int, stimulus: AnyStimulus) -> None:
        self._now_ns = now_ns
        self._stimuli += 1
        if self._execution is not None and type(stimulus) is BatchFinished:
            self._execution.end(stimulus.batch)
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
                    self._push(command.due_ns, TimerFired(command.stage, command.batch))
                case FallBack():
                    if self._execution is not None:
                        self._execution.fall_back(command)
                case Abandon():  # the run itself goes on: a stage cannot be stopped
                    if self._execution is not None:
                        self._execution.abandon(command.batch)
        if self._cores is not None:
            self._plan_cores(self._cores)

    def _push(self, time_ns: int, what: AnyStimulus | Arrival | Due) -> None:
        self._serial += 1
        if time_ns < self._now_ns:
            time_ns = self._now_ns
        heappush(self._heap, (time_ns, self._serial, what))

    def _run_batch(self, run: RunBatch) -> None:
        events, stage, now_ns = run.events, run.stage, self._now_ns
        sized = self._ledger if self._execution is None else self._execution
        rows = sized.rows_of(events)
        service_ns = self._service(stage, len(events), rows, self._rng)
        failed = False
        if self._faults is not None:
            service_ns = self._faults.slowed_ns(now_ns, stage, service_ns)
            failed = self._faults.fails is not None and self._faults.fails(now_ns, stage, events)
        if self._execution is not None and not failed:
            failed = not self._execution.run(now_ns, run)
        self._ledger.spend(events, service_ns)
        end = BatchFinished(run.batch, failed)
        if self._cores is None:
            self._push(now_ns + service_ns, end)
        else:
            self._cores.start(now_ns, service_ns, end)

    def _plan_cores(self, cores: Cores) -> None:
        """Come back when the next run ends; starts meanwhile may put that off, never forward."""
        due_ns = cores.due_ns()
        if due_ns < self._cores_due_ns:
            self._cores_due_ns = due_ns
            self._push(due_ns, Due.CORES)

    def _finish(self, finish: Finish) -> None:
        events, outcome, now_ns = finish.events, finish.outcome, self._now_ns
        self._ledger.end(events, outcome, now_ns)
        if self._execution is not None:
            self._execution.finish(events, outcome)
        if self._callers is not None:
            for event in events:
                again = self._callers.ended(now_ns, event, outcome)
                if again is not None:
                    self._push(again.time_ns, again)
        if self._door_ns and outcome is not Outcome.ANSWERED:
            assert self._cores is not None
            self._cores.charge(now_ns, self._door_ns * len(events))

    def _digest(self, now_ns: int, commands: list[AnyCommand]) -> None:
        self._encoder.encode_into((now_ns, commands), self._unhashed, -1)
        if len(self._unhashed) > DIGEST_BYTES:
            self._hash.update(self._unhashed)
            self._unhashed.clear()
