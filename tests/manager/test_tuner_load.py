"""Responses of the tuner to load, as numbers: steady, step, ramp, spike, saturation, noise."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from sedp.engine.graph import StagePlan
from sedp.manager.moves import Move
from sedp.manager.observation import Observation
from sedp.manager.tuner import ModelTuner
from tests.manager.plans import TARGET_NS, chain, machine, phases

pytestmark = pytest.mark.slow

SETTLED_NS = 60_000_000_000
GOOD = (StagePlan(2, 512, 0, 512), StagePlan(2, 512, 0, 1024))  # answers 365 events a second
SMALL = (StagePlan(2, 128, 0, 1024), StagePlan(2, 128, 0, 512))  # answers 200


def test_ten_minutes_of_steady_load_see_no_move_after_settling() -> None:
    wrong = StagePlan(2, 32, 0, 2048)
    run = machine().serve(chain(wrong, wrong), phases((250.0, 660)), ModelTuner())
    assert run.moves, "it starts wrong"
    assert max(run.moved_s()) < 60
    assert run.seen(60, 659).p99_ns <= TARGET_NS
    assert run.answered_s(60, 659) == pytest.approx(250, rel=0.02)


@pytest.mark.parametrize(
    ("case", "admission"),
    [("even", "predicted_wait"), ("restless", "counters"), ("one stage", "predicted_wait")],
)
def test_ten_minutes_at_the_limit_see_no_large_move_after_settling(
    case: str, admission: str
) -> None:
    """Some events are always lost, so there is always something to wish for."""
    wrong = StagePlan(2, 64, 0, 1024)
    target_ns, stages = TARGET_NS, 1 if case == "one stage" else 2
    at_work = machine(jitter=0.3 if case == "restless" else 0.1)
    at_work = replace(at_work, costs=at_work.costs[-stages:])
    run = at_work.serve(
        chain(*[wrong] * stages),
        phases((345.0, 660), due_after_ns=target_ns),
        ModelTuner(),
        admission=admission,
    )
    assert run.moves, "it starts wrong"
    late = [move for move in run.moves if move.at_ns > SETTLED_NS and is_large(move)]
    assert late == []


def is_large(move: Move) -> bool:
    assert isinstance(move.before, int)
    assert isinstance(move.after, int)
    return abs(move.after - move.before) > 0.1 * move.before


def test_no_move_promises_more_events_in_time_than_come() -> None:
    tuner = ModelTuner()
    machine().serve(chain(*SMALL), phases((215.0, 60)), tuner)
    promises = [move for move in tuner.log if move.expected]
    assert promises
    for move in promises:
        assert move.expected is not None
        late = 1.0 if move.saw["p99_ns"] <= TARGET_NS else 0.0
        in_time_least_s = move.saw["answered_s"] * 0.99 * late
        assert in_time_least_s * move.expected.gain <= move.saw["offered_s"] * 1.001


def test_target_that_is_met_from_the_start_sees_no_move_at_all() -> None:
    run = machine().serve(chain(*GOOD), phases((250.0, 60)), ModelTuner())
    assert run.moves == []


def test_step_beyond_capacity_is_followed_within_fifteen_seconds() -> None:
    run = machine().serve(chain(*SMALL), phases((120.0, 30), (500.0, 40)), ModelTuner())
    assert run.moved_s()[0] >= 30, "nothing to mend before the step"
    assert run.in_time_s(30, 32) < 220
    assert run.in_time_s(45, 69) > 340
    assert run.seen(45, 69).p99_ns <= 1.02 * TARGET_NS


def test_ramp_is_followed_without_an_overshoot() -> None:
    ramp = [(100.0 + 10 * step, 2.0) for step in range(41)]  # to 500 in 82 s
    run = machine().serve(chain(*SMALL), phases(*ramp), ModelTuner())
    for start_s, offered_s in [(20, 200), (40, 300), (50, 350)]:
        assert run.in_time_s(start_s, start_s + 10) > 0.88 * offered_s
    assert run.in_time_s(70, 80) > 320
    assert all(plan.concurrency <= 3 for plan in run.plans), "two cores need no more"


def test_spike_of_two_seconds_sees_no_move() -> None:
    run = machine().serve(chain(*GOOD), phases((200.0, 30), (800.0, 2), (200.0, 30)), ModelTuner())
    assert run.moves == []
    assert run.in_time_s(30, 32) > 340
    assert run.seen(33, 60).lost_share == 0


def test_saturation_at_four_times_capacity_keeps_throughput_and_target() -> None:
    run = machine().serve(chain(*GOOD), phases((1500.0, 40)), ModelTuner())
    assert run.in_time_s(10, 39) > 350
    assert run.seen(10, 39).p99_ns <= 1.02 * TARGET_NS
    assert len(run.moves) <= 4


@pytest.mark.parametrize(("rate_s", "kept_s"), [(250.0, 245.0), (500.0, 285.0)])
def test_noise_does_not_make_it_oscillate(rate_s: float, kept_s: float) -> None:
    run = machine(jitter=0.3).serve(chain(*GOOD), phases((rate_s, 240)), ModelTuner())
    assert [second for second in run.moved_s() if second >= 60] == []
    assert run.in_time_s(60, 239) > kept_s


def test_frozen_tuner_makes_no_move_and_goes_on_after_thaw() -> None:
    tuner = ModelTuner()

    def freeze_for_a_while(seen: Observation) -> Observation:
        second = round(seen.now_ns / 1e9)
        if second == 5:
            tuner.freeze()
        elif second == 20:
            tuner.thaw()
        return seen

    wrong = StagePlan(2, 64, 0, 2048)
    run = machine().serve(
        chain(wrong, wrong), phases((500.0, 50)), tuner, distort=freeze_for_a_while
    )
    moved_s = run.moved_s()
    assert moved_s[0] < 5
    assert not [second for second in moved_s if 5 <= second < 19]
    assert max(moved_s) >= 19
    assert run.in_time_s(40, 49) > 300


def triple_fetch(seen: Observation) -> Observation:
    """A liar: the first stage's runs seem three times as long."""
    fetch, rank = seen.stages
    slow = replace(fetch.service_ns, total=3 * fetch.service_ns.total)
    return replace(seen, stages=(replace(fetch, service_ns=slow), rank))


