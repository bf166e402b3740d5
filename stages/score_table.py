"""Scores that were computed lately, by user, item and tenant: a table of a fixed size in RAM.

Scores live for `ttl_ns` on the caller's clock, or until feedback of their user. A candidate that is
being computed is marked; whoever asks for it meanwhile may *follow*: wait for that score instead of
computing it again. A mark is no promise, since whoever set it may be shed. So a follower learns
since when a score counts; when it comes to collect and there is none, it gets the last one known or
the fallback, its event is degraded, and nobody follows anybody for a second.

One lock around each batch: even a look-up writes (marks, the clock), and the loops are short and
run without the GIL.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from sedp.stages.feedback import FEEDBACK_SET_BYTES, new_feedback, note_feedback
from sedp.stages.score_cells import (
    CACHED,
    COMPUTED,
    COUNTS,
    CROWDED,
    EVICTED,
    EXPIRED,
    FOLLOWED,
    LOST,
    NEVER_NS,
    OVERRULED,
    REPEATED,
    STALE,
    STORED,
    WHOLE,
    Numbers,
    Scores,
    Words,
    new_records,
    record_bytes,
)
from sedp.stages.score_filling import fill
from sedp.stages.score_lookup import Found, look_up
from sedp.storage.ram.line import LINE_BYTES, WAYS

FEEDBACK_SHARE = 16  # one part in so many of the memory remembers who gave feedback
FOLLOW_PAUSE_NS = 1_000_000_000  # after a score that was waited for did not come

# Tables are named by a number, which fits a column; it lives as long as somebody holds the table.
_numbers = itertools.count(1)
_numbered: WeakValueDictionary[int, ScoreTable] = WeakValueDictionary()


def table_numbered(number: int) -> ScoreTable | None:
    """The table of this process with a number, `None` once it is gone."""
    return _numbered.get(number)


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """Counts since the table was made. A candidate is one row; sources add up to `candidates`.

    Args:
        requests: events looked up.
        whole: of them, those all of whose candidates were cached.
        hits: candidates answered with a score younger than the TTL.
        stale: with an older one, under pressure.
        repeated: with that of the same item earlier in the same request.
        followed: with that of another request that was being computed.
        misses: computed.
        saved_rows: candidates that no later stage had to compute.
        lost: of the followed, those whose score did not come.
        expired, overruled: keys found too old, and void since feedback.
        stored: scores put in.
        evicted: keys put out while their scores were still of use.
        crowded: times a key found no place, all others of its set being computed.
        feedbacks: users who gave feedback, forgotten: those let go of since.
        keys_max: most keys the table can hold.
        bytes: what it takes, feedback included.
    """

    requests: int
    whole: int
    hits: int
    stale: int
    repeated: int
    followed: int
    misses: int
    saved_rows: int
    lost: int
    expired: int
    overruled: int
    stored: int
    evicted: int
    crowded: int
    feedbacks: int
    forgotten: int
    keys_max: int
    bytes: int

    @property
    def candidates(self) -> int:
        return self.misses + self.saved_rows


class ScoreKeys(NamedTuple):
    """Whose scores a batch asks for.

    Args:
        users: uint64[e].
        tenants: uint64[e].
        items: uint64[n].
        splits: int64[e + 1]; event `i` owns items `splits[i]:splits[i + 1]`.
    """

    users: Words
    tenants: Words
    items: Words
    splits: Numbers


@dataclass(frozen=True, slots=True)
class Ages:
    """How long things count.

    Args:
        ttl_ns: scores are good.
        stale_ns: they are better than nothing; at least `ttl_ns`.
        pending_ns: a mark is believed; 0 lets nobody follow.
    """

    ttl_ns: int
    stale_ns: int
    pending_ns: int

    def __post_init__(self) -> None:
        if self.stale_ns < self.ttl_ns:
            raise ValueError(
                f"stale_ttl {self.stale_ns} ns is shorter than ttl {self.ttl_ns} ns; raise it"
            )
        if self.pending_ns > self.ttl_ns:
            raise ValueError(
                f"pending {self.pending_ns} ns is longer than ttl {self.ttl_ns} ns; lower it"
            )


class ScoreTable:
    """`scores` numbers a key in at most `bytes_max` bytes.

    Args:
        scores: 1 or more.
        bytes_max: room for one set of seven keys at least.
        fallback: score of a candidate that was waited for in vain.

    Raises:
        ValueError: there is no room for one set.
    """

    def __init__(self, scores: int, bytes_max: int, ages: Ages, fallback: float = 0.0) -> None:
        feedback_sets = max(1, bytes_max // FEEDBACK_SHARE // FEEDBACK_SET_BYTES)
        # A line more for each of three memories, which start on a boundary.
        taken = feedback_sets * FEEDBACK_SET_BYTES + 3 * LINE_BYTES
        self._sets = (bytes_max - taken) // record_bytes(scores)
        if self._sets < 1:
            raise ValueError(f"{bytes_max} bytes have no room for {scores} scores; raise memory")
        self._bytes = taken + self._sets * record_bytes(scores)
        self._scores = scores
        self._ages = ages
        self._fallback = np.float32(fallback)
        self._records = new_records(self._sets, scores)
        self._feedback = new_feedback(feedback_sets)
        self._counts = np.zeros(COUNTS, np.int64)
        self._requests = self._feedbacks = self._forgotten = 0
        self._follow_from_ns = NEVER_NS
        self._using = threading.Lock()
        self.number = next(_numbers)
        _numbered[self.number] = self

    def look_up(self, keys: ScoreKeys, now_ns: int, *, may_be_stale: bool = False) -> Found:
        """Scores held, and which rows to compute; these are marked as being computed.

        Args:
            may_be_stale: serve scores past their TTL, up to `stale_ns`.
        """
        found = self._empty(len(keys.items), len(keys.users))
        with self._using:
            look_up(
                *self._records, *self._feedback, keys.users, keys.tenants, keys.items, keys.splits,
                self._limits(now_ns, may_be_stale), self._fallback, found.miss, found.source,
                found.reference, found.scores, found.stale, self._counts,
            )  # fmt: skip
            self._requests += len(keys.users)
        return found

    def fill(
        self, keys: ScoreKeys, asked: Numbers, now_ns: int, found: Found, scores: Scores
    ) -> NDArray[np.bool_]:
        """Keep what was computed, and complete the scores of all other rows in place.

        Args:
            asked: int64[e], the `now_ns` of each event's look-up; `NEVER_NS` where its scores are
                not to be kept.
            found: what the look-up told; `miss` and `stale` are not read.
            scores: float32[k, n].

        Returns:
            bool[e]: some score was waited for in vain.
        """
        lost = np.zeros(len(keys.users), np.bool_)
        with self._using:
            fill(
                *self._records, keys.users, keys.tenants, keys.items, keys.splits, asked,
                self._limits(now_ns), found.source, found.reference, found.scores,
                scores, lost, self._counts,
            )  # fmt: skip
            if lost.any():
                self._follow_from_ns = now_ns + FOLLOW_PAUSE_NS
        return lost

    def note_feedback(self, users: Words, now_ns: int) -> None:
        """Scores of these users that were asked for until now are void, in every tenant.

        Args:
            users: uint64[n].
        """
        with self._using:
            self._feedbacks += len(users)
            self._forgotten += note_feedback(*self._feedback, users, now_ns)

    def void(self, now_ns: int) -> None:
        """All scores that were asked for until now are void."""
        floors = self._feedback.times[:, WAYS]
        with self._using:
            np.maximum(floors, now_ns, out=floors)

    def statistics(self) -> CacheStatistics:
        """A frozen snapshot."""
        with self._using:
            counts = self._counts.tolist()
            return CacheStatistics(
                requests=self._requests,
                whole=counts[WHOLE],
                hits=counts[CACHED],
                stale=counts[STALE],
                repeated=counts[REPEATED],
                followed=counts[FOLLOWED],
                misses=counts[COMPUTED],
                saved_rows=sum(counts[source] for source in (CACHED, STALE, REPEATED, FOLLOWED)),
                lost=counts[LOST],
                expired=counts[EXPIRED],
                overruled=counts[OVERRULED],
                stored=counts[STORED],
                evicted=counts[EVICTED],
                crowded=counts[CROWDED],
                feedbacks=self._feedbacks,
                forgotten=self._forgotten,
                keys_max=self._sets * WAYS,
                bytes=self._bytes,
            )

    def _limits(self, now_ns: int, may_be_stale: bool = False) -> Numbers:
        """By the places that `score_cells` names."""
        ages = self._ages
        follows = ages.pending_ns > 0 and now_ns >= self._follow_from_ns
        stale_ns = ages.stale_ns if may_be_stale else 0
        # In its own moment a mark always counts, or rows of one batch would put each other out.
        pending_ns = max(1, ages.pending_ns)
        limits = (now_ns, ages.ttl_ns, stale_ns, ages.stale_ns, pending_ns, follows)
        return np.array(limits, np.int64)

    def _empty(self, rows: int, events: int) -> Found:
        return Found(
            np.zeros(rows, np.bool_),
            np.zeros(rows, np.uint8),
            np.zeros(rows, np.int64),
            np.zeros((self._scores, rows), np.float32),
            np.zeros(events, np.bool_),
        )
