"""Which rows a set of the RAM tier keeps: those most likely to be asked for again, by experience.

A set remembers how often and how long ago its seven keys were asked for, and the same of twelve
keys it does not hold (*ghosts*; 16 bits of their hash stand for them). Its clock is its own: it
ticks at each insertion, so twice in the time that brings twice as many misses. A number of times
asked and an age make a *class*, 16 by 16 of them on scales of half octaves. At each tick every key
of the set, held or ghost, is a trial of its class, and a win if it was asked for since the last
tick. Wins over trials is what a class is *worth*, for all sets alike; old trials fade.

The key asked for takes the way worth least, if that is worth no more than itself, and becomes a
ghost otherwise; so does the key it puts out. What counts is thus learned from the traffic: mere
frequency where popularity stays, recency where it moves, nothing that is asked for once where that
is common. Counts that age by a fixed rule do well on one or the other (see the bench). The idea of
ranking by learned hit rates of classes is that of LHD (Beckmann, Chen, Cidon: LHD: improving cache
hit rate by maximizing hit density, NSDI 2018).

A history is one cache line, touched by insertions only: 19 states (times asked in the low byte, age
in the high one, 0 for nothing there) and 12 tags.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sedp.kernel import inlined, kernel
from sedp.storage.ram.line import (
    WAYS,
    Lines,
    clear_touched,
    home_of,
    line_of,
    set_after,
    touched_ways,
)
from sedp.storage.rows.intrinsics import as_index, prefetch
from sedp.storage.rows.keys import mix

GHOSTS = 12
ENTRIES = WAYS + GHOSTS
HISTORY_WORDS = 32
HISTORY_BYTES = 2 * HISTORY_WORDS
CLASSES = 256
TRIALS_MAX = 64_000.0  # some 3,400 ticks: then trials count half, so that they fade

Histories = NDArray[np.uint16]
Odds = NDArray[np.float32]  # [3, CLASSES]: worth, trials, wins

WORTH, TRIALS, WINS = 0, 1, 2
_LEVEL_MAX = 255
_AGED_SETS = 512  # whose ages are looked at: a cache line each
_PRIOR_TRIALS = 10.0
_STEPS = np.clip(2 * np.log2(np.arange(1, 257)) - 1, 0, 15).astype(np.uint8)
_OLDER = 1 << 8


@inlined
def tag_of(hashed: np.uint64) -> int:
    """Bits of the hash that do not choose the set, but for very many sets."""
    return as_index(hashed & np.uint64(0xFFFF))


@inlined
def ask_for_histories(histories: Histories, home: int) -> None:
    """Of a set and the next; the one past the end is harmless."""
    address = np.uint64(histories.ctypes.data) + np.uint64(home * HISTORY_BYTES)
    prefetch(address)
    prefetch(address + np.uint64(HISTORY_BYTES))


@inlined
def class_of(state: int) -> int:
    return as_index(_STEPS[state & 0xFF]) << 4 | as_index(_STEPS[state >> 8])


@inlined
def asked_again(state: int) -> int:
    """The state of a key that is asked for now."""
    return min((state & 0xFF) + 1, _LEVEL_MAX)


@inlined
def tick(histories: Histories, at: int, touched: int, tag: int, odds: Odds) -> int:
    """Let one insertion's time pass in a set, and learn from it.

    Args:
        touched: a bit for every way that was asked for since the last tick.
        tag: of the key to be inserted.

    Returns:
        Its ghost (7..18), or -1; its state tells the present request already.
    """
    found = -1
    for entry in range(ENTRIES):
        state = as_index(histories[at, entry])
        if state == 0:
            continue
        if entry < WAYS:
            is_asked = (touched >> entry) & 1
        else:
            is_asked = as_index(histories[at, entry + GHOSTS] == tag)
            found = entry if is_asked else found
        number = class_of(state)
        odds[TRIALS, number] += np.float32(1)
        if is_asked:
            odds[WINS, number] += np.float32(1)
            histories[at, entry] = asked_again(state)
        elif state >> 8 < _LEVEL_MAX:
            histories[at, entry] = state + _OLDER
    return found


@inlined
def worth_of(state: int, is_touched: int, odds: Odds) -> np.float32:
    """Of a way; one with nothing in it is worth least."""
    if state == 0:
        return np.float32(-1)
    worth: np.float32 = odds[WORTH, class_of(asked_again(state) if is_touched else state)]
    return worth


@inlined
def remember(histories: Histories, at: int, tag: int, state: int, odds: Odds) -> None:
    """Keep a ghost, in place of the one worth least."""
    ghost, least = WAYS, np.float32(2)
    for entry in range(WAYS, ENTRIES):
        worth = worth_of(as_index(histories[at, entry]), 0, odds)
        if worth < least:
            ghost, least = entry, worth
    histories[at, ghost] = state
    histories[at, ghost + GHOSTS] = tag


@inlined
def cheapest(lines: Lines, histories: Histories, odds: Odds, home: int) -> tuple[int, np.float32]:
    """The slot worth least in a set and the one after, and its worth; the first of equals."""
    slot, least, at = -1, np.float32(2), home
    for _ in range(2):
        touched = touched_ways(line_of(lines, at))
        for way in range(WAYS):
            worth = worth_of(as_index(histories[at, way]), (touched >> way) & 1, odds)
            if worth < least:
                slot, least = at * WAYS + way, worth
        at = set_after(at, lines.shape[0])
    return slot, least


@inlined
def admit(lines: Lines, histories: Histories, odds: Odds, key: np.uint64) -> int:
    """The slot a new key gets in a cache, or -1; keeps the histories."""
    sets, hashed = lines.shape[0], mix(key)
    home, tag = home_of(hashed, sets), tag_of(hashed)
    touched = touched_ways(line_of(lines, home))
    clear_touched(line_of(lines, home), touched)
    ghost = tick(histories, home, touched, tag, odds)
    state = as_index(histories[home, ghost]) if ghost >= 0 else 1
    slot, least = cheapest(lines, histories, odds, home)
    if least > worth_of(state, 0, odds):
        if ghost < 0:
            remember(histories, home, tag, state, odds)
        return -1
    if ghost >= 0:
        histories[home, ghost] = 0
    at, way = slot // WAYS, slot % WAYS
    before = as_index(histories[at, way])
    if before:
        hashed = mix(lines[at, way])
        remember(histories, home_of(hashed, sets), tag_of(hashed), before, odds)
    histories[at, way] = state
    clear_touched(line_of(lines, at), 1 << way)
    return slot


@inlined
def prior_worth(number: int) -> np.float32:
    asked, age = 2.0 ** ((number >> 4) / 2), 2.0 ** ((number & 15) / 2)
    return np.float32(min(1.0, asked / (4 * (age + 4))))


@kernel("void(float32[:, ::1])")
def revise(odds: Odds) -> None:
    """Set what the classes are worth, if there were enough trials since that was last done.

    A class without trials is worth as much as hyperbolic caching would say: times asked by age.
    """
    if odds[TRIALS].sum() < TRIALS_MAX:
        return
    for number in range(CLASSES):
        prior = np.float32(_PRIOR_TRIALS) * prior_worth(number)
        trials = odds[TRIALS, number] + np.float32(_PRIOR_TRIALS)
        odds[WORTH, number] = (odds[WINS, number] + prior) / trials
        odds[TRIALS, number] /= np.float32(2)
        odds[WINS, number] /= np.float32(2)


def fresh_odds() -> Odds:
    """What is known before any trial."""
    odds = np.zeros((3, CLASSES), dtype=np.float32)
    odds[WORTH] = [prior_worth(number) for number in range(CLASSES)]
    return odds


def median_age(histories: Histories) -> int:
    """Rows offered to all sets since the median row held was last asked for, about.

    Looks at some sets only, as they were at their last tick. 0 if nothing is held, or without
    histories; an age of 255 ticks stands for any higher one.
    """
    some = histories[:: max(1, len(histories) // _AGED_SETS), :WAYS]
    held = some[some > 0]
    return int(np.median(held >> 8)) * len(histories) if held.size else 0