def test_what_a_wrong_model_promised_is_taken_back() -> None:
    tuner = ModelTuner()
    run = machine().serve(chain(*GOOD), phases((500.0, 60)), tuner, distort=triple_fetch)
    failed = [move for move in tuner.log if move.came and move.came.verdict == "reverted"]
    assert failed
    for move in failed:
        assert reverted(move, tuner), move
    assert run.in_time_s(40, 59) > 340


def reverted(failed: Move, tuner: ModelTuner) -> bool:
    return any(
        (move.key, move.knob, move.after) == (failed.key, failed.knob, failed.before)
        and move.at_ns > failed.at_ns
        and f"move {failed.number} promised" in move.reason
        for move in tuner.log
    )


def test_every_move_says_what_was_seen_tried_expected_and_came() -> None:
    tuner = ModelTuner()
    run = machine().serve(chain(*SMALL), phases((500.0, 20)), tuner)
    log = msgspec.json.decode(tuner.log.to_json(), type=list[Move])
    assert [move.number for move in log] == list(range(1, len(run.moves) + 1))
    for move in log:
        assert move.expected is not None
        assert move.expected.capacity_s > 0
        assert move.expected.p99_ns > 0
    told = [move.came is not None for move in log]
    assert all(told[:-3]), "of all but those of the last windows"
    tried = [move for move in log if move.expected and move.expected.gain > 1]
    assert {move.knob for move in log} > {move.knob for move in tried}
    for move in tried:
        assert move.saw["target_ns"] == TARGET_NS
        assert move.saw["lost_share"] > 0 or move.saw["p99_ns"] > TARGET_NS
        assert "promise" in move.reason
    assert tried[0].came is not None
    assert tried[0].came.verdict == "kept"


def test_same_observations_give_the_same_moves() -> None:
    logs = []
    for _ in range(2):
        tuner = ModelTuner()
        machine().serve(chain(*SMALL), phases((500.0, 20)), tuner)
        logs.append(tuner.log.to_json())
    assert logs[0] == logs[1]


def test_learned_costs_let_it_start_better() -> None:
    tuner = ModelTuner()
    run = machine().serve(chain(*SMALL), phases((500.0, 40)), tuner)
    assert tuner.costs[("p", "s1")].service_ns(512) == pytest.approx(71e6, rel=0.15)
    again = machine().serve(chain(*run.plans), phases((500.0, 20)), ModelTuner(costs=tuner.costs))
    assert again.in_time_s(2, 19) > 340
