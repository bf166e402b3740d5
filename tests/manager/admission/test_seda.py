"""SEDA's adaptive admission as published: 90th percentile, divided by 1.2, up by a little."""

from __future__ import annotations

import pytest

from sedp.engine.events import Outcome
from sedp.manager.admission.seda import RATE_MAX, RATE_MIN, Seda
from tests.manager.admission.states import chain_of, event_of, newcomer

MS = 1_000_000
SECOND = 1_000_000_000
TARGET = 20 * MS


def end(seda: Seda, latency_ns: int, events: int, *, level: int = 1, at_ns: int = 0) -> None:
    for number in range(events):
        event = event_of(newcomer(number, level=level), at_ns)
        seda.ended(at_ns + latency_ns, event, Outcome.ANSWERED)


def rates(seda: Seda) -> list[float]:
    return [each.rate for each in seda._classes]


def test_percentile_above_the_target_divides_the_rate_by_1_2_after_100_events() -> None:
    seda = Seda(TARGET, 1)
    end(seda, 100 * MS, 99)
    assert rates(seda) == [RATE_MAX]
    end(seda, 100 * MS, 1)  # 0.3 · 100 ms is above 20
    assert rates(seda) == [pytest.approx(RATE_MAX / 1.2)]


def test_percentile_is_smoothed_by_seven_tenths_of_what_was() -> None:
    seda = Seda(TARGET, 1)
    end(seda, 50 * MS, 100)
    assert seda._classes[0].percentile_ns == pytest.approx(15 * MS)
    end(seda, 50 * MS, 100)
    assert seda._classes[0].percentile_ns == pytest.approx(25.5 * MS)


def test_nine_tenths_in_time_are_enough() -> None:
    seda = Seda(TARGET, 1)
    for _ in range(10):
        end(seda, 30 * MS, 9)
        end(seda, 15 * MS, 91)
    assert rates(seda) == [RATE_MAX]


def test_more_than_one_late_in_ten_is_too_many() -> None:
    seda = Seda(TARGET, 1)
    end(seda, 100 * MS, 11)
    end(seda, 15 * MS, 89)
    assert rates(seda) == [pytest.approx(RATE_MAX / 1.2)]


def test_rate_grows_by_twice_the_distance_from_a_tenth_below_the_target() -> None:
    seda = Seda(TARGET, 1)
    seda._classes[0].rate = 100.0
    end(seda, 10 * MS, 100)  # smoothed 3 ms: an error of −0.85, 0.75 below −0.1
    assert rates(seda) == [pytest.approx(101.5)]


def test_rate_stays_where_the_error_is_between_minus_a_half_and_0() -> None:
    seda = Seda(TARGET, 1)
    seda._classes[0].rate = 100.0
    seda._classes[0].percentile_ns = 15 * MS
    end(seda, 15 * MS, 100)
    assert rates(seda) == [100.0]


def test_window_closes_after_a_second_with_fewer_events() -> None:
    seda = Seda(TARGET, 1)
    end(seda, 100 * MS, 1, at_ns=2 * SECOND)
    assert rates(seda) == [pytest.approx(RATE_MAX / 1.2)]


def test_overloaded_class_first_cuts_those_below_it_by_ten_and_then_itself() -> None:
    seda = Seda(TARGET, 3)
    end(seda, 100 * MS, 100, level=2)
    assert rates(seda) == [RATE_MAX, RATE_MAX, RATE_MAX / 10]
    end(seda, 100 * MS, 400, level=2)
    assert rates(seda) == [RATE_MAX, RATE_MAX, RATE_MIN]
    end(seda, 100 * MS, 100, level=2)
    assert rates(seda) == [RATE_MAX, pytest.approx(RATE_MAX / 1.2), RATE_MIN]


def test_rate_stays_within_its_bounds() -> None:
    seda = Seda(TARGET, 1)
    end(seda, SECOND, 10_000)
    assert rates(seda) == [RATE_MIN]


def test_bucket_lets_in_ten_at_once_and_then_its_rate() -> None:
    seda, pipeline = Seda(TARGET, 1), chain_of(1)
    seda._classes[0].rate = 100.0
    at_once = [seda.refusal(SECOND, newcomer(number), pipeline) for number in range(20)]
    assert at_once.count(None) == 10
    later = [
        seda.refusal(SECOND + number * MS, newcomer(number), pipeline) for number in range(1000)
    ]
    assert later.count(None) == pytest.approx(100, abs=1)


def test_question_whether_anybody_could_pass_takes_no_token() -> None:
    seda, pipeline = Seda(TARGET, 1), chain_of(1)
    assert all(seda.refusal(0, newcomer(-1), pipeline) is None for _ in range(100))
    for number in range(10):
        assert seda.refusal(0, newcomer(number), pipeline) is None
    assert seda.refusal(0, newcomer(-1), pipeline) is Outcome.SHED
