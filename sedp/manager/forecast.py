"""What a pipeline would do with other knobs: capacity, and p99 of the latency, from fitted costs.

A stage with a free slot takes what waits, so batches grow with the load until they are full; the
size at which a run lasts as long as its rows took to come is the stage's balance. Slots bound what
a stage does, cores bound what all stages do together, and both fill up with whole batches last.
Waits follow Sakasegawa's approximation for many servers, and never exceed what the queue's bound
lets in, where rows that run in the stage before count as well, since their room is reserved. Waits
of unlucky events add up as if they came together, which errs to the safe side; spreads of runs add
up as those of independent ones.

Prior art: InferLine's estimator (Crankshaw 2020), as formulas instead of a simulation, because
one is wanted for each of a hundred neighbours of a plan, in milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from sedp.engine.graph import StagePlan
from sedp.manager.cost_model import Cost
from sedp.manager.observation import SECOND_NS

P99_OF_EXPONENTIAL = math.log(100)
P99_OF_NORMAL = 2.33
BALANCE_ROUNDS = 8  # to within a percent in the tests' pipelines
BALANCED = 0.001  # a smaller change ends them
QUEUED_SHARE = 0.85  # of a queue is full when the stage behind, at last, has room
FEW_EVENTS = 2  # below, small events still join: a limit just short of two brings something
SOFTNESS = 8  # two equally tight stages do 8 % less than one: they wait for each other


@dataclass(frozen=True, slots=True)
class StageLoad:
    """What a forecast needs to know of one stage.

    Args:
        rows: of an event, on average, > 0.
        predecessors: positions among the loads; each comes before its successors.
        inline: runs on the event loop, which all inline stages share, and which everybody else
            needs at the end of a run; else the cost includes the way to a thread and back.
    """

    plan: StagePlan
    cost: Cost
    rows: float
    predecessors: tuple[int, ...] = ()
    inline: bool = False
    slots: int = field(init=False)
    full_events: float = field(init=False)  # of a full batch; one goes through however large it is
    rows_ns: float = field(init=False)  # of an event's rows, whatever the batch

    def __post_init__(self) -> None:
        rows_max = min(self.plan.batch_rows_max, self.plan.queue_rows_max)
        events = rows_max / self.rows
        full = max(1.0, events if events < FEW_EVENTS else float(math.floor(events)))
        object.__setattr__(self, "slots", 1 if self.inline else self.plan.concurrency)
        object.__setattr__(self, "full_events", full)
        object.__setattr__(self, "rows_ns", self.cost.row_ns * self.rows)

    def event_ns(self, events: float) -> float:
        """Processor time of one event in a batch of `events`."""
        return self.cost.fixed_ns / events + self.rows_ns

    def run_ns(self, events: float) -> float:
        return self.event_ns(events) * events


@dataclass(frozen=True, slots=True)
class Forecast:
    """Args:
    capacity_s: events a second, at most.
    p99_ns: of the latency at the load asked for.
    stage_ns: per stage, what an event spends there without waiting for a slot.
    tail_ns: what unlucky events spend more than that in all stages.
    """

    capacity_s: float
    p99_ns: float
    stage_ns: tuple[float, ...]
    tail_ns: float


def forecast(loads: Sequence[StageLoad], rate_s: float, cores: float) -> Forecast:
    """What becomes of `rate_s` events a second (> 0).

    Args:
        loads: in topological order, at least one; each with a cost > 0.
        cores: that these stages may use, > 0.
    """
    full = _full(loads)
    capacity, slowdown_max = _capacity(loads, cores, full[1:])
    rate = min(rate_s / SECOND_NS, capacity)
    busy = _busy_cores(loads, rate, _batches(loads, rate, 1.0)) / cores
    slowdown = slowdown_max if busy >= 1 else min(slowdown_max, 1 + _queueing(busy, cores))
    full = full if rate == capacity else []
    batches = _batches(loads, rate, slowdown, full[1:])
    stage_ns, wait_ns, tails_ns = [], [], []
    runs_ns = [load.run_ns(n) * slowdown for load, n in zip(loads, batches, strict=True)]
    loop_busy, held_ns = _loop(loads, batches, runs_ns, rate)
    for position, (load, events, run_ns) in enumerate(zip(loads, batches, runs_ns, strict=True)):
        stage_ns.append(_company_ns(load, rate) + run_ns + (0 if load.inline else held_ns))
        reserved_ns = max((runs_ns[p] for p in load.predecessors), default=0.0)
        drain_ns = load.plan.queue_rows_max / (rate * load.rows) - reserved_ns
        fullness = 0.0 if load.predecessors else rate / capacity
        fullness = max(fullness, loop_busy) if load.inline else fullness
        slot_ns = _wait_ns(load, events, rate, slowdown, fullness)
        wait_ns.append(max(0.0, drain_ns if position in full else min(drain_ns, slot_ns)))
        tails_ns.append(P99_OF_NORMAL * load.cost.spread * run_ns)
    path_ns = longest_path(loads, list(map(sum, zip(stage_ns, wait_ns, strict=True))))
    tail_ns = math.hypot(*tails_ns)
    p99_ns = held_ns + path_ns + tail_ns
    return Forecast(capacity * SECOND_NS, p99_ns, tuple(stage_ns), tail_ns)


def longest_path(loads: Sequence[StageLoad], stage_ns: Sequence[float]) -> float:
    """The most that an event spends on its way through stages that take so long each."""
    ends_ns: list[float] = []
    for load, own_ns in zip(loads, stage_ns, strict=True):
        ends_ns.append(own_ns + max((ends_ns[p] for p in load.predecessors), default=0.0))
    return max(ends_ns)


def _capacity(loads: Sequence[StageLoad], cores: float, jam: Sequence[int]) -> tuple[float, float]:
    """Events per nanosecond, by the tightest of slots, event loop, and cores; slowdown there.

    On full cores runs last until the tightest stage's slots are all busy. With that slowdown the
    batches of the other stages find their size, and their size says what the cores can do.
    """
    slots = [load.slots / load.event_ns(load.full_events) for load in loads if not load.inline]
    loop = sum(load.event_ns(load.full_events) for load in loads if load.inline)
    limits = [*slots, 1 / loop] if loop else slots
    tightest = min(limits)
    crowd = sum((tightest / limit) ** SOFTNESS for limit in limits)  # ≥ 1: how many are as tight
    hard = tightest * math.pow(crowd, -1 / SOFTNESS)
    batches = [load.full_events for load in loads]
    rate = min(hard, cores / _busy_cores(loads, 1.0, batches))
    slowdown = 1.0
    for _ in range(BALANCE_ROUNDS):
        slowdown = max(1.0, tightest / rate)
        batches = _batches(loads, rate, slowdown, jam)
        before, rate = rate, 0.5 * (rate + min(hard, cores / _busy_cores(loads, 1.0, batches)))
        if abs(rate - before) < BALANCED * rate:
            break
    return rate, slowdown


def _loop(
    loads: Sequence[StageLoad], batches: Sequence[float], runs_ns: Sequence[float], rate: float
) -> tuple[float, float]:
    """Share of time that inline runs hold the event loop, and for how long others find it held."""
    inline = [
        (run, run / n) for load, run, n in zip(loads, runs_ns, batches, strict=True) if load.inline
    ]
    busy = min(1.0, rate * sum(event_ns for _, event_ns in inline))
    return busy, busy * max((run_ns for run_ns, _ in inline), default=0.0)


def _busy_cores(loads: Sequence[StageLoad], rate: float, batches: Sequence[float]) -> float:
    return rate * sum(map(StageLoad.event_ns, loads, batches))


def _full(loads: Sequence[StageLoad]) -> list[int]:
    """Whose queues fill: the tightest stage's, and those of all before it, the nearest first."""
    needs = [load.event_ns(load.full_events) / load.slots for load in loads]
    jam = [needs.index(max(needs))]
    for position in jam:
        jam += [p for p in loads[position].predecessors if p not in jam]
    return jam


