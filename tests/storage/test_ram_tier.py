"""The RAM tier gives back what was put last, and nothing that was replaced or forgotten."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sedp.storage.ram import tier as ram_tier
from sedp.storage.ram.line import EMPTY, VACATED, WAYS
from sedp.storage.ram.recent_changes import RECENT_KEYS, RecentChanges
from sedp.storage.ram.tier import CACHE_REACH, RESIDENT_REACH, RamTier
from sedp.storage.rows.keys import combine
from tests.storage.tables import Keys, ask, keys_of, some_keys

steps = st.tuples(
    st.sampled_from(["put", "replace", "forget", "clear", "ask", "ask"]),
    st.lists(st.integers(0, 40), max_size=30),
)


def row_of(keys: Keys, version: int = 0) -> NDArray[np.uint8]:
    return np.stack([keys, ~keys + np.uint64(version)], axis=1).view(np.uint8)


def whole_tier(keys: Keys, sets: int = 2) -> RamTier:
    """Resident."""
    tier = RamTier("ram", 16, sets, RESIDENT_REACH)
    tier.put_many(keys, row_of(keys))
    assert tier.settle(len(keys))
    return tier


@settings(max_examples=60)
@given(st.integers(1, 9), st.sampled_from([CACHE_REACH, RESIDENT_REACH]), st.lists(steps))
def test_rows_are_those_of_a_dict(sets: int, reach: int, done: list[tuple[str, list[int]]]) -> None:
    """A cache may lack what the dict has; a whole tier may only where it is too small."""
    tier, model = RamTier("ram", 16, sets, reach), dict[int, int]()
    has_room = reach == RESIDENT_REACH and sets * WAYS > 41
    for version, (what, numbers) in enumerate(done):
        keys = np.array(numbers, np.uint64)
        if what == "put":
            tier.put_many(keys, row_of(keys, version))
            model |= dict.fromkeys(numbers, version)
        elif what == "replace":
            held = tier.replace_many(keys, row_of(keys, version))
            assert held == len(keys) or not has_room
            model |= dict.fromkeys(numbers, version)
        elif what == "forget":
            tier.forget(keys)
            for number in numbers:
                model.pop(number, None)
        elif what == "clear":
            tier.clear()
            model.clear()
        rows, missing = ask(tier, keys, 16)
        for i in np.flatnonzero(~missing):
            assert (rows[i] == row_of(keys[i : i + 1], model[numbers[i]])[0]).all()
        if has_room:
            assert missing.tolist() == [number not in model for number in numbers]
            assert tier.statistics().rows == len(model)


def test_all_rows_stay_at_two_places_a_row_and_long_reach() -> None:
    keys = combine([np.arange(100_000)], 1)
    tier = whole_tier(keys, 100_000 * 2 // WAYS)
    rows, missing = ask(tier, keys, 16)
    assert not missing.any()
    assert (rows == row_of(keys)).all()


def test_tier_that_lacks_a_row_is_not_resident() -> None:
    keys = some_keys(15)
    tier = whole_tier(keys[:14])
    assert not tier.settle(15)
    tier.put_many(keys, row_of(keys))
    assert not tier.settle(15)
    assert not ask(tier, keys[:14], 16)[1].any()


def test_resident_tier_takes_no_rows_from_below_and_is_so_until_resized() -> None:
    keys, others = some_keys(13), some_keys(50, seed=2)
    tier = whole_tier(keys)
    tier.put_many(others, row_of(others))
    assert ask(tier, others, 16)[1].all()
    tier.resize(3, RESIDENT_REACH)
    assert not tier.is_resident


def test_resident_tier_takes_new_rows_and_stays_resident() -> None:
    keys = some_keys(14)
    tier = whole_tier(keys[:10])
    assert tier.replace_many(keys[5:], row_of(keys[5:], 1)) == 9
    assert tier.is_resident
    rows, missing = ask(tier, keys, 16)
    assert not missing.any()
    assert (rows[5:] == row_of(keys[5:], 1)).all()
    assert tier.statistics().rows == 14


def test_resident_tier_without_room_for_a_new_row_is_resident_no_longer() -> None:
    keys = some_keys(15)
    tier = whole_tier(keys[:14])
    assert tier.replace_many(keys, row_of(keys)) == 14
    assert not tier.is_resident


def test_cache_replaces_only_what_it_holds() -> None:
    keys = some_keys(10)
    tier = RamTier("ram", 16, 10)
    tier.put_many(keys[:4], row_of(keys[:4]))
    assert tier.replace_many(keys, row_of(keys, 1)) == 4
    rows, missing = ask(tier, keys, 16)
    assert missing.tolist() == [False] * 4 + [True] * 6
    assert (rows[:4] == row_of(keys[:4], 1)).all()


def test_forgotten_key_is_missing_and_can_be_put_again() -> None:
    keys = some_keys(50)
    tier = RamTier("ram", 16, 4)
    tier.put_many(keys, row_of(keys))
    held = keys[~ask(tier, keys, 16)[1]]
    assert tier.forget(keys) == len(held)
    assert ask(tier, keys, 16)[1].all()
    assert tier.statistics().rows == 0
    tier.put_many(held[:5], row_of(held[:5], 1))
    rows, missing = ask(tier, held[:5], 16)
    assert not missing.any()
    assert (rows == row_of(held[:5], 1)).all()


def test_keys_in_their_second_set_are_found_after_the_first_forgot_some() -> None:
    keys = some_keys(14)
    tier = RamTier("ram", 16, 2)
    tier.put_many(keys, row_of(keys))
    tier.forget(keys[::2].copy())
    assert not ask(tier, keys[1::2].copy(), 16)[1].any()


@pytest.mark.parametrize("mark", [EMPTY, VACATED])
def test_the_two_keys_that_are_marks_are_never_held(mark: np.uint64) -> None:
    keys = np.array([mark, 5], np.uint64)
    for reach in (CACHE_REACH, RESIDENT_REACH):
        tier = RamTier("ram", 16, 3, reach)
        tier.put_many(keys, row_of(keys))
        tier.forget(keys_of(5))
        tier.put_many(keys, row_of(keys))
        assert tier.replace_many(keys, row_of(keys)) == 1
        assert ask(tier, keys, 16)[1].tolist() == [True, False]
        assert not tier.settle(2)


def test_row_read_below_before_it_was_replaced_is_not_taken() -> None:
    keys, tier = some_keys(10), RamTier("ram", 16, 10)
    since = tier.moment()
    tier.replace_many(keys[:3], row_of(keys[:3], 1))
    tier.forget(keys[3:5])
    tier.put_many(keys, row_of(keys), since)
    assert ask(tier, keys, 16)[1].tolist() == [True] * 5 + [False] * 5
    tier.put_many(keys, row_of(keys), tier.moment())
    assert not ask(tier, keys, 16)[1].any()


def test_nothing_read_below_before_a_clearing_is_taken() -> None:
    keys, tier = some_keys(10), RamTier("ram", 16, 10)
    tier.put_many(keys, row_of(keys))
    since = tier.moment()
    tier.clear()
    tier.put_many(keys, row_of(keys), since)
    assert ask(tier, keys, 16)[1].all()
    assert tier.statistics().rows == 0


def test_nothing_is_taken_when_more_changed_than_is_remembered() -> None:
    keys, tier = some_keys(10), RamTier("ram", 16, 10)
    since, others = tier.moment(), some_keys(RECENT_KEYS, seed=5)
    tier.forget(others)
    tier.put_many(keys[:5], row_of(keys[:5]), since)
    assert not ask(tier, keys[:5], 16)[1].any()
    tier.forget(others[:1])
    tier.put_many(keys[5:], row_of(keys[5:]), since)
    assert ask(tier, keys[5:], 16)[1].all()


def test_tiers_that_share_changes_share_moments() -> None:
    changes, keys = RecentChanges(), some_keys(4)
    rows, absent = (RamTier(name, 0, 10, changes=changes) for name in ("ram", "absent"))
    since = rows.moment()
    rows.replace_many(keys[:2], np.empty((2, 0), np.uint8))
    absent.put_many(keys, np.empty((4, 0), np.uint8), since)
    assert ask(absent, keys, 0)[1].tolist() == [True, True, False, False]


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(0, 99), max_size=40), max_size=30), st.data())
def test_changes_since_are_those_of_a_list(parts: list[list[int]], data: st.DataObject) -> None:
    changes, keys = RecentChanges(), np.arange(100, dtype=np.uint64)
    changes.add(np.full(RECENT_KEYS - 300, 100, np.uint64))  # so that the ring comes round
    start = data.draw(st.integers(0, len(parts)))
    counts = [changes.count]
    for part in parts:
        changes.add(np.array(part, np.uint64))
        counts.append(changes.count)
    since = {key for part in parts[start:] for key in part}
    assert np.flatnonzero(changes.mask_since(counts[start], keys)).tolist() == sorted(since)


def test_answer_is_not_final_if_residence_ends_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = some_keys(10)
    tier = whole_tier(keys)
    get_rows = ram_tier.get_rows

    def interrupted(*args: object) -> tuple[int, int]:
        tier.forget(keys[:1])
        counts: tuple[int, int] = get_rows(*args)
        return counts

    out, missing = np.empty((10, 16), np.uint8), np.empty(10, np.bool_)
    assert tier.answer(keys, out, missing) == (0, True)
    monkeypatch.setattr(ram_tier, "get_rows", interrupted)
    assert tier.answer(keys, out, missing) == (1, False)


def test_row_that_is_being_written_is_missing_and_not_for_good() -> None:
    keys = some_keys(10)
    tier = whole_tier(keys)
    out, missing = np.empty((10, 16), np.uint8), np.empty(10, np.bool_)
    tier._state.lines[:, WAYS] += np.uint64(1 << 8)
    assert tier.answer(keys, out, missing) == (10, False)
    tier._state.lines[:, WAYS] += np.uint64(1 << 8)
    assert tier.answer(keys, out, missing) == (0, True)


@pytest.mark.parametrize("row_bytes", [0, 4, 36, 64, 68, 128, 200, 4096])
def test_rows_of_any_width_come_back(row_bytes: int) -> None:
    keys = some_keys(500)
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 256, (500, row_bytes), dtype=np.uint8)
    tier = RamTier("ram", row_bytes, 2000)
    tier.put_many(keys, rows)
    back, missing = ask(tier, keys, row_bytes)
    assert not missing.any()
    assert (back == rows).all()


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 31, 32, 33, 47, 48, 49])
def test_batches_of_any_length_come_back(count: int) -> None:
    keys, others = some_keys(count), some_keys(count, seed=3)
    tier = RamTier("ram", 16, 200)
    tier.put_many(keys, row_of(keys))
    both = np.concatenate([keys, others])
    rows, missing = ask(tier, both, 16)
    assert missing.tolist() == [False] * count + [True] * count
    assert (rows[:count] == row_of(keys)).all()


def test_later_row_of_a_key_replaces_the_earlier() -> None:
    tier, key = RamTier("ram", 4, 1), np.array([0, 0], np.uint64)
    tier.put_many(key, np.array([[1], [2]], np.uint32).view(np.uint8))
    rows, missing = ask(tier, key[:1], 4)
    assert rows.view(np.uint32).tolist() == [[2]]
    assert not missing[0]
    assert tier.statistics().rows == 1


def test_tier_of_no_sets_holds_nothing() -> None:
    tier, keys = RamTier("ram", 16), some_keys(10)
    tier.put_many(keys, row_of(keys))
    assert tier.replace_many(keys, row_of(keys)) == tier.forget(keys) == 0
    assert ask(tier, keys, 16)[1].all()
    assert tier.statistics().bytes == 0


def test_keys_must_be_uint64_for_the_compiled_loop() -> None:
    with pytest.raises(TypeError, match="No matching definition"):
        ask(RamTier("ram", 16, 1), np.zeros(1, np.int32), 16)
