"""What becomes of keys that neither RAM nor LMDB has: wait for RocksDB, or answer now.

A rule `fill` answers with the default row at once while the hit ratio is above a threshold, and
brings the rows into RAM behind the answer, as NVIDIA's HPS does; below it, as after a start, it
waits, because too many answers would be defaults. A rule `default` never waits nor fills.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

from sedp.errors import StoreError

MISS_MODES = ("wait", "fill", "default")
_WEIGHT = 0.02  # of the latest batch in the running hit ratio


@dataclass(frozen=True, slots=True)
class MissRule:
    """How a table treats keys that only RocksDB can answer.

    Args:
        mode: "wait" for RocksDB; "fill" the row in behind a default; or answer by "default".
        above: for "fill", the hit ratio of RAM and LMDB from which on it does not wait, 0..1.

    Raises:
        StoreError: one of these is out of bounds.
    """

    mode: Literal["wait", "fill", "default"] = "wait"
    above: float = 0.95

    def __post_init__(self) -> None:
        if self.mode not in MISS_MODES:
            raise StoreError(f"miss mode {self.mode!r} is not one of {', '.join(MISS_MODES)}")
        if not 0 <= self.above <= 1:
            raise StoreError(f"miss threshold {self.above} must be 0..1, a hit ratio")


WAIT = MissRule()


@dataclass(frozen=True, slots=True)
class MissStatistics:
    """Args:
    waited: keys that waited for RocksDB.
    deferred: keys answered by default without asking: their rows may exist.
    withheld: of them, those that RocksDB was found to have a row of when it was asked behind the
        answer; each once a batch. With "default" nobody asks, so nobody knows.
    hit_ratio: running mean over the latest batches, of RAM and LMDB together, keys that are known
        to have no row among the hits; kept for "fill".
    """

    waited: int
    deferred: int
    withheld: int
    hit_ratio: float


class MissPolicy:
    """A rule, and what it needs to know of the traffic; safe for threads."""

    def __init__(self, rule: MissRule = WAIT) -> None:
        self.rule = rule
        self._lock = threading.Lock()
        self._waited = self._deferred = self._withheld = 0
        self._hit_ratio = 0.0

    def waits(self, asked: int, missed: int) -> bool:
        """Whether a batch of `asked` keys waits for the `missed` ones among them."""
        with self._lock:
            self._hit_ratio += _WEIGHT * (1 - missed / asked - self._hit_ratio)
            is_warm = self._hit_ratio >= self.rule.above
            waits = self.rule.mode == "wait" or (self.rule.mode == "fill" and not is_warm)
            if waits:
                self._waited += missed
            else:
                self._deferred += missed
            return waits

    def all_hit(self) -> None:
        """A batch was answered without asking RocksDB."""
        if self.rule.mode == "fill":
            with self._lock:
                self._hit_ratio += _WEIGHT * (1 - self._hit_ratio)

    def filled(self, rows: int) -> None:
        """So many keys that were answered by default have rows, in RAM by now."""
        with self._lock:
            self._withheld += rows

    @property
    def fills(self) -> bool:
        """Whether keys that did not wait are brought into RAM behind the answer."""
        return self.rule.mode == "fill"

    def statistics(self) -> MissStatistics:
        """A frozen snapshot."""
        with self._lock:
            return MissStatistics(self._waited, self._deferred, self._withheld, self._hit_ratio)
