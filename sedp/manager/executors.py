"""What it means for a forecast where a stage's runs happen.

A hop to a thread and back is a part of every run's time, and so of what was learned of its cost;
an inline run saves it, but holds the event loop meanwhile, which all pipelines of a process share.
"""

from __future__ import annotations

from dataclasses import replace

from sedp.manager.forecast import StageLoad
from sedp.manager.loop_bounds import HOLDS_NS_MAX, belongs_inline

HOP_NS = 100_000  # to a thread and back
FIXED_SHARE_MIN = 0.1  # of what a run costs whatever is in it; the price of a hop is a guess


def move_load(load: StageLoad, executor: str) -> StageLoad:
    """The same stage with its runs there: `inline`, `thread` or `auto`."""
    inline, fixed_ns = executor == "inline", load.cost.fixed_ns
    if executor == "auto":
        inline = belongs_inline(load.cost.service_ns(load.cost.rows), load.inline)
    if inline == load.inline:
        return load
    least_ns = FIXED_SHARE_MIN * fixed_ns
    fixed_ns = max(least_ns, fixed_ns - HOP_NS) if inline else fixed_ns + HOP_NS
    return replace(load, inline=inline, cost=replace(load.cost, fixed_ns=fixed_ns))


def begins_to_hold(before: StageLoad, after: StageLoad) -> bool:
    """Whether a step makes the longest runs of a stage hold the event loop for long."""
    return _holds(after) and not _holds(before)


def _holds(load: StageLoad) -> bool:
    return load.inline and load.run_ns(load.full_events) > HOLDS_NS_MAX