def _batches(
    loads: Sequence[StageLoad], rate: float, slowdown: float, jam: Sequence[int] = ()
) -> list[float]:
    """Events per batch of each stage at `rate` events per nanosecond.

    Args:
        jam: stages that wait for room behind, those behind first; their queues are full.
    """
    batches: list[float] = []
    for load in loads:
        full = load.full_events
        together = max([batches[p] for p in load.predecessors], default=1.0)
        if together > full:
            together /= math.ceil(together / full)  # as even parts, on average
        company = 1 + rate * load.plan.batch_wait_ns
        balance = _balance(load, load.slots, rate, slowdown)
        batches.append(min(full, max(balance, company, together)))
    for position in jam:
        load = loads[position]
        room = min(batches[n] for n, other in enumerate(loads) if position in other.predecessors)
        batches[position] = max(batches[position], _jammed(load, room, rate, slowdown))
    return batches


def _balance(load: StageLoad, slots: float, rate: float, slowdown: float) -> float:
    """Events that come while such a batch runs, ≥ 1."""
    pace = rate * slowdown
    idle = slots - pace * load.rows_ns
    if idle <= 0:
        return load.full_events
    return min(load.full_events, max(1.0, pace * load.cost.fixed_ns / idle))


def _jammed(load: StageLoad, room: float, rate: float, slowdown: float) -> float:
    """Events a batch where room for `room` events comes free at once.

    What has queued goes at once; the rest trickles in, while other slots are free to take it.
    """
    queued = QUEUED_SHARE * load.plan.queue_rows_max / load.rows
    at_once = max(1.0, min(room, queued))
    trickle = _balance(load, max(1, load.slots - 1), rate, slowdown)
    runs = max(1.0, at_once / load.full_events) + max(0.0, room - at_once) / trickle
    return room / runs


def _queueing(busy: float, servers: float) -> float:
    """Sakasegawa: mean wait in units of the service time, Poisson arrivals, 0 ≤ busy < 1."""
    power: float = busy ** (math.sqrt(2 * (servers + 1)) - 1)
    return power / (servers * (1 - busy))


def _company_ns(load: StageLoad, rate: float) -> float:
    """How long the first event of a batch waits for others."""
    return min(load.plan.batch_wait_ns, (load.full_events - 1) / rate)


def _wait_ns(
    load: StageLoad, events: float, rate: float, slowdown: float, fullness: float
) -> float:
    """An unlucky event's wait for a slot, the queue unbounded.

    Args:
        fullness: of what it shares with other stages: at the door the pipeline, inline the loop.
    """
    run_ns = load.run_ns(load.full_events) * slowdown
    busy = max(rate * run_ns / load.full_events / load.slots, fullness)
    if busy >= 1:
        return math.inf
    varied = (1 + load.cost.spread**2) / 2
    queued_ns = P99_OF_EXPONENTIAL * varied * run_ns * _queueing(busy, load.slots)
    taken = min(1.0, rate * load.event_ns(events) * slowdown / load.slots)
    next_ns = taken * load.run_ns(events) * slowdown / load.slots  # until a slot is free
    return max(queued_ns, next_ns)
