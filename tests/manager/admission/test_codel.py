"""CoDel as in folly: 5 ms, 100 ms, and twice the first."""

from __future__ import annotations

from sedp.engine.events import NEVER_NS
from sedp.manager.admission.codel import Codel
from tests.manager.admission.states import chain_of, newcomer

MS = 1_000_000


def limits_of(codel: Codel, waits: list[tuple[int, int]]) -> list[int]:
    """Limits in ms, 0 for none, for `(time, wait)` in ms."""
    found = [codel.wait_limit_ns(at * MS, wait * MS) for at, wait in waits]
    return [0 if limit == NEVER_NS else limit // MS for limit in found]


def test_nobody_is_refused_at_the_door() -> None:
    pipeline = chain_of(1)
    pipeline.in_flight = 100_000
    assert Codel().refusal(0, newcomer(), pipeline) is None


def test_waits_above_5_ms_through_an_interval_of_100_drop_what_waited_10() -> None:
    codel = Codel()
    assert limits_of(codel, [(1, 6)]) == [0]  # the first one ever
    assert limits_of(codel, [(2, 6)]) == [0]  # begins an interval, with one wait seen
    assert limits_of(codel, [(3, 6), (60, 6), (101, 6)]) == [10, 10, 10]
    assert limits_of(codel, [(103, 6), (104, 6)]) == [0, 10]  # the first of the next one passes


def test_one_short_wait_in_an_interval_is_no_overload() -> None:
    codel = Codel()
    limits_of(codel, [(1, 50), (2, 50)])  # the first interval ends at once: it begins at 0
    waits = [(10, 50), (60, 4), (100, 50), (103, 50), (104, 50)]
    assert limits_of(codel, waits)[-1] == 0


def test_overload_ends_an_interval_after_waits_are_short_again() -> None:
    codel = Codel()
    overloaded = [(1, 50), (2, 50), (60, 50), (103, 50), (104, 50)]
    assert limits_of(codel, overloaded)[-1] == 10
    assert limits_of(codel, [(150, 1), (204, 1), (205, 1), (206, 50)])[-1] == 0


def test_pressure_is_1000_where_drops_begin() -> None:
    codel, pipeline = Codel(), chain_of(1)
    limits_of(codel, [(1, 10)])
    assert codel.pressure(0, pipeline) == 0
    pipeline.in_flight = 1
    assert codel.pressure(0, pipeline) == 1000
