"""How many bytes of requests a process may hold at once, all connections together.

Counting events does not bound memory: a thousand bodies of 16 MiB are inside long before a queue
is full. So whoever holds bytes takes them from an account first and gives them back at the end. A
pipeline that is tuned has an account of its own within that of the process, which measures what its
requests take, and for how long.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from sedp.errors import RequestError

RETRY_AFTER_S_MAX = 3


class InFlightBytes:
    """One account, for all planes of a process.

    Args:
        bytes_max: may be replaced while serving.
    """

    __slots__ = ("_parts", "bytes_max", "held", "refused")

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.held = 0
        self.refused = 0
        self._parts: dict[str, PipelineBytes] = {}

    def of(self, pipeline: str) -> InFlightBytes:
        """The account that bytes of a pipeline's requests are taken from, and given back to."""
        return self._parts.get(pipeline, self)

    def divide(self, pipelines: Iterable[str]) -> None:
        """Give these pipelines accounts of their own, and no others; what is held stays held."""
        self._parts = {
            name: self._parts.get(name) or PipelineBytes(name, self) for name in pipelines
        }

    def parts(self) -> Iterator[PipelineBytes]:
        """The accounts of pipelines."""
        return iter(self._parts.values())

    def take(self, count: int) -> None:
        """Take bytes of a request.

        Raises:
            RequestError: 503 with Retry-After; nothing was taken.
        """
        if self.held + count > self.bytes_max:
            self._refuse("too many bytes are in flight")
        self.held += count

    def give_back(self, count: int) -> None:
        """All that was taken for a request."""
        self.held -= count
        assert self.held >= 0, "more bytes were given back than taken"

    def _refuse(self, why: str) -> NoReturn:
        self.refused += 1
        raise RequestError(
            f"{why}; try again after the seconds in Retry-After",
            503,
            {"Retry-After": str(random.randint(1, RETRY_AFTER_S_MAX))},
        )


@dataclass(frozen=True, slots=True)
class BytesStatistics:
    """`held` and `bytes_max` are levels, the rest counts from the start.

    Args:
        refused, requests: refused for their bytes; that have ended.
        request_bytes: of all that have ended.
        stay_ns: of all bytes, added up: each from being taken to being given back.
        largest: bytes of one request so far, let in or not.
    """

    held: int
    bytes_max: int
    refused: int
    requests: int
    request_bytes: int
    stay_ns: int
    largest: int


class PipelineBytes(InFlightBytes):
    """The account of one pipeline, within that of the process.

    A request that finds nobody inside is let in whatever its size: a bound that is too tight may
    make callers come again, but shuts none out.
    """

    __slots__ = (
        "_largest",
        "_looked_ns",
        "_request_bytes",
        "_requests",
        "_stay_ns",
        "_whole",
        "name",
    )

    def __init__(self, name: str, whole: InFlightBytes) -> None:
        super().__init__(whole.bytes_max)
        self.name = name
        self._whole = whole
        self._requests = self._request_bytes = self._stay_ns = self._largest = 0
        self._looked_ns = time.monotonic_ns()

    def take(self, count: int) -> None:
        if self.held and self.held + count > self.bytes_max:
            self._largest = max(self._largest, count)
            self._refuse(f"too many bytes of requests to pipeline {self.name!r} are in flight")
        self._whole.take(count)
        self._pass_time()
        self.held += count

    def give_back(self, count: int) -> None:
        self._pass_time()
        super().give_back(count)
        self._whole.give_back(count)
        self._requests += 1
        self._request_bytes += count
        self._largest = max(self._largest, count)

    def statistics(self) -> BytesStatistics:
        self._pass_time()
        return BytesStatistics(
            self.held,
            self.bytes_max,
            self.refused,
            self._requests,
            self._request_bytes,
            self._stay_ns,
            self._largest,
        )

    def _pass_time(self) -> None:
        now_ns = time.monotonic_ns()
        self._stay_ns += self.held * (now_ns - self._looked_ns)
        self._looked_ns = now_ns
