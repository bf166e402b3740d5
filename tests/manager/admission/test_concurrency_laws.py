"""AIMD, Vegas and Gradient2 as published, step by step."""

from __future__ import annotations

import pytest

from sedp.engine.events import Outcome
from sedp.manager.admission.aimd import Aimd
from sedp.manager.admission.concurrency_limit import ConcurrencyLimit, Law
from sedp.manager.admission.gradient2 import Gradient2
from sedp.manager.admission.vegas import Vegas
from tests.manager.admission.states import chain_of, event_of, newcomer

MS = 1_000_000
BUSY = 1000  # events inside: far above half of any limit here


def feed(law: Law, *latencies_ns: int, in_flight: int = BUSY, dropped: bool = False) -> float:
    for latency_ns in latencies_ns:
        law.sample(latency_ns, in_flight, dropped=dropped)
    return law.limit


class TestAimd:
    def test_each_event_in_time_adds_one_up_to_200(self) -> None:
        law = Aimd(20 * MS)
        assert feed(law, *[10 * MS] * 5) == 25
        assert feed(law, *[10 * MS] * 300) == 200

    def test_late_event_takes_a_tenth_down_to_20(self) -> None:
        law = Aimd(20 * MS)
        feed(law, *[MS] * 80)
        assert feed(law, 21 * MS) == 90
        assert feed(law, *[21 * MS] * 50) == 20

    def test_dropped_event_is_late_however_fast(self) -> None:
        law = Aimd(20 * MS)
        feed(law, *[MS] * 80)
        assert feed(law, MS, dropped=True) == 90

    def test_limit_does_not_grow_while_less_than_half_of_it_is_used(self) -> None:
        assert feed(Aimd(20 * MS), *[MS] * 10, in_flight=9) == 20
        assert feed(Aimd(20 * MS), *[MS] * 10, in_flight=10) == 21

    def test_without_a_target_late_is_5_seconds(self) -> None:
        law = Aimd(0)
        feed(law, *[4999 * MS] * 10)
        assert law.limit == 30
        assert feed(law, 5001 * MS) == 27


class TestVegas:
    def test_first_sample_is_the_least_and_moves_nothing(self) -> None:
        assert feed(Vegas(), 10 * MS) == 20

    def test_no_waiting_adds_six_at_a_limit_of_20(self) -> None:
        assert feed(Vegas(), 10 * MS, 10 * MS) == 26

    def test_two_waiting_add_one(self) -> None:
        # 20 · (1 − 10 / 11) = 1.8, of which at most 3 may wait
        assert feed(Vegas(), 10 * MS, 11 * MS) == 21

    def test_between_three_and_six_waiting_the_limit_stays(self) -> None:
        assert feed(Vegas(), 10 * MS, 13 * MS) == 20  # 4.6

    def test_more_than_six_waiting_take_one(self) -> None:
        assert feed(Vegas(), 10 * MS, 20 * MS) == 19  # 10

    def test_dropped_event_takes_one(self) -> None:
        law = Vegas()
        feed(law, 10 * MS)
        assert feed(law, 10 * MS, dropped=True) == 19

    def test_steps_double_from_a_limit_of_100(self) -> None:
        law = Vegas()
        law.limit = 100
        assert feed(law, 10 * MS, 10 * MS) == 112
        assert feed(law, 20 * MS) == 110

    def test_least_latency_is_forgotten_after_22_times_the_limit(self) -> None:
        law = Vegas()
        feed(law, 10 * MS)
        feed(law, *[13 * MS] * 448)  # holds at 20
        assert law.limit == 20
        feed(law, 13 * MS)  # the 450th sample, 0.75 · 30 · 20, is taken as the least
        assert feed(law, 13 * MS) == 26

    def test_limit_stays_between_1_and_1000(self) -> None:
        law = Vegas()
        feed(law, 10 * MS)
        assert feed(law, *[10 * MS] * 15, dropped=True) == 5
        assert feed(law, *[10 * MS] * 3000, dropped=True) == 1
        assert feed(law, *[10 * MS] * 3000) == 1000


class TestGradient2:
    def test_steady_latency_adds_a_fifth_of_the_four_that_may_wait(self) -> None:
        assert feed(Gradient2(), 10 * MS) == pytest.approx(20.8)
        assert feed(Gradient2(), *[10 * MS] * 400) == 200

    def test_latency_of_three_times_its_average_halves_by_a_fifth(self) -> None:
        law = Gradient2()
        feed(law, *[10 * MS] * 400)
        # average 10.07 of 30 ms, tolerance 1.5: gradient 0.503; 200 · 0.8 + (100.7 + 4) · 0.2
        assert feed(law, 30 * MS) == pytest.approx(180.9, abs=0.1)

    def test_latency_within_one_and_a_half_of_its_average_is_no_queue(self) -> None:
        law = Gradient2()
        feed(law, *[10 * MS] * 50)
        before = law.limit
        assert feed(law, 15 * MS) == pytest.approx(before + 0.8)

    def test_limit_stays_while_less_than_half_of_it_is_used(self) -> None:
        assert feed(Gradient2(), *[10 * MS] * 10, in_flight=9) == 20

    def test_limit_never_falls_below_20(self) -> None:
        law = Gradient2()
        assert feed(law, *[10 * MS * 2**step for step in range(20)]) >= 20

    def test_average_falls_by_a_twentieth_more_when_an_overload_is_over(self) -> None:
        law = Gradient2()
        feed(law, *[100 * MS] * 50)
        feed(law, 10 * MS)
        kept = 599 / 601  # of the exponential average, for a sample of 10 ms
        assert law._long_ns == pytest.approx((100 * kept + 10 * 2 / 601) * 0.95 * MS)


def test_newcomer_is_refused_when_as_many_are_inside_as_the_limit_says() -> None:
    admission, pipeline = ConcurrencyLimit(Aimd(20 * MS)), chain_of(1)
    pipeline.in_flight = 19
    assert admission.refusal(0, newcomer(), pipeline) is None
    pipeline.in_flight = 20
    assert admission.refusal(0, newcomer(), pipeline) is Outcome.SHED
    assert admission.pressure(0, pipeline) == 1000


def test_answers_and_late_events_are_samples_and_other_ends_are_not() -> None:
    limits = {}
    for outcome in Outcome:
        admission, pipeline = ConcurrencyLimit(Aimd(20 * MS)), chain_of(1)
        admission.law.limit = 100
        pipeline.in_flight = 99
        admission.refusal(0, newcomer(), pipeline)
        admission.ended(MS, event_of(newcomer()), outcome)
        limits[outcome] = admission.law.limit
    assert limits.pop(Outcome.ANSWERED) == 101
    assert limits.pop(Outcome.DEADLINE) == limits.pop(Outcome.SHED) == 90
    assert set(limits.values()) == {100}
