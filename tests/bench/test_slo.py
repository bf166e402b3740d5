"""The search for the SLO goodput, on servers that are formulas."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.slo import LIMIT_S, Search, find_goodputs, keeps_limit


def server_of(capacity: float) -> Search:
    """Keeps the limit up to `capacity`, and not beyond it."""

    def offer(rate: float, seconds: float) -> NDArray[np.float64]:
        return np.full(int(rate * seconds), LIMIT_S / 2 if rate <= capacity else 2 * LIMIT_S)

    return Search.below(1_000.0, offer)


def test_it_finds_each_servers_own_rate() -> None:
    found = find_goodputs([server_of(613.0), server_of(890.0)], 8, 1.0)
    assert found == pytest.approx([613.0, 890.0], rel=0.01)
    assert found[0] <= 613.0


def test_a_rate_that_holds_only_for_a_while_is_lowered() -> None:
    def offer(rate: float, seconds: float) -> NDArray[np.float64]:
        holds = rate <= (700.0 if seconds < 2 else 600.0)
        return np.full(100, 0.0 if holds else np.inf)

    [found] = find_goodputs([Search.below(1_000.0, offer)], 8, 1.0)
    assert 0.9 * 600 < found <= 600


def test_a_server_that_never_keeps_the_limit_has_none() -> None:
    assert find_goodputs([server_of(0.0)], 4, 1.0) == [0.0]


def test_one_lost_answer_in_fifty_breaks_the_limit() -> None:
    latencies = np.zeros(100)
    latencies[0] = np.inf
    assert keeps_limit(latencies)
    latencies[1] = np.inf
    assert not keeps_limit(latencies)
