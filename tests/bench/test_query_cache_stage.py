"""Stamps of when a score was made, and what callers read from them."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from bench.query_cache_stage import NOW, UNIT_NS, UNITS, Stamp, age_s
from sedp.columns import Batch

MS = 1_000_000


def stamped(now_ns: int) -> np.ndarray:
    stage = Stamp(msgspec.convert({"item": "item"}, Stamp.Params))
    columns = {"item": np.arange(5), NOW: np.array([now_ns, now_ns])}
    return stage.process(Batch(columns, np.array([0, 2, 5])))["made"]


@pytest.mark.parametrize("now_ns", [0, 123 * MS, UNITS * UNIT_NS - MS, 10**18])
@pytest.mark.parametrize("age_ms", [-40, 0, 3_000, 120_000])
def test_a_caller_reads_the_age_that_the_score_has(now_ns: int, age_ms: int) -> None:
    """Also where the count begins anew in between; negative is made after it was asked for."""
    ages = age_s(now_ns + age_ms * MS, stamped(now_ns))
    assert ages == pytest.approx(np.full(5, age_ms / 1e3), abs=2e-4)
