"""The score table, fact by fact."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from sedp.stages.score_cells import CACHED, COMPUTED, FOLLOWED, REPEATED, STALE, record_bytes
from sedp.stages.score_table import FEEDBACK_SHARE, Ages, ScoreKeys, ScoreTable, table_numbered
from tests.stages.score_model import Request, fresh_scores, item_with_tag, score_keys, twin_tags

S = 1_000_000_000
AGES = Ages(ttl_ns=120 * S, stale_ns=600 * S, pending_ns=S // 10)
MIB = 1 << 20


def compute(
    table: ScoreTable, keys: ScoreKeys, now_ns: int, value: float, *, later_ns: int = 1
) -> None:
    """Look up and fill with one value for all."""
    found = table.look_up(keys, now_ns)
    asked = np.full(len(keys.users), now_ns)
    scores = np.where(found.miss, np.float32(value), np.float32(0))[np.newaxis]
    table.fill(keys, asked, now_ns + later_ns, found, np.ascontiguousarray(scores))


def sources(table: ScoreTable, keys: ScoreKeys, now_ns: int, **how: bool) -> list[int]:
    return [int(source) for source in table.look_up(keys, now_ns, **how).source]


def test_keys_of_one_hash_live_beside_each_other() -> None:
    tag = 0x123456789ABCDEF0
    owners = [(user, tenant) for user in range(3) for tenant in range(2)]
    asked = [Request(u, [item_with_tag(tag, u, t)], t) for u, t in owners]
    keys = score_keys(asked)
    assert (twin_tags(keys) == tag).all()
    table = ScoreTable(1, MIB, AGES)
    found = table.look_up(keys, 0)
    assert found.miss.all()
    scores = fresh_scores(0, len(asked))
    table.fill(keys, np.zeros(len(asked), np.int64), 1, found, scores.copy())
    again = table.look_up(keys, 2)
    assert (again.source == CACHED).all()
    np.testing.assert_array_equal(again.scores, scores)


@pytest.mark.parametrize("other", [Request(8, [5]), Request(7, [6]), Request(7, [5], 1)])
def test_a_score_is_for_one_user_item_and_tenant(other: Request) -> None:
    table = ScoreTable(1, MIB, AGES)
    compute(table, score_keys([Request(7, [5])]), 0, 0.5)
    assert sources(table, score_keys([Request(7, [5])]), 1) == [CACHED]
    assert sources(table, score_keys([other]), 1) == [COMPUTED]


def test_tables_share_nothing() -> None:
    one, other = ScoreTable(1, MIB, AGES), ScoreTable(1, MIB, AGES)
    compute(one, score_keys([Request(7, [5])]), 0, 0.5)
    assert sources(other, score_keys([Request(7, [5])]), 1) == [COMPUTED]
    assert table_numbered(one.number) is one


def test_a_table_nobody_holds_has_no_number() -> None:
    number = ScoreTable(1, MIB, AGES).number
    assert table_numbered(number) is None


def test_scores_die_one_nanosecond_after_their_ttl() -> None:
    table = ScoreTable(1, MIB, AGES)
    keys = score_keys([Request(7, [5])])
    compute(table, keys, 1000, 0.5, later_ns=50 * S)  # it took long: age counts from the asking
    assert sources(table, keys, 1000 + AGES.ttl_ns) == [CACHED]
    assert sources(table, keys, 1001 + AGES.ttl_ns) == [COMPUTED]
    assert table.statistics().expired == 1


def test_old_scores_are_served_only_when_allowed() -> None:
    table = ScoreTable(1, MIB, AGES)
    keys = score_keys([Request(7, [5])])
    compute(table, keys, 0, 0.5)
    found = table.look_up(keys, AGES.stale_ns, may_be_stale=True)
    assert (found.source.tolist(), found.stale.tolist()) == ([STALE], [True])
    assert sources(table, keys, AGES.stale_ns + 1, may_be_stale=True) == [COMPUTED]


def test_feedback_voids_what_was_being_computed_when_it_came() -> None:
    table = ScoreTable(1, MIB, AGES)
    keys = score_keys([Request(7, [5])])
    found = table.look_up(keys, 1000)
    table.note_feedback(keys.users, 2000)
    assert sources(table, keys, 2500) == [COMPUTED]  # not even waited for
    table.fill(keys, np.array([1000]), 3000, found, fresh_scores(0, 1))
    assert sources(table, keys, 4000 + AGES.pending_ns) == [COMPUTED]
    compute(table, keys, 5 * S, 0.5)
    assert sources(table, keys, 6 * S) == [CACHED]


def test_feedback_that_was_forgotten_voids_more_not_less() -> None:
    bytes_max = FEEDBACK_SHARE * 128 + 4 * record_bytes(1)
    table = ScoreTable(1, bytes_max, AGES)  # remembers seven users
    keys = score_keys([Request(user, [5]) for user in range(20)])
    compute(table, keys, 0, 0.5)
    for user in range(20):
        table.note_feedback(np.array([user], np.uint64), 10 + user)
    assert table.statistics().forgotten == 13
    assert CACHED not in sources(table, keys, 100)


def test_a_late_score_does_not_replace_a_newer_one() -> None:
    table = ScoreTable(1, MIB, AGES)
    keys = score_keys([Request(7, [5])])
    late = table.look_up(keys, 0)
    compute(table, keys, S, 0.75)
    table.fill(keys, np.array([0]), 2 * S, late, np.full((1, 1), 0.25, np.float32))
    assert table.look_up(keys, 3 * S).scores.tolist() == [[0.75]]


def test_followers_get_what_they_waited_for() -> None:
    table = ScoreTable(1, MIB, AGES)
    keys = score_keys([Request(7, [5, 6])])
    first, second = table.look_up(keys, 0), table.look_up(keys, 10)
    assert second.source.tolist() == [FOLLOWED, FOLLOWED]
    scores = fresh_scores(3, 2)
    table.fill(keys, np.array([0]), 20, first, scores.copy())
    merged = np.zeros((1, 2), np.float32)
    assert not table.fill(keys, np.array([10]), 30, second, merged).any()
    np.testing.assert_array_equal(merged, scores)


def test_a_follower_in_vain_is_degraded_and_nobody_follows_for_a_second() -> None:
    table = ScoreTable(1, MIB, AGES, fallback=0.125)
    keys, others = score_keys([Request(7, [5])]), score_keys([Request(8, [5])])
    table.look_up(keys, 0)  # whoever computes it is shed
    second = table.look_up(keys, 10)
    merged = np.zeros((1, 1), np.float32)
    assert table.fill(keys, np.array([10]), 20, second, merged).tolist() == [True]
    assert merged.tolist() == [[0.125]]
    table.look_up(others, 30)
    assert sources(table, others, 40) == [COMPUTED]
    compute(table, keys, S, 0.5)  # of now on scores come again
    table.look_up(others, S + 30)
    assert sources(table, others, S + 40) == [FOLLOWED]
    assert table.statistics().lost == 1


def test_a_follower_in_vain_rather_gets_the_last_score_than_the_fallback() -> None:
    table = ScoreTable(1, MIB, AGES, fallback=0.125)
    keys = score_keys([Request(7, [5])])
    compute(table, keys, 0, 0.5)
    table.look_up(keys, 130 * S)
    second = table.look_up(keys, 130 * S + 1)
    assert second.source.tolist() == [FOLLOWED]
    merged = np.zeros((1, 1), np.float32)
    assert table.fill(keys, np.array([130 * S + 1]), 131 * S, second, merged).all()
    assert merged.tolist() == [[0.5]]


def test_marks_are_not_believed_for_long() -> None:
    table = ScoreTable(1, MIB, AGES)
    keys = score_keys([Request(7, [5])])
    table.look_up(keys, 0)
    assert sources(table, keys, AGES.pending_ns - 1) == [FOLLOWED]
    assert sources(table, keys, AGES.pending_ns) == [COMPUTED]


def test_without_waiting_each_request_computes_its_own() -> None:
    table = ScoreTable(1, MIB, Ages(AGES.ttl_ns, AGES.stale_ns, 0))
    keys = score_keys([Request(7, [5, 5]), Request(7, [5])])
    assert sources(table, keys, 0) == [COMPUTED, REPEATED, COMPUTED]


def test_what_was_asked_for_again_stays_longest() -> None:
    table = ScoreTable(1, 8_000, AGES)
    hot = score_keys([Request(1, list(range(7)))])
    compute(table, hot, 0, 0.5)
    for at in range(1, 200):
        now_ns = at * S // 4
        compute(table, score_keys([Request(2, [1000 + at])]), now_ns, 0.25)
        assert sources(table, hot, now_ns + 10) == [CACHED] * 7
    counts = table.statistics()
    assert counts.evicted > 0


def test_expired_scores_go_before_good_ones() -> None:
    table = ScoreTable(1, 8_000, AGES)
    old = score_keys([Request(1, list(range(60)))])
    compute(table, old, 0, 0.5)
    now_ns = AGES.stale_ns + 1
    evicted = table.statistics().evicted
    compute(table, score_keys([Request(2, list(range(30)))]), now_ns, 0.25)
    assert table.statistics().evicted == evicted


@pytest.mark.parametrize("scores", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("bytes_max", [20_000, 1 << 20, 3_333_333])
def test_a_table_takes_the_bytes_it_was_given_and_no_more(scores: int, bytes_max: int) -> None:
    table = ScoreTable(scores, bytes_max, AGES)
    held = [table._records.words, *table._feedback]  # the others are views
    assert sum(array.base.nbytes for array in held if array.base is not None) <= bytes_max
    counts = table.statistics()
    assert bytes_max - 2 * record_bytes(scores) < counts.bytes <= bytes_max


def test_a_table_without_room_for_a_set_is_refused() -> None:
    with pytest.raises(ValueError, match="500 bytes have no room for 1 scores; raise memory"):
        ScoreTable(1, 500, AGES)


def test_ages_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter than ttl"):
        Ages(ttl_ns=2, stale_ns=1, pending_ns=0)
    with pytest.raises(ValueError, match="longer than ttl"):
        Ages(ttl_ns=2, stale_ns=2, pending_ns=3)


def test_threads_see_only_scores_of_their_keys() -> None:
    """Scores name their key, so a torn or swapped one would show."""
    table = ScoreTable(2, 30_000, Ages(50, 100, 10), fallback=-1.0)
    wrong = list[str]()
    barrier = threading.Barrier(4)

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        barrier.wait()
        for now_ns in range(1, 400):
            asked = [
                Request(int(u), rng.integers(0, 40, 50).tolist()) for u in rng.integers(0, 9, 3)
            ]
            keys = score_keys(asked)
            true = np.repeat(keys.users, 50).astype(np.float32) * 100 + keys.items + 1
            both = np.stack([true, -true])
            found = table.look_up(keys, now_ns)
            served = found.source == CACHED
            if not (found.scores[:, served] == both[:, served]).all():
                wrong.append("look-up")
            scores = np.where(found.miss, both, np.float32(0)).astype(np.float32)
            lost = table.fill(keys, np.full(3, now_ns), now_ns, found, scores)
            sure = ~np.repeat(lost, 50)
            if not (scores[:, sure] == both[:, sure]).all():
                wrong.append("fill")
            table.note_feedback(keys.users[:1], now_ns)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    counts = table.statistics()
    assert counts.candidates == 4 * 399 * 150
    assert counts.hits > 0
    assert counts.evicted > 0
