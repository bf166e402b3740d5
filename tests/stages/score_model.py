"""What a score table with room for everything does: plain dicts, one candidate after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sedp.stages.score_cells import (
    CACHED,
    COMPUTED,
    FOLLOWED,
    KEY_WORDS,
    NEVER_NS,
    REPEATED,
    STALE,
    Words,
)
from sedp.stages.score_lookup import Found
from sedp.stages.score_table import FOLLOW_PAUSE_NS, Ages, ScoreKeys
from sedp.storage.rows.keys import FIRST, GOLDEN, SECOND, unmix_all

Scores = tuple[float, ...]


class Key(NamedTuple):
    tenant: int
    user: int
    item: int


class Row(NamedTuple):
    """What a look-up tells of one candidate."""

    source: int
    reference: int
    scores: Scores


class Request(NamedTuple):
    user: int
    items: list[int]
    tenant: int = 0


def score_keys(requests: list[Request]) -> ScoreKeys:
    splits = np.zeros(len(requests) + 1, np.int64)
    np.cumsum([len(request.items) for request in requests], out=splits[1:])
    return ScoreKeys(
        np.array([request.user for request in requests], np.uint64),
        np.array([request.tenant for request in requests], np.uint64),
        np.array([item for request in requests for item in request.items], np.uint64),
        splits,
    )


def rows_of(found: Found) -> list[Row]:
    """What the table told, to be compared with the model."""
    assert (found.miss == (found.source == COMPUTED)).all()
    scores = [tuple(column) for column in found.scores.T.tolist()]
    return [
        Row(*row)
        for row in zip(found.source.tolist(), found.reference.tolist(), scores, strict=True)
    ]


def fresh_scores(serial: int, rows: int, count: int = 1) -> NDArray[np.float32]:
    """float32[count, rows], no two alike and none zero."""
    first = 1 + serial * 1000
    return np.arange(first, first + count * rows, dtype=np.float32).reshape(count, rows)


@dataclass
class ScoreModel:
    """Scores are float32 already, so they compare exactly."""

    ages: Ages
    count: int
    fallback: float = 0.0
    held: dict[Key, tuple[int, Scores]] = field(default_factory=dict)
    marks: dict[Key, int] = field(default_factory=dict)
    void: dict[int, int] = field(default_factory=dict)
    follow_from_ns: int = NEVER_NS

    def look_up(self, requests: list[Request], now_ns: int, may_be_stale: bool) -> list[Row]:
        rows: list[Row] = []
        for request in requests:
            leaders: dict[int, int] = {}
            for place, item in enumerate(request.items):
                key = Key(request.tenant, request.user, item)
                row = self._row(key, now_ns, may_be_stale, leaders.get(item))
                if row.source == COMPUTED:
                    leaders[item] = place
                rows.append(row)
        return rows

    def _row(self, key: Key, now_ns: int, may_be_stale: bool, leader: int | None) -> Row:
        void_ns = self.void.get(key.user, NEVER_NS)
        time_ns, scores = self.held.get(key, (NEVER_NS, ()))
        if time_ns <= void_ns:
            time_ns = NEVER_NS
        age_ns, zeros = now_ns - time_ns, (0.0,) * self.count
        if age_ns <= self.ages.ttl_ns:
            return Row(CACHED, 0, scores)
        if may_be_stale and age_ns <= self.ages.stale_ns:
            return Row(STALE, 0, scores)
        if leader is not None:
            return Row(REPEATED, leader, zeros)
        mark = self.marks.get(key, NEVER_NS)
        is_believed = mark > void_ns and now_ns - mark < self.ages.pending_ns
        if is_believed and now_ns >= self.follow_from_ns:
            last = scores if age_ns <= self.ages.stale_ns else (self.fallback,) * self.count
            return Row(FOLLOWED, mark, last)
        self.marks[key] = now_ns
        return Row(COMPUTED, 0, zeros)

    def fill(
        self, requests: list[Request], asked: list[int], now_ns: int, rows: list[Row],
        fresh: list[Scores],
    ) -> tuple[list[Scores], list[bool]]:  # fmt: skip
        keys = [Key(r.tenant, r.user, item) for r in requests for item in r.items]
        askings = [asked_ns for r, asked_ns in zip(requests, asked, strict=True) for _ in r.items]
        for key, row, scores, asked_ns in zip(keys, rows, fresh, askings, strict=True):
            if row.source != COMPUTED:
                continue
            if asked_ns > self.held.get(key, (NEVER_NS, ()))[0]:
                self.held[key] = asked_ns, scores
            if asked_ns == NEVER_NS or self.marks.get(key, NEVER_NS) <= asked_ns:
                self.marks.pop(key, None)
        merged, lost, at = list[Scores](), list[bool](), 0
        for request in requests:
            own = slice(at, at + len(request.items))
            parts = [
                self._merged(key, row, fresh[own], scores)
                for key, row, scores in zip(keys[own], rows[own], fresh[own], strict=True)
            ]
            merged += [scores for scores, _ in parts]
            lost.append(any(is_lost for _, is_lost in parts))
            at = own.stop
        if any(lost):
            self.follow_from_ns = now_ns + FOLLOW_PAUSE_NS
        return merged, lost

    def _merged(
        self, key: Key, row: Row, event: list[Scores], scores: Scores
    ) -> tuple[Scores, bool]:
        if row.source == COMPUTED:
            return scores, False
        if row.source == REPEATED:
            return event[row.reference], False
        if row.source == FOLLOWED:
            time_ns, held = self.held.get(key, (NEVER_NS, ()))
            return (held, False) if time_ns >= row.reference else (row.scores, True)
        return row.scores, False

    def feedback(self, users: list[int], now_ns: int) -> None:
        for user in users:
            self.void[user] = max(now_ns, self.void.get(user, NEVER_NS))


def twin_tags(keys: ScoreKeys) -> Words:
    """Numpy's twin of `tags_of`."""

    def mixed(words: Words) -> Words:
        words = (words ^ (words >> np.uint64(30))) * FIRST
        words = (words ^ (words >> np.uint64(27))) * SECOND
        return words ^ (words >> np.uint64(31))

    seeds = mixed((mixed(keys.tenants + GOLDEN) + GOLDEN) ^ keys.users)
    return mixed((np.repeat(seeds, np.diff(keys.splits)) + GOLDEN) ^ keys.items)


def item_with_tag(tag: int, user: int, tenant: int = 0) -> int:
    """The item whose key has this hash: the last step of the hash, undone."""
    keys = score_keys([Request(user, [0], tenant)])
    seeded = unmix_all(twin_tags(keys)) ^ unmix_all(np.array([tag], np.uint64))
    return int(seeded[0])


assert KEY_WORDS == 3, "a key is user, tenant and item"
