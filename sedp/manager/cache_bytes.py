"""How much RAM the store's caches get: more where look-ups get cheaper by it, else less.

What a byte is worth is the hit ratio that it brings times what a miss costs below; what it may cost
is said by bounds, and by the memory that the process has left. A window of look-ups tells, by small
caches that are fed a sample of it, the hit ratios at sizes around the present one. The caches grow
by a quarter while that makes the mean look-up cheaper by 2 %, and shrink by a fifth where it makes
it dearer by less than half a percent; between the two they stay, which is why a steady stream sees
no moves. To look a step ahead is enough: the more a cache has, the less another byte brings, even
with rows that are asked for in turn, as the RAM tier keeps some of them.

After a move one window is left for the caches to fill. The next one shows what came: what RAM
answered, against what the old size would have answered of the same look-ups. What brought next to
nothing of what was expected is taken back, and not tried again for a while; nor is a step down that
was missed afterwards, for a sample of few hot keys is not exact. All that is forgotten when the hit
ratio is no longer the same. Everything is deterministic, and time is passed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sedp.manager.moves import Came, Expected, Knob, Move, MoveLog, Verdict
from sedp.manager.observation import SECOND_NS

STEP = 1.25
CHEAPER_MIN = 0.02  # of the cost of a look-up that a step up must save
DEARER_MAX = 0.005  # of it that a step down may cost
WORTH = 0.25  # of what was expected must come
RESERVE_SHARE = 0.1  # of the memory the caches would take, and as much again, must be left
HIT_NS = 20.0  # of a key that RAM answers
MISS_NS = 150.0  # of one that it does not, until there were misses to tell
MISSES_MIN = 1000  # of a window, to tell what one costs
TURNS = 4  # look-ups of a window for each place of the caches
LOOKUPS_MIN = 20_000  # of a window
EVERY_NS = 10 * SECOND_NS  # between two looks, at least; a look costs some tenths of a second
PAUSE_NS_MAX = 160 * SECOND_NS  # between two looks that led to nothing
TABU_NS = 900 * SECOND_NS  # twice as long each time, up to
TABUS_MAX = 4
RATIO_MOVED = 0.02  # hit ratios that are so far apart are of different traffic, or sizes

KNOB: Knob = "ram_bytes"


@dataclass(frozen=True, slots=True)
class Counts:
    """Of the caches; see `places`, the rest counts from some start.

    Args:
        lookups: keys.
        hits: of them, answered by RAM.
        below_ns: what the tiers below take for the others.
        places: rows that there is room for now.
    """

    lookups: int = 0
    hits: int = 0
    below_ns: float = 0.0
    places: int = 0

    def since(self, before: Counts) -> Counts:
        return Counts(
            self.lookups - before.lookups,
            self.hits - before.hits,
            self.below_ns - before.below_ns,
            self.places,
        )

    @property
    def ratio(self) -> float:
        return self.hits / max(1, self.lookups)

    @property
    def misses(self) -> int:
        return self.lookups - self.hits


@dataclass(frozen=True, slots=True)
class CacheSeen:
    """At the end of a window.

    Args:
        now_ns: on the clock of all moves.
        ram_bytes: in force.
        ratios: hit ratios of the window by size, of the sizes asked for; none if it cannot be told.
        room_bytes: that the process may take besides what it has.
    """

    now_ns: int
    ram_bytes: int
    ratios: Mapping[int, float]
    room_bytes: int


@dataclass(frozen=True, slots=True)
class _Trial:
    move: Move
    bias: float  # of what RAM answered over what the sample told


class CacheBytes:
    """Decides for one store.

    Args:
        least, most: bytes of RAM between which it may move.
    """

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most
        self._before = Counts()
        self._before_ns = 0
        self._window = Counts()
        self._window_ns = 1
        self._is_filling = True  # at the start, and after a move
        self._trial: _Trial | None = None
        self._tabu_ns = {True: 0, False: 0}  # until when not to go up, or down
        self._tabus = 0
        self._gave_at = -1.0  # the hit ratio before the last step down, if none went up since
        self._pause_ns = EVERY_NS
        self._resting_ns = 0  # until when
        self._ratio = -1.0  # at the last look
        self._miss_ns = MISS_NS

    def is_due(self, now_ns: int, counts: Counts) -> bool:
        """Whether a window has ended that is worth a look; to be asked every second or so."""
        window = counts.since(self._before)
        is_anew = window.lookups < 0  # a version came or went, and counts from 0
        if not is_anew and window.lookups < max(LOOKUPS_MIN, TURNS * counts.places):
            return False
        self._window, self._window_ns = window, max(1, now_ns - self._before_ns)
        self._before, self._before_ns = counts, now_ns
        if window.misses >= MISSES_MIN:
            self._miss_ns = max(HIT_NS, window.below_ns / window.misses)
        was_filling, self._is_filling = self._is_filling, is_anew
        if is_anew or was_filling:
            return False
        is_long = self._pause_ns > EVERY_NS
        return now_ns >= self._resting_ns or (is_long and self._differs_from(self._ratio))

    def _differs_from(self, ratio: float) -> bool:
        return abs(self._window.ratio - ratio) > RATIO_MOVED

    def sizes(self, ram_bytes: int) -> list[int]:
        """The sizes around the present one whose hit ratios a look needs, ascending."""
        sizes = {self._smaller(ram_bytes), ram_bytes, self._larger(ram_bytes)}
        return sorted(sizes | ({int(self._trial.move.before)} if self._trial else set()))

    def step(self, seen: CacheSeen, log: MoveLog) -> Move | None:
        """The move to be made now, if any; it is in the log already."""
        if self._differs_from(self._ratio):
            self._tabus, self._tabu_ns = 0, {True: 0, False: 0}
        self._ratio = self._window.ratio
        if seen.ram_bytes not in seen.ratios:
            return None
        move = self._judge(seen, log) or self._decide(seen, log)
        if move is None:
            self._pause_ns = min(2 * self._pause_ns, PAUSE_NS_MAX)
        else:
            self._pause_ns, self._is_filling = EVERY_NS, True
            log.append(move)
        self._resting_ns = seen.now_ns + self._pause_ns
        return move

    def abandon(self) -> None:
        """What is being tried stays as it is, unjudged."""
        self._trial = None

    def refuse(self, move: Move, log: MoveLog) -> None:
        """A move could not be made: there was no memory for it."""
        self._trial = None
        self._forbid(int(move.after) > int(move.before), move.at_ns)
        log.conclude([move.number], Came(1.0, 0.0, 0, "reverted", self._window.ratio))

    # ------------------------------------------------------------------------------------------

    def _judge(self, seen: CacheSeen, log: MoveLog) -> Move | None:
        """What came of the last move; if that is too little, the move back."""
        trial, self._trial = self._trial, None
        if trial is None or (then := seen.ratios.get(int(trial.move.before))) is None:
            return None
        move, ratio = trial.move, self._window.ratio
        assert move.expected is not None
        gain = self._cost(then + trial.bias) / self._cost(ratio)
        verdict = self._verdict(move, gain)
        came = Came(round(gain, 3), 0.0, 0, verdict, round(ratio, 4))
        log.conclude([move.number], came)
        if verdict == "kept":
            return None
        self._forbid(int(move.after) > int(move.before), seen.now_ns)
        reason = f"move {move.number} brought a factor of {gain:.3f}, expected: "
        return self._move(seen, log, int(move.before), f"{reason}{move.expected.gain}", None)

    def _verdict(self, move: Move, gain: float) -> Verdict:
        assert move.expected is not None
        promised = move.expected.gain - 1
        if int(move.after) < int(move.before):
            return "kept" if gain >= 1 + min(0.0, promised) - CHEAPER_MIN else "reverted"
        return "kept" if gain - 1 >= WORTH * promised - DEARER_MAX else "reverted"

    def _decide(self, seen: CacheSeen, log: MoveLog) -> Move | None:
        smaller, larger = self._smaller(seen.ram_bytes), self._larger(seen.ram_bytes)
        if self._is_short(seen, seen.ram_bytes, 0):
            reason = "the process is short of memory"
            return self._try(seen, log, smaller, reason) if smaller < seen.ram_bytes else None
        if larger > seen.ram_bytes and self._may(True, seen):
            saved = self._saved(seen, larger)
            if saved >= CHEAPER_MIN and not self._is_short(seen, larger, larger):
                if not self._differs_from(self._gave_at):
                    self._forbid(False, seen.now_ns)
                self._gave_at = -1.0
                text = f"a step up makes look-ups cheaper by {saved:.1%}"
                return self._try(seen, log, larger, text)
            if saved >= CHEAPER_MIN:
                return None
        if smaller < seen.ram_bytes and self._may(False, seen):
            dearer = -self._saved(seen, smaller)
            if dearer <= DEARER_MAX:
                self._gave_at = self._window.ratio
                text = f"a step down makes look-ups dearer by {max(0.0, dearer):.1%}"
                return self._try(seen, log, smaller, text)
        return None

    def _forbid(self, is_up: bool, now_ns: int) -> None:
        self._tabu_ns[is_up] = now_ns + (TABU_NS << self._tabus)
        self._tabus = min(self._tabus + 1, TABUS_MAX)

    def _may(self, is_up: bool, seen: CacheSeen) -> bool:
        return seen.now_ns >= self._tabu_ns[is_up]

    def _is_short(self, seen: CacheSeen, ram_bytes: int, copied: int) -> bool:
        """Whether too little memory would be left with caches of a size, after or in a copy."""
        return seen.room_bytes - copied < RESERVE_SHARE * ram_bytes

    def _try(self, seen: CacheSeen, log: MoveLog, after: int, reason: str) -> Move:
        gain = 1 / (1 - self._saved(seen, after))
        bias = self._window.ratio - seen.ratios[seen.ram_bytes]
        ratio = min(1.0, max(0.0, seen.ratios[after] + bias))
        expected = Expected(round(gain, 3), 0.0, 0, round(ratio, 4))
        move = self._move(seen, log, after, reason, expected)
        self._trial = _Trial(move, bias)
        return move

    def _move(
        self, seen: CacheSeen, log: MoveLog, after: int, reason: str, expected: Expected | None
    ) -> Move:
        saw = {
            "hit_ratio": round(self._window.ratio, 4),
            "lookups_s": round(self._window.lookups * SECOND_NS / self._window_ns),
            "miss_ns": round(self._miss_ns),
            "room_bytes": seen.room_bytes,
        }
        number, before = log.total + 1, seen.ram_bytes
        return Move(number, seen.now_ns, "", "", KNOB, before, after, saw, reason, expected)

    def _smaller(self, ram_bytes: int) -> int:
        return max(self._least, round(ram_bytes / STEP))

    def _larger(self, ram_bytes: int) -> int:
        return min(self._most, round(ram_bytes * STEP))

    def _cost(self, ratio: float) -> float:
        """Of a look-up, in ns."""
        return HIT_NS + (1 - min(1.0, ratio)) * self._miss_ns

    def _saved(self, seen: CacheSeen, size: int) -> float:
        """The share of what a look-up costs now that it would cost less with this size."""
        return 1 - self._cost(seen.ratios[size]) / self._cost(seen.ratios[seen.ram_bytes])
