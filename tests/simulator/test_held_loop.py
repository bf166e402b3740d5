"""Inline runs hold the simulated loop; runs in threads cost a hop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sedp.engine.events import AnyCommand, AnyStimulus, Arrived, BatchFinished, RunBatch
from sedp.engine.graph import StagePlan
from sedp.engine.scheduler import Scheduler
from sedp.simulator.arrival import Arrival
from sedp.simulator.held_loop import HeldLoop
from sedp.simulator.loop import Simulator
from sedp.simulator.service import LinearService, StageCost
from tests.manager.plans import chain

RUN_NS, HOP_NS = 1000, 70
Heard = list[tuple[int, AnyStimulus, list[AnyCommand]]]


def serve(inline: bool, times_ns: list[int], cores: int | None = None) -> Heard:
    heard: Heard = []
    HeldLoop(
        Scheduler(chain(StagePlan(4, 1, 0, 64))),
        LinearService((StageCost(RUN_NS),)),
        np.random.default_rng(1),
        is_inline=lambda stage: inline,
        hop_ns=HOP_NS,
        cores=cores,
        watch=lambda *step: heard.append(step),
    ).run(Arrival(time_ns, 0, 1) for time_ns in times_ns)
    return heard


def times(heard: Heard, kind: type) -> list[int]:
    return [now_ns for now_ns, stimulus, _ in heard if type(stimulus) is kind]


@pytest.mark.parametrize("cores", [None, 4])
def test_who_comes_during_an_inline_run_is_heard_at_its_end(cores: int | None) -> None:
    heard = serve(True, [0, 100, 900, 2500], cores)
    assert times(heard, Arrived) == [0, 1000, 1000, 3000]
    assert times(heard, BatchFinished) == [1000, 2000, 3000, 4000], "one after the other"


@pytest.mark.parametrize("cores", [None, 4])
def test_runs_in_threads_leave_the_loop_to_others_and_pay_the_hop(cores: int | None) -> None:
    heard = serve(False, [0, 100, 900], cores)
    assert times(heard, Arrived) == [0, 100, 900]
    assert times(heard, BatchFinished) == [1070, 1170, 1970]


def test_without_inline_runs_and_hop_it_is_the_plain_simulator() -> None:
    arrivals = [Arrival(time_ns, 0, 1) for time_ns in (0, 5, 5, 700, 4000)]

    def digest(simulator: type[Simulator], **more: Any) -> str:
        scheduler, service = Scheduler(chain(StagePlan())), LinearService((StageCost(RUN_NS),))
        dice = np.random.default_rng(1)
        return simulator(scheduler, service, dice, cores=2, **more).run(arrivals).digest

    assert digest(HeldLoop, is_inline=lambda stage: False) == digest(Simulator)


def test_every_event_ends_whatever_holds_the_loop() -> None:
    heard = serve(True, list(range(0, 64 * 10, 10)), cores=1)
    started = [c for _, _, commands in heard for c in commands if type(c) is RunBatch]
    assert len(started) == len(times(heard, BatchFinished)) == 64
