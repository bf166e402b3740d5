"""How many rows may wait at each stage: what it can drain within the target.

A longer queue serves nobody, since its end is answered too late; a shorter one refuses rows that
could be served. So the bounds follow from the target and the capacity, and are not searched for.
Queues behind the door hold what keeps their stage busy; the door's queue gets the time left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from msgspec.structs import replace as replace_fields

from sedp.manager.forecast import StageLoad, forecast, longest_path
from sedp.manager.observation import SECOND_NS

TARGET_SHARE = 0.8  # of the target may be used up by plan; the rest is for what varies


def derive_queues(loads: Sequence[StageLoad], target_ns: float, cores: float) -> list[StageLoad]:
    """The loads with the queue bounds that fit their other knobs.

    Args:
        loads: in topological order, with costs; their own queue bounds are not looked at.
    """
    open_loads = [_with_queue(load, 1 << 40) for load in loads]
    full = forecast(open_loads, 1e12, cores)
    inner = [_inner_rows(load, loads, cores) for load in loads]
    event_ns = SECOND_NS / full.capacity_s
    stays_ns = []
    for load, stay_ns, rows in zip(loads, full.stage_ns, inner, strict=True):
        reserved_ns = max((full.stage_ns[p] for p in load.predecessors), default=0.0)
        queued_ns = rows / load.rows * event_ns - reserved_ns if load.predecessors else 0.0
        stays_ns.append(stay_ns + max(0.0, queued_ns))
    left_ns = target_ns * TARGET_SHARE - longest_path(loads, stays_ns) - full.tail_ns
    derived = []
    for load, rows in zip(loads, inner, strict=True):
        door_rows = max(left_ns / event_ns * load.rows, _batch_rows(load))
        derived.append(_with_queue(load, round(rows if load.predecessors else door_rows)))
    return derived


def _inner_rows(load: StageLoad, loads: Sequence[StageLoad], cores: float) -> float:
    """Two batches of its own, one to take while the other comes; or all runs of a stage before it.

    A run reserves its room here when it starts, so with less room some slots there were of no use.
    """
    before = [loads[p] for p in load.predecessors]
    runs = [min(stage.slots, math.ceil(cores)) * _batch_rows(stage) for stage in before]
    return max([2 * _batch_rows(load), *runs])


def _batch_rows(load: StageLoad) -> float:
    """Rows that close a batch; a bound below them would make every batch wait for company."""
    return math.ceil(load.plan.batch_rows_max / load.rows) * load.rows


def _with_queue(load: StageLoad, rows: int) -> StageLoad:
    return replace(load, plan=replace_fields(load.plan, queue_rows_max=max(1, rows)))
