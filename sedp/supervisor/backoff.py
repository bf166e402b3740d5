"""How long to wait before a process that died is started again; pure."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_NS = 100_000_000
LONGEST_NS = 30_000_000_000
STABLE_NS = 1_000_000_000  # who served that long did not die of how it starts


@dataclass(slots=True)
class Backoff:
    """The waits of one place, doubling from death to death.

    Args:
        failures: deaths in a row that came soon after the start.
    """

    failures: int = 0

    def died(self, served_ns: int, dice: float) -> int:
        """Nanoseconds to wait now. The first death costs no wait: callers are waiting, too.

        Args:
            served_ns: how long it was ready, 0 when it never was.
            dice: 0 ≤ dice < 1, at random, so that places do not start in step.
        """
        if served_ns >= STABLE_NS:
            self.failures = 0
            return 0
        self.failures += 1
        longest_ns = min(FIRST_NS << min(self.failures - 1, 16), LONGEST_NS)
        return int(longest_ns * (1 + dice) / 2)
