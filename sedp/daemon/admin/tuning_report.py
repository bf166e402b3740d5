"""What the admin plane tells of tuning: moves and knobs of all workers, as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from sedp.daemon.monitoring.moves import tell_move
from sedp.daemon.tuning import TuningState

MOVES_MAX = 1024  # told at once, of all workers together


def report_moves(states: Sequence[TuningState]) -> dict[str, Any]:
    """The moves of all workers, the latest first.

    Each as `tell_move` tells it, with its worker's process id. What is no pipeline's is under "".
    """
    total: Counter[str] = Counter()
    for state in states:
        total.update(state.moves_total)
    moves = [(move, state.pid) for state in states for move in state.moves]
    moves.sort(key=lambda pair: (pair[0].at_ns, pair[0].number), reverse=True)
    return {
        "frozen": _is_frozen(states),
        "total": total,
        "moves": [tell_move(move) | {"pid": pid} for move, pid in moves[:MOVES_MAX]],
    }


def report_plan(states: Sequence[TuningState]) -> dict[str, Any]:
    """The knobs of each worker's tuned pipelines, and what their stages cost, as learned so far."""
    return {
        "frozen": _is_frozen(states),
        "workers": [
            {
                "pid": state.pid,
                "pipelines": {
                    plan.pipeline: msgspec.to_builtins(plan.stages) for plan in state.plans
                },
            }
            for state in states
        ],
    }


def _is_frozen(states: Sequence[TuningState]) -> bool:
    return bool(states) and all(state.frozen for state in states)
