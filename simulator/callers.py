"""Callers who ask again: the part of the traffic that depends on the answers.

The naive ones come back after a fixed pause, however many others do the same at that moment: what
keeps a system down after the reason is gone (metastable failure). The patient ones wait as long as
they were told, a little longer each by chance, and give up after a few tries.

Prior art: Bronson et al., Metastable Failures in Distributed Systems (HotOS 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sedp.engine.events import Outcome
from sedp.simulator.arrival import Arrival

ASK_AGAIN = frozenset(
    {
        Outcome.QUEUE_FULL,
        Outcome.SHED,
        Outcome.DRAINING,
        Outcome.UNAVAILABLE,
        Outcome.DEADLINE,
        Outcome.CANCELLED,  # the caller's patience ran out, not the wish
    }
)


class Callers(Protocol):
    """Port of traffic that reacts."""

    def asked(self, event: int, arrival: Arrival) -> None:
        """`arrival` has become `event`."""

    def ended(self, now_ns: int, event: int, outcome: Outcome) -> Arrival | None:
        """What the caller does now: asks (again) at a time ≥ `now_ns`, or nothing."""


@dataclass(frozen=True, slots=True)
class RetryHabit:
    """How somebody who was refused or left waiting behaves.

    Args:
        pause_ns: ≥ 1, from the bad news to the next try; of those who honour `Retry-After`, that.
        gives_up_ns: after the first try; no try is made later. Bounds the number of tries.
        jitter: the pause is lengthened by a random part of it, up to this many times; ≥ 0.
        tries_max: ≥ 1, the first one included; `None` is as many as the time allows.
    """

    pause_ns: int
    gives_up_ns: int
    jitter: float = 0.0
    tries_max: int | None = None

    def __post_init__(self) -> None:
        assert self.pause_ns >= 1, "callers who ask again at once would stop the virtual clock"


@dataclass(frozen=True, slots=True)
class RetryCount:
    """What came of the calls; a call is one arrival and all its retries.

    Args:
        answered: calls that were answered, at the first try or later.
        lost: calls that were given up, or failed.
        retries: tries beyond the first.
    """

    answered: int
    lost: int
    retries: int


class Retriers:
    """Callers of one habit; implements `Callers`. Holds only those who wait for an answer.

    Args:
        rng: dice for the jitter.
    """

    def __init__(self, habit: RetryHabit, rng: np.random.Generator) -> None:
        self._habit = habit
        self._rng = rng
        self._inside: dict[int, Arrival] = {}
        self._answered = self._lost = self._retries = 0

    def asked(self, event: int, arrival: Arrival) -> None:
        self._inside[event] = arrival
        self._retries += arrival.retries > 0

    def ended(self, now_ns: int, event: int, outcome: Outcome) -> Arrival | None:
        arrival = self._inside.pop(event)
        again_ns = now_ns + self._pause_ns()
        if outcome in ASK_AGAIN and self._wants_to_ask(arrival, again_ns):
            return arrival.again_at(again_ns)
        if outcome is Outcome.ANSWERED:
            self._answered += 1
        else:
            self._lost += 1
        return None

    def count(self) -> RetryCount:
        return RetryCount(self._answered, self._lost, self._retries)

    def _pause_ns(self) -> int:
        pause_ns, jitter = self._habit.pause_ns, self._habit.jitter
        return pause_ns + int(pause_ns * jitter * self._rng.random()) if jitter else pause_ns

    def _wants_to_ask(self, arrival: Arrival, again_ns: int) -> bool:
        tries_max = self._habit.tries_max
        if tries_max is not None and arrival.retries + 1 >= tries_max:
            return False
        return again_ns - arrival.began_ns <= self._habit.gives_up_ns
