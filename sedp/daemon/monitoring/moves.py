"""A move of a knob as JSON, for people and scripts."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from sedp.manager.moves import Move


def tell_move(move: Move) -> dict[str, Any]:
    """What was seen, what was changed, what was expected of it, and what came.

    `at` is Unix time in seconds.
    """
    told: dict[str, Any] = msgspec.to_builtins(move)
    told["at"] = (told.pop("at_ns") + time.time_ns() - time.monotonic_ns()) / 1e9
    return told
