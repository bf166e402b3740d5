"""Any history of a score table: against plain dicts with room for everything, and with little room.

SEDP_CACHE_CASES says how many candidates are checked in tables that are too small; a million take
about 20 s.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from numpy.typing import NDArray

from sedp.stages.score_cells import CACHED, FOLLOWED, NEVER_NS, REPEATED, STALE, tags_of
from sedp.stages.score_lookup import Found
from sedp.stages.score_table import Ages, ScoreKeys, ScoreTable
from tests.stages.score_model import (
    Request,
    Row,
    ScoreModel,
    fresh_scores,
    rows_of,
    score_keys,
    twin_tags,
)

CASES = int(os.environ.get("SEDP_CACHE_CASES", "100000"))
SEEN = (
    "candidates", "hits", "stale", "repeated", "followed", "misses", "lost", "expired",
    "overruled", "evicted", "crowded", "forgotten",
)  # fmt: skip
S = 1_000_000_000
AGES = Ages(ttl_ns=120 * S, stale_ns=600 * S, pending_ns=S // 10)

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

users = st.one_of(st.integers(0, 3), st.just((1 << 64) - 1))
items = st.integers(0, 6)
requests = st.builds(Request, users, st.lists(items, max_size=6), st.sampled_from([0, 0, 1]))


class TableHistory(RuleBasedStateMachine):
    """Requests are looked up, filled in any order or never, while time passes and users react."""

    def __init__(self) -> None:
        super().__init__()
        self.table = ScoreTable(2, 1 << 20, AGES, fallback=-1.0)
        self.model = ScoreModel(AGES, 2, fallback=-1.0)
        self.now_ns = 0
        self.serial = 0
        self.inside: list[tuple[list[Request], int, Any, list[Row]]] = []

    @rule(asked=st.lists(requests, max_size=4), may_be_stale=st.booleans())
    def look_up(self, asked: list[Request], may_be_stale: bool) -> None:
        found = self.table.look_up(score_keys(asked), self.now_ns, may_be_stale=may_be_stale)
        rows = self.model.look_up(asked, self.now_ns, may_be_stale)
        assert rows_of(found) == rows
        ends = np.cumsum([0, *(len(request.items) for request in asked)])
        for at, _ in enumerate(asked):
            own = rows[ends[at] : ends[at + 1]]
            assert found.stale[at] == any(row.source == STALE for row in own)
        self.inside.append((asked, self.now_ns, found, rows))

    @precondition(lambda self: self.inside)
    @rule(data=st.data(), is_kept=st.booleans())
    def fill(self, data: st.DataObject, is_kept: bool) -> None:
        at = data.draw(st.integers(0, len(self.inside) - 1))
        asked, asked_ns, found, rows = self.inside.pop(at)
        self.serial += 1
        scores = fresh_scores(self.serial, len(rows), 2)
        scores[:, ~found.miss] = 0
        fresh = [tuple(column) for column in scores.T.tolist()]
        askings = [asked_ns if is_kept else NEVER_NS] * len(asked)
        expected = self.model.fill(asked, askings, self.now_ns, rows, fresh)
        keys = score_keys(asked)
        lost = self.table.fill(keys, np.array(askings, np.int64), self.now_ns, found, scores)
        assert [tuple(column) for column in scores.T.tolist()] == expected[0]
        assert lost.tolist() == expected[1]

    @precondition(lambda self: self.inside)
    @rule()
    def shed(self) -> None:
        self.inside.pop()

    @rule(who=st.lists(users, max_size=3))
    def react(self, who: list[int]) -> None:
        self.table.note_feedback(np.array(who, np.uint64), self.now_ns)
        self.model.feedback(who, self.now_ns)

    @rule(wait_ns=st.sampled_from([1, S // 20, S // 10, S, 120 * S, 120 * S + 1, 600 * S]))
    def wait(self, wait_ns: int) -> None:
        self.now_ns += wait_ns

    def teardown(self) -> None:
        counts = self.table.statistics()
        assert counts.evicted == counts.crowded == counts.forgotten == 0


TestTableHistory = TableHistory.TestCase
TestTableHistory.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


class TestRandomHistories:
    """A table for some hundred keys and few users of whom feedback is known, asked for thousands.

    A score names its key, and the batch that computed it.
    """

    SHAPE = TENANTS, USERS, ITEMS = 3, 40, 30
    KEYS = TENANTS * USERS * ITEMS
    STEPS_NS = (1, S // 50, S // 9, 30 * S, 121 * S)

    def test_no_answer_is_wrong_however_small_the_table(self) -> None:
        self.seen = Counter[str]()
        seed = 0
        while self.seen["candidates"] < CASES:
            seed += 1
            self.check_history(np.random.default_rng(seed))
        assert all(self.seen[name] > 100 for name in SEEN), self.seen

    def check_history(self, rng: np.random.Generator) -> None:
        table = ScoreTable(1, int(rng.integers(4_000, 20_000)), AGES, fallback=-1.0)
        self.asked_ns = [NEVER_NS]  # of every batch that was computed
        self.void_ns = np.full(self.USERS, NEVER_NS)
        inside: list[tuple[ScoreKeys, Found, int]] = []
        now_ns = 0
        for _ in range(60):
            now_ns += int(rng.choice(self.STEPS_NS, p=[0.4, 0.3, 0.1, 0.15, 0.05]))
            if rng.random() < 0.3:
                who = rng.integers(0, self.USERS, 3)
                table.note_feedback(who.astype(np.uint64), now_ns)
                self.void_ns[who] = now_ns
            keys = self.draw(rng)
            may_be_stale = bool(rng.random() < 0.2)
            found = table.look_up(keys, now_ns, may_be_stale=may_be_stale)
            oldest_ns = AGES.stale_ns if may_be_stale else AGES.ttl_ns
            self.check(keys, found.source == CACHED, found.scores[0], now_ns - AGES.ttl_ns)
            self.check(keys, found.source == STALE, found.scores[0], now_ns - oldest_ns)
            inside.append((keys, found, now_ns))
            while inside and rng.random() < 0.5:
                past = inside.pop(int(rng.integers(len(inside))))
                if rng.random() < 0.8:  # else it was shed
                    self.fill(table, *past, now_ns)
        counts = table.statistics()
        self.seen.update({name: getattr(counts, name) for name in SEEN})

    def draw(self, rng: np.random.Generator) -> ScoreKeys:
        sizes = rng.integers(0, 30, rng.integers(1, 4))
        return ScoreKeys(
            np.minimum(rng.zipf(1.3, len(sizes)) - 1, self.USERS - 1).astype(np.uint64),
            rng.integers(0, self.TENANTS, len(sizes)).astype(np.uint64),
            rng.integers(0, self.ITEMS, sizes.sum()).astype(np.uint64),
            np.concatenate([[0], np.cumsum(sizes)]),
        )

    def numbers(self, keys: ScoreKeys) -> Ints:
        """Of the keys, from 1."""
        sizes = np.diff(keys.splits)
        tenants, users = (np.repeat(of, sizes) for of in (keys.tenants, keys.users))
        places = (tenants * np.uint64(self.USERS) + users) * np.uint64(self.ITEMS) + keys.items
        return 1 + places.astype(np.int64)

    def check(self, keys: ScoreKeys, served: Flags, scores: Floats, since_ns: int) -> None:
        """What is served was computed for just this key, lately, and after any feedback."""
        numbers = scores[served].astype(np.int64)
        np.testing.assert_array_equal((numbers - 1) % self.KEYS + 1, self.numbers(keys)[served])
        asked_ns = np.array(self.asked_ns)[(numbers - 1) // self.KEYS]
        assert (asked_ns >= since_ns).all()
        users = np.repeat(keys.users, np.diff(keys.splits))[served].astype(np.int64)
        assert (asked_ns > self.void_ns[users]).all()

    def fill(
        self, table: ScoreTable, keys: ScoreKeys, found: Found, asked_ns: int, now_ns: int
    ) -> None:
        fresh = self.numbers(keys) + len(self.asked_ns) * self.KEYS
        self.asked_ns.append(asked_ns)
        scores = np.where(found.miss, fresh, 0).astype(np.float32)[np.newaxis]
        asked = np.full(len(keys.users), asked_ns)
        lost = table.fill(keys, asked, now_ns, found, scores)
        numbers = scores[0].astype(np.int64)
        np.testing.assert_array_equal(numbers[found.miss], fresh[found.miss])
        repeated = found.source == REPEATED
        np.testing.assert_array_equal(numbers[repeated], fresh[repeated])
        followed = (found.source == FOLLOWED) & ~np.repeat(lost, np.diff(keys.splits))
        right = (numbers[followed] - 1) % self.KEYS + 1 == self.numbers(keys)[followed]
        when_ns = np.array(self.asked_ns)[(numbers[followed] - 1) // self.KEYS]
        assert right.all()
        assert (when_ns >= found.reference[followed]).all()


@given(st.lists(requests, max_size=5))
def test_tags_equal_their_numpy_twin(asked: list[Request]) -> None:
    keys = score_keys(asked)
    tags = tags_of(keys.users, keys.tenants, keys.items, keys.splits)
    np.testing.assert_array_equal(tags, twin_tags(keys))
