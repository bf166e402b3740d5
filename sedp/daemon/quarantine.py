"""Requests that fail whenever they are run, and are run no more.

Clients and proxies repeat what failed, and a request that makes a stage raise is tried event by
event each time. After a few failures its body is remembered by a digest, and it is refused unrun.
A run that takes longer than its stage may counts as a failure of all requests in it, since nobody
knows whose fault it was; so does a failure that a fallback stood in for. A digest is forgotten some
time after its last failure, since what made it fail may be mended; one that is answered by all
stages that were tried is forgotten at once.

While most requests fail it is not these that are to blame: then no failure counts.

Each worker counts for itself: of several workers each tries a request so often.

While nothing has failed no body is hashed.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from sedp.answer import Unanswered
from sedp.engine.events import Outcome

FAILURES_MAX = 3  # runs; then it is refused
DIGESTS_MAX = 4096  # those that failed last
KEPT_NS = 60_000_000_000  # since the last failure
DIGEST_BYTES = 16
OUTAGE_SHARE = 0.5  # of the latest requests failed
_WEIGHT = 1 / 32  # of one of them


class Quarantine:
    """What failed lately, of one pipeline.

    Args:
        refused: requests that were not run, counted from the start.
    """

    __slots__ = ("_failures", "_share", "refused")

    def __init__(self) -> None:
        self.refused = 0
        self._share = 0.0  # of the latest requests, those that failed
        self._failures: OrderedDict[bytes, tuple[int, int]] = OrderedDict()  # count, when last

    def __len__(self) -> int:
        return len(self._failures)

    def check(self, body: bytes, now_ns: int) -> bytes | None:
        """Refuse a request that has failed too often.

        Returns:
            What `answered` is to be told; `None` when nothing has failed.

        Raises:
            Unanswered: as quarantined.
        """
        if not self._failures:  # the usual case
            return None
        self._forget(now_ns)
        digest = _digest(body)
        count, _ = self._failures.get(digest, (0, 0))
        if count >= FAILURES_MAX:
            self.refused += 1
            raise Unanswered(Outcome.QUARANTINED, "")
        return digest

    def failed(self, body: bytes, now_ns: int) -> None:
        """Remember that a request failed, unless most do."""
        self._share += _WEIGHT * (1 - self._share)
        if self._share >= OUTAGE_SHARE:
            return
        self._forget(now_ns)
        digest = _digest(body)
        count, _ = self._failures.pop(digest, (0, 0))
        self._failures[digest] = count + 1, now_ns
        if len(self._failures) > DIGESTS_MAX:
            self._failures.popitem(last=False)

    def answered(self, digest: bytes | None) -> None:
        """Forget a request's failures: it does not always fail."""
        self._share -= _WEIGHT * self._share
        if digest is not None:
            self._failures.pop(digest, None)

    def _forget(self, now_ns: int) -> None:
        """Drop those that have not failed for a while; they are in the order of their failures."""
        while self._failures:
            digest, (_, failed_ns) = next(iter(self._failures.items()))
            if now_ns - failed_ns < KEPT_NS:
                return
            del self._failures[digest]


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest()
