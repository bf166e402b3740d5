"""Looking up scores by batches, and marking what is to be computed.

Rows are done one by one, in order. Looking ahead asks the memory for what later rows will read.

Every time is that at which scores were *asked for*, before anything was read that they depend on:
so feedback that came while they were computed makes them void.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from sedp.kernel import inlined, kernel
from sedp.stages.feedback import FEEDBACK, void_until
from sedp.stages.score_cells import (
    CACHED,
    COMPUTED,
    COUNTERS,
    ENTRIES,
    EXPIRED,
    FOLLOWED,
    FOLLOWS,
    KEEP,
    KEY_WORDS,
    MARKS,
    NEVER_NS,
    NOW,
    NUMBERS,
    OVERRULED,
    PENDING,
    RECORDS,
    REPEATED,
    STALE,
    STALE_TTL,
    TIMES,
    TTL,
    WHOLE,
    WORDS,
    Numbers,
    Scores,
    Words,
    ask_for_entry,
    ask_for_set,
    claim_way,
    copy_scores,
    held_way,
    tags_of,
    touch,
    words_of_entry,
)
from sedp.storage.ram.line import WAYS, home_of

LEAD = 16  # rows between two looks ahead; as many cache misses as a core tracks at once

Flags = NDArray[np.bool_]
Sources = NDArray[np.uint8]


class Found(NamedTuple):
    """What a look-up tells: one row a candidate, but `stale` one an event.

    Args:
        miss: bool[n], to be computed.
        source: uint8[n], `COMPUTED` to `FOLLOWED`.
        reference: int64[n]; of a repeated row the place in its event that is computed, of a
            followed one the time since which a score counts.
        scores: float32[k, n]; of a followed row what to answer if that score never comes.
        stale: bool[e], some score is older than it should be.
    """

    miss: Flags
    source: Sources
    reference: Numbers
    scores: Scores
    stale: Flags


KEYS = (WORDS, WORDS, WORDS, NUMBERS)
FLAGS = types.bool_[::1]
SCORES = types.float32[:, ::1]


@inlined
def _held_source(time_ns: int, void_ns: int, limits: Numbers, counts: Numbers) -> int:
    """What scores of a time are good for: `CACHED`, `STALE`, or nothing, which is `COMPUTED`."""
    if limits[NOW] - time_ns <= limits[TTL] and time_ns > void_ns:
        return CACHED
    if time_ns == NEVER_NS:
        return COMPUTED
    if time_ns <= void_ns:
        counts[OVERRULED] += 1
        return COMPUTED
    if limits[NOW] - time_ns <= limits[STALE_TTL]:
        return STALE
    counts[EXPIRED] += 1
    return COMPUTED


@inlined
def _mark(
    numbers: Numbers,
    floats: Scores,
    entry: int,
    home: int,
    way: int,
    limits: Numbers,
    row: int,
    scores: Scores,
) -> None:
    """This row computes the scores of a way, as from now."""
    numbers[home, MARKS + way] = limits[NOW]
    floats[home, 2 * (ENTRIES + way * entry + KEY_WORDS) + scores.shape[0]] = row


@inlined
def _shared_source(
    numbers: Numbers,
    floats: Scores,
    entry: int,
    home: int,
    way: int,
    void_ns: int,
    limits: Numbers,
    fallback: np.float32,
    items: Words,
    first: int,
    row: int,
    miss: Flags,
    references: Numbers,
    scores: Scores,
) -> int:
    """Whether somebody else computes the scores of this row; if nobody does, it is marked."""
    behind_scores = 2 * (ENTRIES + way * entry + KEY_WORDS) + scores.shape[0]
    leader = int(floats[home, behind_scores])  # of any batch: it must prove to be of this one
    if first <= leader < row and miss[leader] and items[leader] == items[row]:
        references[row] = leader - first
        return REPEATED
    mark_ns, now_ns = numbers[home, MARKS + way], limits[NOW]
    if limits[FOLLOWS] and mark_ns > void_ns and now_ns - mark_ns < limits[PENDING]:
        references[row] = mark_ns
        time_ns = numbers[home, TIMES + way]
        if time_ns > void_ns and now_ns - time_ns <= limits[KEEP]:
            copy_scores(floats, entry, home, way, scores, row)
        else:
            for column in range(scores.shape[0]):
                scores[column, row] = fallback
        return FOLLOWED
    _mark(numbers, floats, entry, home, way, limits, row, scores)
    return COMPUTED


@kernel(
    types.void(
        *RECORDS, *FEEDBACK, *KEYS, NUMBERS, types.float32,
        FLAGS, types.uint8[::1], types.int64[::1], SCORES, FLAGS, COUNTERS,
    )
)  # fmt: skip
def look_up(
    words: Words,
    numbers: Numbers,
    floats: Scores,
    feedback_users: Words,
    feedback_times: Numbers,
    users: Words,
    tenants: Words,
    items: Words,
    splits: Numbers,
    limits: Numbers,
    fallback: np.float32,
    miss: Flags,
    sources: Sources,
    references: Numbers,
    scores: Scores,
    stale: Flags,
    counts: Numbers,
) -> None:
    """Find out where each row's scores come from, and mark those to be computed.

    What is found comes zeroed, and is written.
    """
    entry, tags = words_of_entry(scores.shape[0]), tags_of(users, tenants, items, splits)
    for event in range(users.size):
        first, hits, user, tenant = splits[event], 0, users[event], tenants[event]
        void_ns = void_until(feedback_users, feedback_times, user)
        for row in range(first, splits[event + 1]):
            if row + 2 * LEAD < tags.size:
                ask_for_set(words, tags[row + 2 * LEAD])
            if row + LEAD < tags.size:
                ask_for_entry(words, entry, tags[row + LEAD])
            tag, item, source = tags[row], items[row], COMPUTED
            home = home_of(tag, words.shape[0])
            way = held_way(words, entry, home, tag, user, tenant, item)
            if way == WAYS:
                way = claim_way(
                    words, numbers, entry, home, tag, user, tenant, item, limits, counts
                )
                if way < WAYS:
                    _mark(numbers, floats, entry, home, way, limits, row, scores)
            else:
                source = _held_source(numbers[home, TIMES + way], void_ns, limits, counts)
                if source != COMPUTED:
                    touch(words, home, way)
                    copy_scores(floats, entry, home, way, scores, row)
                else:
                    source = _shared_source(
                        numbers, floats, entry, home, way, void_ns, limits, fallback,
                        items, first, row, miss, references, scores,
                    )  # fmt: skip
            sources[row], miss[row] = source, source == COMPUTED
            counts[source] += 1
            hits += source == CACHED
            stale[event] |= source == STALE
        counts[WHOLE] += 0 < hits == splits[event + 1] - first
