"""The statistics of several workers as those of one daemon.

Counters, levels and histograms add up; names stay. What a worker counted before it ended is kept
as `past`, or a restart would look like a counter that fell: to Prometheus that is a reset, and the
rates that follow are wrong.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from sedp.daemon.access.guard import GuardStatistics
from sedp.daemon.monitoring.statistics import DaemonStatistics, LoadStatistics
from sedp.engine.graph import StagePlan
from sedp.engine.histogram import BOUNDS, HistogramSnapshot
from sedp.engine.statistics import EngineStatistics
from sedp.storage.tables.miss_policy import MissStatistics
from sedp.storage.tables.statistics import StoreStatistics, TableStatistics
from sedp.storage.tier import TierStatistics

RECENT_MOVES_MAX = 20
NO_PLAN = StagePlan(0, 0, 0, 0)
BREAKER_STATES = ("", "closed", "probing", "open")  # from good to bad
LEVELS = {
    "in_flight",
    "in_flight_max",
    "held",
    "bytes_max",
    "queue_rows",
    "queue_events",
    "running",
    "connections",
    "pressure",
}
OWN_TIERS = {"ram", "absent"}  # each process has its own; files are the same for all

T = TypeVar("T")


def merge(parts: Sequence[DaemonStatistics]) -> DaemonStatistics:
    """One daemon's statistics, ready as soon as one of its workers is.

    Args:
        parts: at least one; pipelines and tables that only some have are taken from those.
    """
    return DaemonStatistics(
        ready=any(part.ready for part in parts),
        uptime_ns=max(part.uptime_ns for part in parts),
        engine=EngineStatistics(
            _join((part.engine.pipelines for part in parts), lambda p: p.name, _add),
            _join((part.engine.stages for part in parts), lambda s: (s.pipeline, s.name), _add),
        ),
        store=_merge_stores([part.store for part in parts if part.store is not None]),
        listeners=functools.reduce(_add, [part.listeners for part in parts]),
        log_lines_left_out=sum(part.log_lines_left_out for part in parts),
        guard=functools.reduce(_add, [part.guard for part in parts]),
        workers=tuple(itertools.chain.from_iterable(part.workers for part in parts)),
        load=functools.reduce(_add_loads, [part.load for part in parts]),
        loop=functools.reduce(_add, [part.loop for part in parts]),
        threads=_most_threads([part.threads for part in parts]),
    )


def past(statistics: DaemonStatistics) -> DaemonStatistics:
    """What remains of a worker that has ended: its counts, no levels."""
    engine, store = statistics.engine, statistics.store
    return replace(
        statistics,
        ready=False,
        uptime_ns=0,
        engine=EngineStatistics(
            tuple(_without_levels(pipeline) for pipeline in engine.pipelines),
            tuple(replace(_without_levels(s), plan=NO_PLAN, breaker="") for s in engine.stages),
        ),
        store=store and _past_store(store),
        listeners={n: _without_levels(part) for n, part in statistics.listeners.items()},
        guard=_past_guard(statistics.guard),
        workers=(),
        load=_past_load(statistics.load),
        threads={},
    )


def known(statistics: DaemonStatistics, pipelines: Iterable[str]) -> DaemonStatistics:
    """Without what is told of other pipelines than these: they are no longer served."""
    names, engine = set(pipelines), statistics.engine
    return replace(
        statistics,
        engine=EngineStatistics(
            tuple(p for p in engine.pipelines if p.name in names),
            tuple(s for s in engine.stages if s.pipeline in names),
        ),
        load=_known_load(statistics.load, names),
    )


def _join(
    parts: Iterable[Iterable[T]], key: Callable[[T], object], add: Callable[[T, T], T]
) -> tuple[T, ...]:
    """Those with one key as one, in the order in which keys were first seen."""
    joined: dict[object, T] = {}
    for item in itertools.chain.from_iterable(parts):
        found = key(item)
        joined[found] = add(joined[found], item) if found in joined else item
    return tuple(joined.values())


def _add(one: Any, other: Any) -> Any:
    """Numbers and histograms add up, mappings and data by key and field; names stay."""
    if isinstance(one, int | float):
        return one + other
    if isinstance(one, HistogramSnapshot):
        return _add_histograms(one, other)
    if isinstance(one, Mapping):
        return {
            key: _add(one[key], other[key])
            if key in one and key in other
            else one.get(key, other.get(key))
            for key in {**one, **other}
        }
    if is_dataclass(one):
        names = [field.name for field in fields(one)]
        sums = {
            name: SPECIAL.get(name, _add)(getattr(one, name), getattr(other, name))
            for name in names
        }
        return replace(one, **sums)  # type: ignore[type-var]
    assert one == other
    return one


def _add_plans(one: StagePlan, other: StagePlan) -> StagePlan:
    """Runs at once and rows waiting add up; of what concerns a batch the greater counts."""
    return StagePlan(
        one.concurrency + other.concurrency,
        max(one.batch_rows_max, other.batch_rows_max),
        max(one.batch_wait_ns, other.batch_wait_ns),
        one.queue_rows_max + other.queue_rows_max,
    )


def _most_threads(parts: Sequence[Mapping[str, int]]) -> Mapping[str, int]:
    names = itertools.chain.from_iterable(parts)
    return {name: max(part.get(name, 0) for part in parts) for name in names}


def _worse_breaker(one: str, other: str) -> str:
    return max(one, other, key=BREAKER_STATES.index)


def _add_loads(one: LoadStatistics, other: LoadStatistics) -> LoadStatistics:
    recent = sorted((*one.recent, *other.recent), key=lambda move: move.at_ns)
    return LoadStatistics(
        one.frozen + other.frozen,
        _add(one.moves, other.moves),
        tuple(recent[-RECENT_MOVES_MAX:]),
        _add(one.shed, other.shed),
        _join((one.own, other.own), lambda own: (own.pipeline, own.name), _add),
        _add(one.executors, other.executors),
        _add(one.held, other.held),
    )


def _known_load(load: LoadStatistics, names: Set[str]) -> LoadStatistics:
    movable = {"", *names}  # "" stands for the process
    return replace(
        load,
        moves={name: count for name, count in load.moves.items() if name in movable},
        recent=tuple(move for move in load.recent if move.pipeline in movable),
        shed={name: counts for name, counts in load.shed.items() if name in names},
        own=tuple(own for own in load.own if own.pipeline in names),
        executors={name: by for name, by in load.executors.items() if name in names},
        held={name: counts for name, counts in load.held.items() if name in names},
    )


def _past_load(load: LoadStatistics) -> LoadStatistics:
    own = tuple(replace(one, levels=dict.fromkeys(one.levels, 0)) for one in load.own)
    held = {name: _without_levels(counts) for name, counts in load.held.items()}
    return replace(load, frozen=0, own=own, executors={}, held=held)


def _add_histograms(one: HistogramSnapshot, other: HistogramSnapshot) -> HistogramSnapshot:
    assert one.bounds == other.bounds == BOUNDS
    counts = tuple(a + b for a, b in zip(one.counts, other.counts, strict=True))
    return HistogramSnapshot(BOUNDS, counts, one.total + other.total)


def _merge_stores(stores: Sequence[StoreStatistics]) -> StoreStatistics | None:
    if not stores:
        return None
    return StoreStatistics(
        ram_bytes_max=sum(store.ram_bytes_max for store in stores),
        ram_bytes=sum(store.ram_bytes for store in stores),
        tables=_join((store.tables for store in stores), lambda t: t.spec.name, _add_tables),
        moves=functools.reduce(_add, [store.moves for store in stores]),
    )


def _add_tables(one: TableStatistics, other: TableStatistics) -> TableStatistics:
    """Two workers may see different versions for a moment; the table is at the newer one then."""
    newer = max(one, other, key=lambda table: table.spec.version)
    return TableStatistics(
        spec=newer.spec,
        rows=newer.rows,
        lookups=one.lookups + other.lookups,
        defaults=one.defaults + other.defaults,
        tiers=_join((one.tiers, other.tiers), lambda tier: tier.tier, _add_tiers),
        resident=one.resident and other.resident,
        misses=_add_misses(one, other),
    )


def _add_misses(one: TableStatistics, other: TableStatistics) -> MissStatistics:
    """Hit ratios are weighted by look-ups; one of 0 says that there is none yet, or no more."""
    ratios = [
        (table.misses.hit_ratio, table.lookups)
        for table in (one, other)
        if table.misses.hit_ratio and table.lookups
    ]
    lookups = sum(count for _, count in ratios)
    return MissStatistics(
        one.misses.waited + other.misses.waited,
        one.misses.deferred + other.misses.deferred,
        one.misses.withheld + other.misses.withheld,
        sum(ratio * count for ratio, count in ratios) / lookups if lookups else 0.0,
    )


def _add_tiers(one: TierStatistics, other: TierStatistics) -> TierStatistics:
    size = sum if one.tier in OWN_TIERS else max
    return TierStatistics(
        one.tier,
        one.lookups + other.lookups,
        one.hits + other.hits,
        one.corrupt + other.corrupt,
        rows=size((one.rows, other.rows)),
        bytes=size((one.bytes, other.bytes)),
        batches=one.batches + other.batches,
        whole_batches=one.whole_batches + other.whole_batches,
        age=max(one.age, other.age),
    )


def _past_store(store: StoreStatistics) -> StoreStatistics:
    tables = (
        replace(
            table,
            resident=True,  # so that it does not count against those that are
            misses=replace(table.misses, hit_ratio=0.0),
            tiers=tuple(replace(tier, rows=0, bytes=0, age=0) for tier in table.tiers),
        )
        for table in store.tables
    )
    return replace(store, ram_bytes_max=0, ram_bytes=0, tables=tuple(tables))


def _past_guard(guard: GuardStatistics) -> GuardStatistics:
    tenants = {name: _without_levels(tenant) for name, tenant in guard.tenants.items()}
    return replace(guard, tenants=tenants)


def _without_levels(part: Any) -> Any:
    return replace(part, **{f.name: 0 for f in fields(part) if f.name in LEVELS})


SPECIAL: Mapping[str, Callable[[Any, Any], Any]] = {
    "breaker": _worse_breaker,
    "largest": max,
    "longest_ns": max,
    "plan": _add_plans,
    "pressure": max,
}
"""Fields that neither add up nor stay."""
