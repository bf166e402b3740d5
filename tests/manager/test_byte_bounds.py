"""Bytes in flight: what can be answered within the target, and moved only when that is far off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sedp.engine.graph import StagePlan
from sedp.manager.byte_bounds import BAND, HEADROOM
from sedp.manager.moves import Move, change_bytes, change_executors, change_plans
from sedp.manager.observation import BytesSeen, Observation
from sedp.manager.tuner import ModelTuner
from tests.manager.plans import TARGET_NS, chain, machine, phases
from tests.manager.tuned_run import SECOND_NS, TunedRun

MIB = 1 << 20
CEILING = 256 * MIB
LARGEST = 200_000
CAPACITY_S = 380.0  # of the machine with these plans, within a tenth
PLANS = (StagePlan(2, 512, 0, 1024),) * 2


class Door:
    """What requests take of memory, as the daemon would count it, and the bound in force.

    Args:
        mean_bytes: of requests, which scatter as much as exponential ones do.
        away_ns: how long callers hold bytes while the engine has no event of theirs.
        heavier: what sizes grow by, from a second on.
    """

    def __init__(
        self,
        mean_bytes: int = 20_000,
        away_ns: int = 0,
        ceiling: int = CEILING,
        heavier: tuple[int, float] = (10_000, 1.0),
    ) -> None:
        self.tuner = ModelTuner()
        self.mean_bytes = mean_bytes
        self.away_ns = away_ns
        self.ceiling = self.bytes_max = ceiling
        self.heavier = heavier
        self.rng = np.random.default_rng(7)
        self.seconds = 0

    def serve(self, rate_s: float, seconds: int) -> TunedRun:
        traffic = phases((rate_s, seconds))
        return machine().serve(chain(*PLANS), traffic, self.tuner, distort=self.look)

    def look(self, observation: Observation) -> Observation:
        for move in self.moves[-1:]:
            self.bytes_max = change_bytes([move])["p"]
        [seen] = observation.pipelines
        self.seconds += 1
        from_s, factor = self.heavier
        mean_bytes = self.mean_bytes * (factor if self.seconds > from_s else 1.0)
        sizes = self.rng.exponential(mean_bytes, seen.latency_ns.count)
        inside_ns = seen.latency_ns.total / max(1, seen.latency_ns.count)
        held = BytesSeen(
            self.bytes_max,
            self.ceiling,
            len(sizes),
            round(sizes.sum()),
            round(sizes.sum() * (inside_ns + self.away_ns)),
            LARGEST,
            0,
        )
        return replace(observation, pipelines=(replace(seen, held=held),))

    @property
    def moves(self) -> list[Move]:
        return [move for move in self.tuner.log if move.knob == "in_flight_bytes_max"]

    @property
    def last(self) -> int:
        return change_bytes(self.moves[-1:])["p"]

    def fits(self, factor: float = 1.0) -> bool:
        """Whether the bound lets in all that can be answered, and not much more than is derived.

        Under little load a capacity is forecast too low: by less than the headroom.
        """
        held_s = (TARGET_NS + self.away_ns) / SECOND_NS
        usual = CAPACITY_S * self.mean_bytes * factor * held_s
        return usual + LARGEST <= self.last <= HEADROOM * usual * BAND + LARGEST


@pytest.mark.slow
def test_ten_minutes_of_steady_load_settle_and_see_no_move_after_that() -> None:
    door = Door()
    door.serve(60.0, 600)
    assert door.moves
    assert max(move.at_ns for move in door.moves) < 20 * SECOND_NS
    assert door.fits(), door.last


@pytest.mark.slow
@pytest.mark.parametrize("rate_s", [60.0, 350.0, 900.0])
def test_bound_is_what_can_be_answered_whatever_comes(rate_s: float) -> None:
    door = Door()
    door.serve(rate_s, 25)
    assert door.fits(), door.last


@pytest.mark.slow
def test_time_that_slow_callers_hold_bytes_is_added_to_the_target() -> None:
    door = Door(away_ns=3 * TARGET_NS)
    door.serve(100.0, 25)
    assert door.fits(), door.last


@pytest.mark.slow
def test_bound_follows_requests_that_become_heavier_in_steps_of_two_at_most() -> None:
    door = Door(heavier=(20, 4.0))
    door.serve(350.0, 60)
    assert door.fits(4.0), door.last
    for move in door.moves:
        assert isinstance(move.before, int)
        assert isinstance(move.after, int)
        assert move.before // 2 <= move.after <= 2 * move.before + 1
    up = [move for move in door.moves if move.at_ns > 20 * SECOND_NS]
    assert up[0].at_ns <= 24 * SECOND_NS
    assert up[-1].at_ns <= 50 * SECOND_NS


@pytest.mark.slow
def test_bound_is_never_above_what_the_config_allows_nor_below_the_largest_request() -> None:
    tight = Door(ceiling=LARGEST + MIB)
    tight.serve(100.0, 15)
    assert not tight.moves, "more could be answered than may be held: it stays where it is"
    small = Door(mean_bytes=100)
    small.serve(100.0, 30)
    assert small.last >= LARGEST
    lowered = Door()
    lowered.ceiling = 2 * MIB  # by a reload
    lowered.serve(100.0, 25)
    assert lowered.last == 2 * MIB


def test_move_explains_itself_and_is_of_no_stage() -> None:
    door = Door()
    run = door.serve(100.0, 6)
    move = door.moves[0]
    assert (move.pipeline, move.stage) == ("p", "")
    assert (move.before, move.after) == (CEILING, CEILING // 2)
    assert move.saw.keys() >= {"capacity_s", "request_bytes_mean", "request_bytes_max", "refused"}
    assert "within the target" in move.reason
    assert move.number in [made.number for made in run.moves]
    assert move.expected is not None
    assert (move.expected.gain, move.expected.capacity_s > 100) == (1.0, True)
    assert move.came is not None
    assert move.came.answered_s == pytest.approx(100, rel=0.2)
    plans = {("p", "s0"): PLANS[0]}
    assert change_plans(plans, [move]) == {}
    assert change_executors([move]) == {}


def test_frozen_tuner_leaves_the_bound_alone() -> None:
    door = Door()
    door.tuner.freeze()
    door.serve(100.0, 8)
    assert not door.moves


@pytest.mark.slow
@pytest.mark.parametrize("ceiling", [64 * MIB, 80 * MIB, 100 * MIB])
def test_bound_comes_to_what_is_derived_and_not_to_the_edge_of_the_band(ceiling: int) -> None:
    door = Door(ceiling=ceiling)
    door.serve(100.0, 12)
    assert door.moves[-1].reason.endswith(f": {door.last}")


@pytest.mark.slow
def test_bound_that_is_in_nobodys_way_does_not_grow() -> None:
    door = Door(heavier=(12, 4.0))
    door.serve(60.0, 40)
    assert max(move.at_ns for move in door.moves) < 12 * SECOND_NS


def test_few_requests_say_nothing() -> None:
    door = Door()
    door.serve(3.0, 15)
    assert not door.moves
