"""Answers equal the sequential reference, whatever the DAG, the limits and the order of things."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sedp.columns import Batch
from sedp.engine.events import NEVER_NS, Outcome
from tests.engine.dice_driver import DiceDriver
from tests.engine.random_dag import random_pipeline, random_request, sequential_answer

STEPS_MAX = 20_000  # far more than any run needs: a run that gets here is stuck


def finish_all(driver: DiceDriver) -> None:
    for _ in range(STEPS_MAX):
        if not driver.step():
            return
    raise AssertionError("the scheduler never came to rest")


def live_through(driver: DiceDriver, dice: random.Random, requests: list[Batch]) -> None:
    """All arrive, some with little time or patience, and whatever may happen happens."""
    other_dice = random.Random(len(requests))  # found cases keep the throws they were found with
    tenants = other_dice.choice([1, 2, 5])
    for event, request in enumerate(requests):
        late = dice.random() < 0.1
        deadline_ns = driver.now_ns + dice.randint(1, 200) if late else NEVER_NS
        driver.arrive(event, request, deadline_ns, other_dice.randrange(tenants))
        for _ in range(dice.randint(0, 3)):
            driver.step()
        if dice.random() < 0.1:
            driver.cancel(dice.randint(0, event))
    finish_all(driver)


def assert_at_rest(driver: DiceDriver, arrived: int) -> None:
    """Everything that arrived has ended once, and nothing is left behind."""
    assert len(driver.ends) == arrived
    assert driver.scheduler.in_flight == 0
    statistics = driver.scheduler.statistics()
    assert sum(statistics.pipelines[0].outcomes.values()) == arrived
    assert statistics.pipelines[0].in_flight == 0
    for stage in driver.scheduler._flow.stages:
        queue = stage.queue
        assert (queue.rows, len(queue), queue.reserved_rows) == (0, 0, 0), stage.node.name
        assert stage.running == 0
        assert not stage.again


@settings(max_examples=300, deadline=None)
@example(seed=19, stage_count=5, events=19)  # a start ended events of the batch being handed on
@example(seed=421_476, stage_count=5, events=5)  # a sweep woke a stage that met ended events
@given(seed=st.integers(0, 2**32), stage_count=st.integers(1, 6), events=st.integers(1, 25))
def test_answers_equal_the_sequential_reference(seed: int, stage_count: int, events: int) -> None:
    dice = random.Random(seed)
    driver = DiceDriver(random_pipeline(dice, stage_count), dice)
    requests = [random_request(dice, poisonous=dice.random() < 0.1) for _ in range(events)]
    live_through(driver, dice, requests)

    assert_at_rest(driver, arrived=events)
    for event, request in enumerate(requests):
        expected = sequential_answer(driver.pipeline, request)
        if expected is None:
            assert driver.ends[event] is not Outcome.ANSWERED
        elif driver.ends[event] is Outcome.ANSWERED:
            assert driver.answers[event].keys() == expected.keys()
            for name, column in expected.items():
                np.testing.assert_array_equal(driver.answers[event][name], column)
        else:
            assert driver.ends[event] is not Outcome.FAILED, "an innocent event failed"


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), stage_count=st.integers(1, 5), events=st.integers(1, 25))
def test_no_timeout_twin_breaker_or_fallback_loses_or_changes_an_answer(
    seed: int, stage_count: int, events: int
) -> None:
    dice = random.Random(seed)
    driver = DiceDriver(random_pipeline(dice, stage_count, careful=True), dice)
    requests = [random_request(dice, poisonous=dice.random() < 0.2) for _ in range(events)]
    live_through(driver, dice, requests)

    assert_at_rest(driver, arrived=events)
    for event, request in enumerate(requests):
        if driver.ends[event] is not Outcome.ANSWERED or driver.payloads[event].degraded:
            continue
        expected = sequential_answer(driver.pipeline, request)
        assert expected is not None, "a poisonous event was answered as if nothing had been"
        for name, column in expected.items():
            np.testing.assert_array_equal(driver.answers[event][name], column)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_without_limits_or_faults_every_event_is_answered(seed: int) -> None:
    dice = random.Random(seed)
    driver = DiceDriver(random_pipeline(dice, 4), dice)
    room = driver.pipeline.in_flight_max
    for event in range(30):
        driver.arrive(event, random_request(dice, poisonous=False), tenant=dice.randrange(3))
        while driver.scheduler.in_flight >= min(room, 2):
            assert driver.step()
    finish_all(driver)
    refused = [event for event, end in driver.ends.items() if end is not Outcome.ANSWERED]
    assert all(driver.ends[event] is Outcome.QUEUE_FULL for event in refused)
    assert_at_rest(driver, arrived=30)
