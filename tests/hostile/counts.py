"""How much of each suite to run: little beside the other tests, more by environment variable."""

from __future__ import annotations

import os
import random


def count(suite: str, usual: int) -> int:
    """Cases of a suite: `SEDP_<SUITE>`, else `usual`."""
    return int(os.environ.get(f"SEDP_{suite}", usual))


def dice(suite: str) -> random.Random:
    """The same cases each time, or others by `SEDP_SEED`."""
    return random.Random(f"{suite} {os.environ.get('SEDP_SEED', 0)}")
