"""What it means for a forecast where a stage's runs happen.

A hop to a thread and back is a part of every run's time, and so of what was learned of its cost;
an inline run saves it, but holds the event loop meanwhile, which all pipelines of a process share.
"""

from __future__ import annotations

from dataclasses import replace

from sedp.manager.cost_model import Cost
from sedp.manager.forecast import StageLoad

HOP_NS = 100_000  # to a thread and back
FIXED_SHARE_MIN = 0.1  # of what a run costs whatever is in it; the price of a hop is a guess
AUTO_INLINE_NS = 3_000_000  # the engine takes shorter ones inline: from 2 ms, or up to 4
HELD_NS_MAX = 2_000_000  # nobody else is heard for longer than the loop works at a stretch


def runs_inline(executor: str, cost: Cost) -> bool:
    """Whether usual runs happen on the event loop."""
    if executor == "auto":
        return cost.service_ns(cost.rows) < AUTO_INLINE_NS
    return executor == "inline"


def move_load(load: StageLoad, executor: str) -> StageLoad:
    """The same stage with its runs there."""
    inline, fixed_ns = runs_inline(executor, load.cost), load.cost.fixed_ns
    if inline == load.inline:
        return load
    least_ns = FIXED_SHARE_MIN * fixed_ns
    fixed_ns = max(least_ns, fixed_ns - HOP_NS) if inline else fixed_ns + HOP_NS
    return replace(load, inline=inline, cost=replace(load.cost, fixed_ns=fixed_ns))


def begins_to_hold(before: StageLoad, after: StageLoad) -> bool:
    """Whether a step makes the longest runs of a stage hold the event loop for long."""
    return _holds(after) and not _holds(before)


def _holds(load: StageLoad) -> bool:
    return load.inline and load.run_ns(load.full_events) > HELD_NS_MAX
