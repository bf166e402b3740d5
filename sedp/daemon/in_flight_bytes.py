"""How many bytes of requests a process may hold at once, all connections together.

Counting events does not bound memory: a thousand bodies of 16 MiB are inside long before a queue
is full. So whoever holds bytes takes them from one account first and gives them back at the end.
"""

from __future__ import annotations

import random

from sedp.errors import RequestError

RETRY_AFTER_S_MAX = 3


class InFlightBytes:
    """One account, for all planes of a process.

    Args:
        bytes_max: may be replaced while serving.
    """

    __slots__ = ("bytes_max", "held", "refused")

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.held = 0
        self.refused = 0

    def take(self, count: int) -> None:
        """Take bytes of a request.

        Raises:
            RequestError: 503 with Retry-After; nothing was taken.
        """
        if self.held + count > self.bytes_max:
            self.refused += 1
            raise RequestError(
                "too many bytes are in flight; try again after the seconds in Retry-After",
                503,
                {"Retry-After": str(random.randint(1, RETRY_AFTER_S_MAX))},
            )
        self.held += count

    def give_back(self, count: int) -> None:
        self.held -= count
        assert self.held >= 0, "more bytes were given back than taken"
