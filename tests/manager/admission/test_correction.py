"""The loop that keeps the tail of those let in at the target."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.manager.admission.correction import (
    AIM,
    CHANCE,
    EASY_MAX,
    FACTOR_MAX,
    FACTOR_MIN,
    WINDOW_EVENTS,
    WINDOW_TARGETS,
    Correction,
)

TARGET = 20_000_000
WINDOW = WINDOW_TARGETS * TARGET


def observe_window(correction: Correction, *used: float, window: int = 1) -> None:
    """Events of one window, the last of which fills it."""
    for each in used:
        correction.observe((window - 1) * WINDOW, window * WINDOW, each)


def test_factor_is_one_until_a_window_is_full() -> None:
    correction = Correction(TARGET)
    observe_window(correction, *[1.9] * (WINDOW_EVENTS - 1))
    assert correction.factor == 1.0


def test_window_lasts_for_twice_the_target_however_many_events_it_has() -> None:
    correction = Correction(TARGET)
    for _ in range(10 * WINDOW_EVENTS):
        correction.observe(0, WINDOW - 1, 1.9)
    assert correction.factor == 1.0
    correction.observe(0, WINDOW, 1.9)
    assert correction.factor > 1.9


def test_events_that_came_in_before_the_last_move_say_nothing_about_it() -> None:
    correction = Correction(TARGET)
    observe_window(correction, *[1.5] * WINDOW_EVENTS)
    moved = correction.factor
    for _ in range(10 * WINDOW_EVENTS):
        correction.observe(WINDOW - 1, 3 * WINDOW, 1.5)
    assert correction.factor == moved


def test_tail_that_took_half_more_than_it_had_raises_the_factor_by_as_much_at_once() -> None:
    correction = Correction(TARGET)
    observe_window(correction, *[1.5] * WINDOW_EVENTS)
    assert correction.factor == pytest.approx(1.5 / AIM, rel=0.05)


def test_tail_that_took_half_lowers_the_factor_by_a_quarter_of_the_gap() -> None:
    correction = Correction(TARGET)
    observe_window(correction, *[0.5] * WINDOW_EVENTS)
    assert correction.factor == pytest.approx(1 - (1 - 0.5 / AIM) / 4, rel=0.02)


def test_one_late_event_in_a_hundred_is_what_the_target_allows() -> None:
    correction = Correction(TARGET)
    observe_window(correction, *[2.0] * 2, *[AIM - 0.01] * (WINDOW_EVENTS - 2))
    assert correction.factor == pytest.approx(1.0, abs=0.03)
    observe_window(correction, *[2.0] * 3, *[AIM - 0.01] * (WINDOW_EVENTS - 3), window=2)
    assert correction.factor > 1.9


def test_tail_within_chance_moves_the_factor_but_a_little() -> None:
    correction = Correction(TARGET)
    observe_window(correction, *[(CHANCE - 0.05) * AIM] * WINDOW_EVENTS)
    assert 1.0 < correction.factor < 1.05


def moved_by(easy: int, late: int) -> float:
    """The factor after a window near the limit, a few of it late, beside those far from it."""
    correction = Correction(TARGET)
    observe_window(correction, *[0.0] * easy, *[2.0] * late)
    observe_window(correction, *[AIM - 0.01] * (WINDOW_EVENTS - late))
    return correction.factor


def test_events_far_from_the_limit_are_of_those_whose_tail_is_promised() -> None:
    assert moved_by(easy=0, late=5) > 1.9
    assert moved_by(easy=EASY_MAX * WINDOW_EVENTS, late=5) == pytest.approx(1.0, abs=0.03)


def test_a_long_calm_excuses_no_more_than_a_short_one() -> None:
    assert moved_by(easy=100 * WINDOW_EVENTS, late=9) > 1.9


def test_calm_alone_moves_nothing() -> None:
    correction = Correction(TARGET)
    observe_window(correction, *[0.0] * (10 * WINDOW_EVENTS))
    assert correction.factor == 1.0


def test_loop_finds_the_factor_that_puts_the_tail_at_the_target() -> None:
    correction, rng = Correction(TARGET), np.random.default_rng(3)
    tail = 1.7  # of the noise, which multiplies what was foretold
    noise = rng.lognormal(0.0, np.log(tail) / 2.326, (60, WINDOW_EVENTS))
    for window in range(60):
        used = noise[window] / correction.factor
        observe_window(correction, *used.tolist(), window=window + 1)
    assert correction.factor == pytest.approx(tail / AIM, rel=0.25)


@given(st.lists(st.floats(0, 1e9), max_size=3000))
def test_factor_stays_within_its_bounds(used: list[float]) -> None:
    correction = Correction(TARGET)
    for number, each in enumerate(used):
        correction.observe(number * TARGET, number * TARGET, each)
        assert FACTOR_MIN <= correction.factor <= FACTOR_MAX
