"""Strain: what newcomers have met at the door of late."""

from __future__ import annotations

from itertools import pairwise

from sedp.manager.admission.strain import RARE, WINDOW_EVENTS, WINDOW_TARGETS, Strain
from tests.manager.admission.overload import MS, SECOND, TARGET

WINDOW = WINDOW_TARGETS * TARGET
EVENTS = 100  # of a window


class Door:
    """Windows of newcomers, one after the other."""

    def __init__(self) -> None:
        self.strain = Strain(TARGET)
        self._now_ns = 0

    def window(self, hard: int, events: int = EVENTS) -> float:
        """So many of `events` find it hard; the level after them."""
        for event in range(events):
            self._now_ns += WINDOW // events
            self.strain.observe(self._now_ns, 1.0 if event < hard else 0.1)
        return self.strain.level


def test_a_shut_door_is_felt_within_two_windows() -> None:
    door = Door()
    assert door.window(EVENTS) >= 0.2
    assert door.window(EVENTS) >= 0.4


def test_a_door_that_stays_shut_strains_to_1_and_no_further() -> None:
    door = Door()
    assert [door.window(EVENTS) for _ in range(40)][-1] == 1.0


def test_what_happens_rarely_is_no_strain() -> None:
    door = Door()
    assert all(door.window(int(RARE * EVENTS)) == 0.0 for _ in range(50))


def test_strain_fades_little_by_little_and_never_rises_while_all_is_easy() -> None:
    door = Door()
    levels = [door.window(EVENTS) for _ in range(3)]
    levels = [levels[-1], *(door.window(0) for _ in range(60))]
    assert all(0.9 < after / before < 1 for before, after in pairwise(levels))
    assert levels[-1] < 0.05


def test_a_pause_counts_as_the_windows_it_lasted() -> None:
    door = Door()
    before = door.window(EVENTS)
    strain = door.strain
    for event in range(WINDOW_EVENTS):
        strain.observe(10 * SECOND + event, 0.0)
    assert strain.level < before / 1000


def test_few_newcomers_are_waited_for_until_they_tell_something() -> None:
    strain = Strain(TARGET)
    for event in range(WINDOW_EVENTS - 1):
        strain.observe((1 + event) * WINDOW, 1.0)
    assert strain.level == 0.0
    strain.observe(WINDOW_EVENTS * WINDOW + MS, 1.0)
    assert strain.level > 0.0
