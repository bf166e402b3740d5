"""The RAM tier's cache in plain Python: the same rules over lists, one key at a time."""

from __future__ import annotations

import math
from collections import Counter

WAYS, GHOSTS = 7, 12
MASK = (1 << 64) - 1
State = tuple[int, int]  # times asked, age in ticks


def mixed(key: int) -> int:
    word = (key ^ (key >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & MASK
    return word ^ (word >> 31)


def step(level: int) -> int:
    """Half octaves."""
    return 0 if level == 0 else min(int(2 * math.log2(level + 1)) - 1, 15)


def class_of(state: State) -> int:
    return step(state[0]) * 16 + step(state[1])


def asked_again(state: State) -> State:
    return min(state[0] + 1, 255), 0


class Set:
    """Seven ways and twelve ghosts. A key of None is empty, of "" vacated."""

    def __init__(self) -> None:
        self.keys: list[int | str | None] = [None] * WAYS
        self.ways: list[State | None] = [None] * WAYS
        self.touched = [False] * WAYS
        self.tags = [0] * GHOSTS
        self.ghosts: list[State | None] = [None] * GHOSTS


class Twin:
    """A cache of sets.

    Args:
        worth: of each of the 256 classes.
    """

    def __init__(self, sets: int, worth: list[float]) -> None:
        self.sets = [Set() for _ in range(sets)]
        self.worth = worth
        self.trials, self.wins = Counter[int](), Counter[int]()

    def homes(self, key: int) -> tuple[Set, Set]:
        home = (mixed(key) >> 32) * len(self.sets) >> 32
        return self.sets[home], self.sets[(home + 1) % len(self.sets)]

    def find(self, key: int) -> tuple[Set, int] | None:
        for one in self.homes(key):
            if key in one.keys:
                return one, one.keys.index(key)
            if one.keys[-1] is None:
                return None
        return None

    def held(self) -> int:
        return sum(isinstance(key, int) for one in self.sets for key in one.keys)

    def get(self, key: int) -> bool:
        found = self.find(key)
        if found:
            found[0].touched[found[1]] = True
        return found is not None

    def forget(self, key: int) -> None:
        found = self.find(key)
        if found:
            one, way = found
            one.keys[way], one.ways[way] = "", None

    def put(self, key: int) -> None:
        if self.find(key):
            return
        home, tag = self.homes(key)[0], mixed(key) & 0xFFFF
        ghost = self.tick(home, tag)
        state = (1, 0) if ghost is None else home.ghosts[ghost]
        assert state
        one, way = self.cheapest(key)
        if self.worth_of(one.ways[way], one.touched[way]) > self.worth[class_of(state)]:
            if ghost is None:
                self.remember(home, tag, state)
            return
        if ghost is not None:
            home.ghosts[ghost] = None
        old, old_state = one.keys[way], one.ways[way]
        if isinstance(old, int) and old_state:
            self.remember(self.homes(old)[0], mixed(old) & 0xFFFF, old_state)
        one.keys[way], one.ways[way], one.touched[way] = key, state, False

    def tick(self, one: Set, tag: int) -> int | None:
        found = None
        asked = one.touched + [one_tag == tag for one_tag in one.tags]
        for at, state in enumerate(one.ways + one.ghosts):
            if state is None:
                continue
            self.trials[class_of(state)] += 1
            self.wins[class_of(state)] += asked[at]
            new = asked_again(state) if asked[at] else (state[0], min(state[1] + 1, 255))
            if at < WAYS:
                one.ways[at] = new
            else:
                one.ghosts[at - WAYS] = new
                found = at - WAYS if asked[at] else found
        one.touched = [False] * WAYS
        return found

    def worth_of(self, state: State | None, is_touched: bool = False) -> float:
        if state is None:
            return -1.0
        return self.worth[class_of(asked_again(state) if is_touched else state)]

    def cheapest(self, key: int) -> tuple[Set, int]:
        places = [(one, way) for one in self.homes(key) for way in range(WAYS)]
        return min(
            places,
            key=lambda place: self.worth_of(place[0].ways[place[1]], place[0].touched[place[1]]),
        )

    def remember(self, one: Set, tag: int, state: State) -> None:
        ghost = min(range(GHOSTS), key=lambda at: self.worth_of(one.ghosts[at]))
        one.ghosts[ghost], one.tags[ghost] = state, tag
