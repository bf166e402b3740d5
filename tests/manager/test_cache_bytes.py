"""RAM of the store's caches: it follows what is asked for, and stays where that does not change."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sedp.manager.cache_bytes import (
    LOOKUPS_MIN,
    STEP,
    TABU_NS,
    CacheBytes,
    CacheSeen,
    Counts,
)
from sedp.manager.moves import Came, MoveLog
from sedp.manager.observation import SECOND_NS
from tests.manager.cache_plant import GIB, IDS, CachePlant, zipf

MIB = 1 << 20
LEAST, MOST = MIB // 4, 6 * MIB


def plant(ram_bytes: int = MIB, seed: int = 1) -> CachePlant:
    return CachePlant(CacheBytes(LEAST, MOST), ram_bytes, seed=seed)


@pytest.mark.parametrize(("start", "seed"), [(MIB // 2, 1), (4 * MIB, 2)])
def test_hot_set_gets_what_it_needs_and_a_steady_stream_sees_no_moves(
    start: int, seed: int
) -> None:
    machine, stream = plant(start, seed), zipf(0.3, 5000)
    machine.serve(stream, 400)
    assert MIB // 2 < machine.ram_bytes < 1.1 * MIB  # 5,000 rows and their places are 0.6 MiB
    assert np.mean(machine.hits[-60:]) > 0.99
    assert machine.serve(stream, 600) == []


def test_skewed_stream_without_end_of_worth_grows_to_the_bound_and_stays() -> None:
    machine, stream = plant(4 * MIB), zipf(1.0, IDS)
    machine.serve(stream, 20)
    before = machine.hits[-1]
    machine.serve(stream, 120)
    assert machine.ram_bytes == MOST
    assert np.mean(machine.hits[-10:]) > before
    assert machine.serve(stream, 600) == []


def test_size_goes_up_and_down_with_the_hot_set() -> None:
    machine, sizes = plant(), []
    for ids in (3000, 30_000, 3000):
        machine.serve(zipf(0.3, ids), 400)
        sizes.append(machine.ram_bytes)
        assert machine.hits[-1] > 0.99
    assert sizes[1] > 5 * sizes[0]
    assert sizes[2] < 2 * sizes[0]
    factors = {float(move.after) / float(move.before) for move in machine.log}
    assert all(0.99 / STEP < factor < 1.01 * STEP for factor in factors)


def test_rows_asked_for_in_turn_are_all_taken_in() -> None:
    """The hard case for caches: one that kept the latest rows would hit none before it has all."""
    machine, turn = plant(MIB), 0

    def in_turn(_rng: np.random.Generator, count: int) -> NDArray[np.uint64]:
        nonlocal turn
        turn += count
        return (np.arange(turn - count, turn) % 20_000).astype(np.uint64)

    machine.serve(in_turn, 300)
    assert machine.hits[10] < 0.75
    assert machine.hits[-1] > 0.99


def test_moves_tell_what_was_seen_expected_and_what_came() -> None:
    machine = plant(MIB)
    machine.serve(zipf(0.3, 30_000), 60)
    first = next(iter(machine.log))
    assert (first.pipeline, first.stage, first.knob) == ("", "", "ram_bytes")
    assert (first.before, first.after) == (MIB, round(MIB * STEP))
    assert first.saw.keys() == {"hit_ratio", "lookups_s", "miss_ns", "room_bytes"}
    assert first.saw["lookups_s"] == pytest.approx(10_000, rel=0.01)
    assert "makes look-ups cheaper by" in first.reason
    assert first.expected is not None
    assert first.came is not None
    assert first.came.verdict == "kept"
    assert first.came.hit_ratio == pytest.approx(first.expected.hit_ratio, abs=0.03)
    assert first.came.gain == pytest.approx(first.expected.gain, abs=0.05)


# By figures that are made up -------------------------------------------------------------------


class Desk:
    """A decider that is shown figures.

    Args:
        worth: hit ratio by size, as the sample tells.
    """

    def __init__(self, worth: dict[int, float], room_bytes: int = GIB) -> None:
        self.decider, self.log = CacheBytes(MIB, 16 * MIB), MoveLog()
        self.worth, self.room_bytes = worth, room_bytes
        self.ram_bytes, self.now_ns, self.counts = 4 * MIB, 0, Counts(places=10)

    def look(self, ratio: float) -> float:
        """A window in which RAM answers such a share, or two if one fills caches; the size then."""
        for _ in range(2):
            self.now_ns += 170 * SECOND_NS
            hits = round(ratio * LOOKUPS_MIN)
            self.counts = Counts(
                self.counts.lookups + LOOKUPS_MIN,
                self.counts.hits + hits,
                self.counts.below_ns + 150 * (LOOKUPS_MIN - hits),
                10,
            )
            if self.decider.is_due(self.now_ns, self.counts):
                break
        sizes = self.decider.sizes(self.ram_bytes)
        points = sorted(self.worth)
        found = np.interp(sizes, points, [self.worth[size] for size in points])
        ratios = dict(zip(sizes, map(float, found), strict=True))
        seen = CacheSeen(self.now_ns, self.ram_bytes, ratios, self.room_bytes)
        move = self.decider.step(seen, self.log)
        self.ram_bytes = int(move.after) if move else self.ram_bytes
        return self.ram_bytes / MIB

    @property
    def came(self) -> Came | None:
        return next(iter(self.log)).came


RISING = {MIB: 0.2, 16 * MIB: 0.9}
FLAT = {MIB: 0.5, 16 * MIB: 0.5}


def test_what_brings_nothing_is_taken_back_and_left_for_a_while() -> None:
    desk = Desk(RISING)
    assert desk.look(0.3) == 5
    assert desk.look(0.3) == 4  # the sample promised more
    assert desk.came is not None
    assert desk.came.verdict == "reverted"
    taken_back_ns = desk.now_ns
    while desk.ram_bytes == 4 * MIB:
        desk.look(0.3)
    assert desk.now_ns - taken_back_ns > TABU_NS


def test_traffic_that_grows_colder_is_not_held_against_a_move() -> None:
    desk = Desk(RISING)
    assert desk.look(0.34) == 5
    desk.worth = {size: ratio - 0.15 for size, ratio in RISING.items()}
    assert desk.look(0.237) > 4  # what 5 MiB bring of it now
    assert desk.came is not None
    assert desk.came.verdict == "kept"


def test_memory_that_is_short_is_given_back_whatever_it_is_worth() -> None:
    desk = Desk(RISING, room_bytes=MIB // 8)
    assert desk.look(0.3) == pytest.approx(3.2, abs=0.01)
    assert "short of memory" in next(iter(desk.log)).reason


def test_nothing_is_taken_that_would_leave_no_room_for_the_copy() -> None:
    desk = Desk(RISING, room_bytes=5 * MIB)
    assert desk.look(0.3) == 4
    desk.room_bytes = 6 * MIB
    assert desk.look(0.3) == 5


def test_bounds_hold() -> None:
    desk = Desk(RISING)
    for _ in range(20):
        desk.look(0.3 + 0.5 * desk.ram_bytes / (16 * MIB))
    assert desk.ram_bytes <= 16 * MIB
    desk = Desk(FLAT)
    for _ in range(20):
        desk.look(0.5)
    assert desk.ram_bytes == MIB


def test_too_little_to_tell_moves_nothing() -> None:
    desk = Desk(RISING)
    first = Counts(LOOKUPS_MIN, 0, 0.0, 10)
    assert not desk.decider.is_due(1, first)  # it fills the caches
    assert not desk.decider.is_due(1, Counts(2 * LOOKUPS_MIN - 1, 0, 0.0, 10))
    assert desk.decider.is_due(1, Counts(2 * LOOKUPS_MIN, 0, 0.0, 10))
    seen = CacheSeen(1, 4 * MIB, {}, GIB)
    assert desk.decider.step(seen, desk.log) is None
    assert len(desk.log) == 0


def test_counts_that_begin_anew_are_waited_for() -> None:
    """A version came: its cache is empty, and what it hits says nothing."""
    decider = CacheBytes(MIB, 2 * MIB)
    assert not decider.is_due(1, Counts(LOOKUPS_MIN, 0, 0.0, 10))
    assert decider.is_due(SECOND_NS, Counts(10 * LOOKUPS_MIN, 0, 0.0, 10))
    assert not decider.is_due(2 * SECOND_NS, Counts(5, 0, 0.0, 10))
    assert not decider.is_due(100 * SECOND_NS, Counts(5 + LOOKUPS_MIN, 0, 0.0, 10))
    assert decider.is_due(200 * SECOND_NS, Counts(5 + 2 * LOOKUPS_MIN, 0, 0.0, 10))


def test_move_that_cannot_be_made_is_told_and_not_tried_again_at_once() -> None:
    desk = Desk(RISING)
    assert desk.look(0.3) == 5
    desk.ram_bytes = 4 * MIB
    desk.decider.refuse(next(iter(desk.log)), desk.log)
    assert desk.came is not None
    assert desk.came.verdict == "reverted"


def test_what_was_tried_before_a_freeze_is_never_judged() -> None:
    desk = Desk(RISING)
    desk.look(0.3)
    desk.decider.abandon()
    desk.look(0.3)
    assert desk.came is None
