"""The bench of overload, where the machine lets no rate keep the target."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bench import overload
from bench.overload import QUICK
from bench.server_process import Server

CLOSED = 1000.0


def bench() -> overload._Bench:
    nobody = Server(("", 0), None, b"")  # type: ignore[arg-type]
    return overload._Bench(nobody, [b""] * overload.LEVELS, QUICK, 1, None)


@pytest.mark.parametrize(("latency_s", "told"), [(0.001, 1), (np.inf, 2)])
def test_rate_that_loads_go_by_is_told_even_where_none_keeps_the_target(
    monkeypatch: pytest.MonkeyPatch, latency_s: float, told: int
) -> None:
    def offer(self: overload._Bench, rate: float, seconds: float) -> NDArray[np.float64]:
        return np.full(100, latency_s)

    monkeypatch.setattr(overload._Bench, "_latencies", offer)
    rate, figures = bench()._find_goodput(CLOSED)
    assert 0 < rate <= CLOSED
    assert len(figures) == told
    assert figures[0].value == (rate if told == 1 else 0.0)
    assert figures[-1].value == rate
