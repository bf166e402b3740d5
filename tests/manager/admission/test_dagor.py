"""DAGOR as published: 20 ms mean wait, 1 s or 2000 requests, 5 % down, 1 % up."""

from __future__ import annotations

from sedp.engine.events import Outcome
from sedp.manager.admission.dagor import USERS, Dagor
from tests.manager.admission.states import chain_of, event_of, newcomer

MS = 1_000_000
SECOND = 1_000_000_000


def pass_window(dagor: Dagor, at_ns: int, wait_ms: int) -> None:
    """A second in which one newcomer of each rank of the first level comes, ten times."""
    pipeline = chain_of(1)
    for number in range(10 * USERS):
        arrived = newcomer(number, user=number % USERS)
        if dagor.refusal(at_ns, arrived, pipeline) is None:
            dagor.waited(at_ns, wait_ms * MS, 1)
            dagor.ended(at_ns, event_of(arrived), Outcome.ANSWERED)


def test_everybody_enters_at_first() -> None:
    assert Dagor(3).refusal(0, newcomer(level=3, user=127), chain_of(1)) is None


def test_mean_wait_above_20_ms_takes_5_percent_of_those_let_in() -> None:
    dagor = Dagor(1)
    for window in range(3):
        pass_window(dagor, window * SECOND, wait_ms=21)
    # 1280, of which the ranks from the top go until at most 1216 are left: 7 of 10 each; of the
    # 1210 that are left, at most 1149.5: 7 ranks more.
    assert dagor.rank == USERS - 1 - 14


def test_mean_wait_of_20_ms_is_no_overload() -> None:
    dagor = Dagor(1)
    for window in range(3):
        pass_window(dagor, window * SECOND, wait_ms=20)
    assert dagor.rank == USERS - 1


def test_calm_window_lets_in_1_percent_more() -> None:
    dagor = Dagor(1)
    for window in range(3):
        pass_window(dagor, window * SECOND, wait_ms=21)
    pass_window(dagor, 3 * SECOND, wait_ms=1)  # closes the third: 1140, at most 1083
    rank = dagor.rank
    assert rank == USERS - 1 - 20
    pass_window(dagor, 4 * SECOND, wait_ms=1)
    assert dagor.rank == rank + 2  # 1080 by 1 %: more than 1090


def test_window_closes_after_2000_arrivals_within_a_second() -> None:
    dagor, pipeline = Dagor(1), chain_of(1)
    for number in range(2000):
        dagor.refusal(0, newcomer(number, user=number % USERS), pipeline)
    dagor.waited(0, 100 * MS, 1)
    assert dagor.rank == USERS - 1
    dagor.refusal(0, newcomer(2000), pipeline)
    assert dagor.rank < USERS - 1


def test_waits_in_the_queues_of_several_stages_add_up() -> None:
    dagor, pipeline = Dagor(1), chain_of(3)
    for number in range(USERS):
        arrived = newcomer(number, user=number % USERS)
        dagor.refusal(0, arrived, pipeline)
        for _ in range(3):
            dagor.waited(0, 7 * MS, 1)
        dagor.ended(0, event_of(arrived), Outcome.ANSWERED)
    dagor.refusal(SECOND, newcomer(USERS), pipeline)
    assert dagor.rank < USERS - 1


def test_higher_level_enters_where_a_lower_one_is_refused() -> None:
    dagor, pipeline = Dagor(2), chain_of(1)
    dagor.rank = USERS - 1
    assert dagor.refusal(0, newcomer(level=1, user=127), pipeline) is None
    assert dagor.refusal(0, newcomer(level=2, user=1), pipeline) is Outcome.SHED


def test_where_no_user_is_known_events_are_spread_over_the_ranks() -> None:
    dagor, pipeline = Dagor(1), chain_of(1)
    dagor.rank = USERS // 2 - 1
    found = [dagor.refusal(0, newcomer(number), pipeline) for number in range(USERS)]
    assert found.count(None) == USERS // 2


def test_door_opens_again_after_the_rank_fell_to_the_first() -> None:
    dagor = Dagor(1)
    dagor.rank = 0
    for window in range(200):
        pass_window(dagor, window * SECOND, wait_ms=0)
    assert dagor.rank == USERS - 1


def test_door_opens_for_those_who_ask_when_nobody_of_the_ranks_let_in_did() -> None:
    dagor, pipeline = Dagor(1), chain_of(1)
    dagor.rank = 10
    found = [
        dagor.refusal(second * SECOND, newcomer(second, user=100), pipeline) for second in range(3)
    ]
    assert found == [Outcome.SHED, None, None]
