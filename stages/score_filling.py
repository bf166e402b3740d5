"""Keeping fresh scores by batches, and putting everybody's in place."""

from __future__ import annotations

import numpy as np
from numba import types

from sedp.kernel import inlined, kernel
from sedp.stages.score_cells import (
    COMPUTED,
    COUNTERS,
    ENTRIES,
    FOLLOWED,
    KEY_WORDS,
    LOST,
    MARKS,
    NEVER_NS,
    NUMBERS,
    RECORDS,
    REPEATED,
    STORED,
    TIMES,
    Numbers,
    Scores,
    Words,
    ask_for_entry,
    ask_for_set,
    claim_way,
    copy_scores,
    held_way,
    tags_of,
    words_of_entry,
)
from sedp.stages.score_lookup import FLAGS, KEYS, LEAD, SCORES, Flags, Sources
from sedp.storage.ram.line import WAYS, home_of


@inlined
def _store_row(
    words: Words,
    numbers: Numbers,
    floats: Scores,
    entry: int,
    tag: np.uint64,
    user: np.uint64,
    tenant: np.uint64,
    item: np.uint64,
    asked_ns: int,
    limits: Numbers,
    scores: Scores,
    row: int,
    counts: Numbers,
) -> None:
    """Keep fresh scores, unless later ones are held, and take away the mark they had."""
    home = home_of(tag, words.shape[0])
    way = held_way(words, entry, home, tag, user, tenant, item)
    if way == WAYS:
        way = claim_way(words, numbers, entry, home, tag, user, tenant, item, limits, counts)
        if way == WAYS:
            return
    if asked_ns > numbers[home, TIMES + way]:
        start = 2 * (ENTRIES + way * entry + KEY_WORDS)
        for column in range(scores.shape[0]):
            floats[home, start + column] = scores[column, row]
        numbers[home, TIMES + way] = asked_ns
        counts[STORED] += 1
    if numbers[home, MARKS + way] <= asked_ns:
        numbers[home, MARKS + way] = NEVER_NS


@inlined
def _forget_mark(
    words: Words,
    numbers: Numbers,
    entry: int,
    tag: np.uint64,
    user: np.uint64,
    tenant: np.uint64,
    item: np.uint64,
) -> None:
    """Nothing will be kept for this key now: nobody need wait for it."""
    home = home_of(tag, words.shape[0])
    way = held_way(words, entry, home, tag, user, tenant, item)
    if way < WAYS:
        numbers[home, MARKS + way] = NEVER_NS


@kernel(
    types.void(
        *RECORDS, *KEYS, NUMBERS, NUMBERS, types.Array(types.uint8, 1, "C", readonly=True), NUMBERS,
        types.Array(types.float32, 2, "C", readonly=True), SCORES, FLAGS, COUNTERS,
    )
)  # fmt: skip
def fill(
    words: Words,
    numbers: Numbers,
    floats: Scores,
    users: Words,
    tenants: Words,
    items: Words,
    splits: Numbers,
    asked: Numbers,
    limits: Numbers,
    sources: Sources,
    references: Numbers,
    cached: Scores,
    scores: Scores,
    lost: Flags,
    counts: Numbers,
) -> None:
    """Store the rows that were computed, then put everybody's scores in place.

    Args:
        asked: int64[e], when each event was looked up; `NEVER_NS` where its scores are not kept.
        cached: float32[k, n], from the look-up.
        scores: float32[k, n]; fresh where computed. The others are written.
        lost: bool[e], written: some row relied on scores that did not come.
    """
    entry, tags = words_of_entry(scores.shape[0]), tags_of(users, tenants, items, splits)
    for event in range(users.size):
        for row in range(splits[event], splits[event + 1]):
            if row + 2 * LEAD < tags.size and sources[row + 2 * LEAD] == COMPUTED:
                ask_for_set(words, tags[row + 2 * LEAD])
            if row + LEAD < tags.size and sources[row + LEAD] == COMPUTED:
                ask_for_entry(words, entry, tags[row + LEAD])
            if sources[row] == COMPUTED and asked[event] != NEVER_NS:
                _store_row(
                    words, numbers, floats, entry, tags[row], users[event], tenants[event],
                    items[row], asked[event], limits, scores, row, counts,
                )  # fmt: skip
            elif sources[row] == COMPUTED:
                _forget_mark(
                    words, numbers, entry, tags[row], users[event], tenants[event], items[row]
                )
    for event in range(users.size):
        first, lost_rows = splits[event], 0
        for row in range(first, splits[event + 1]):
            source, home = sources[row], home_of(tags[row], words.shape[0])
            if source == FOLLOWED:
                way = held_way(
                    words, entry, home, tags[row], users[event], tenants[event], items[row]
                )
                if way < WAYS and numbers[home, TIMES + way] >= references[row]:
                    copy_scores(floats, entry, home, way, scores, row)
                    continue
                lost_rows += 1
            for column in range(scores.shape[0]):
                if source == REPEATED:
                    scores[column, row] = scores[column, first + references[row]]
                elif source != COMPUTED:
                    scores[column, row] = cached[column, row]
        lost[event] = lost_rows > 0
        counts[LOST] += lost_rows
