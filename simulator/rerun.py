"""Rerun: a recorded stimulus log through a fresh scheduler, which must say the same again.

The proof that the deciding code is a function of its stimuli alone: no clock, no dice, no order of
threads got in. Also the way to look at a live surprise under a debugger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sedp.engine.events import AnyCommand, AnyStimulus
from sedp.engine.scheduler import Scheduler
from sedp.engine.stimulus_log import Record, RecordedRun

PROGRESS_RECORDS = 1024  # records between two calls of `progress`


@dataclass(frozen=True, slots=True)
class Difference:
    """The first record, counted from 0, at which live and fresh scheduler part."""

    record: int
    now_ns: int
    stimulus: AnyStimulus
    recorded: list[AnyCommand]
    computed: list[AnyCommand]


@dataclass(frozen=True, slots=True)
class Rerun:
    """How far the two agree; `difference` is `None` when they do to the end."""

    records: int
    difference: Difference | None


def rerun(run: RecordedRun, progress: Callable[[int], None] | None = None) -> Rerun:
    """Feed the log to a fresh scheduler and stop at the first difference.

    Args:
        progress: told every now and then how many more records are done.

    Raises:
        ConfigError: the log is damaged.
    """
    scheduler = Scheduler(run.graph)
    count = 0
    for record in run.records():
        difference = _step(scheduler, count, record)
        if difference is not None:
            return Rerun(count, difference)
        count += 1
        if progress is not None and count % PROGRESS_RECORDS == 0:
            progress(PROGRESS_RECORDS)
    return Rerun(count, None)


def _step(scheduler: Scheduler, number: int, record: Record) -> Difference | None:
    now_ns, stimulus, recorded = record
    computed = scheduler.handle(now_ns, stimulus)
    if computed == recorded:
        return None
    return Difference(number, now_ns, stimulus, recorded, computed)
