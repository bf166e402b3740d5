"""Refusing again what was refused a moment ago, from the bytes of its head alone.

Under overload most requests are refused, and reading each as if it would be served takes the time
that the others need. Clients send the same head again and again; one that the parser has read, and
that was refused before its body was looked at, means the same when it comes again byte for byte.
So it is looked up, not read: there is no second parser whose idea of a request could differ.

Whether there is still a reason to refuse is asked each time; an entry lives for a second, so a
caller whose key is withdrawn learns so.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from sedp.daemon.access.guard import Peer
from sedp.daemon.failures import refuse
from sedp.daemon.http.response import json_response
from sedp.daemon.request_ids import RequestIds
from sedp.engine.events import Outcome
from sedp.live import Unanswered

HEADS_MAX = 256
HEAD_BYTES_MAX = 4096
LIFE_S = 1.0
LINE_END = b"\r\n"
HEAD_END = LINE_END + LINE_END
SAYINGS = 16  # refusals of each kind in use; their Retry-After differs


class KnownHead(NamedTuple):
    """What the parser and the dispatcher made of a head.

    Args:
        body_bytes: that follow it.
        peer: of the connection it came on.
        request_id: the caller's; "" for a new one each time.
        reason: why such a request is not served now, if so; counts it.
        until_s: on the monotonic clock.
    """

    body_bytes: int
    peer: Peer
    request_id: str
    reason: Callable[[], Unanswered | None]
    until_s: float


class EarlyRefusals:
    """Heads refused in the last second.

    Args:
        responses: by status, to be counted in.
    """

    def __init__(self, responses: Counter[int], ids: RequestIds) -> None:
        self.heads: dict[bytes, KnownHead] = {}
        self._responses = responses
        self._ids = ids
        self._second = 0
        self._sayings: dict[tuple[Outcome, int], tuple[int, bytes, bytes]] = {}

    def learn(
        self,
        head: bytes,
        body_bytes: int,
        peer: Peer,
        request_id: str,
        reason: Callable[[], Unanswered | None],
    ) -> None:
        """Remember a head that was read and refused.

        Args:
            head: to its empty line.
            body_bytes: by its Content-Length; the caller makes sure that nothing else in the head
                says how a body is sent or when.
        """
        if len(head) > HEAD_BYTES_MAX:
            return
        if len(self.heads) >= HEADS_MAX:
            self.heads.clear()
        until_s = time.monotonic() + LIFE_S
        self.heads[head] = KnownHead(body_bytes, peer, request_id, reason, until_s)

    def answer(self, data: bytes, peer: Peer) -> bytes | None:
        """The whole response, when `data` is exactly one request that is to be refused.

        Args:
            data: what came on a connection that waits for the first byte of a request.
        """
        end = data.find(HEAD_END) + len(HEAD_END)
        head = data[:end]
        known = self.heads.get(head)
        if known is None or len(data) != end + known.body_bytes or known.peer != peer:
            return None
        if time.monotonic() > known.until_s:
            del self.heads[head]
            return None
        unanswered = known.reason()
        if unanswered is None:
            return None
        status, start, body = self._said(unanswered)
        self._responses[status] += 1
        request_id = known.request_id or self._ids.choose("")
        return b"%bX-Request-Id: %b\r\n\r\n%b" % (start, request_id.encode(), body)

    def _said(self, unanswered: Unanswered) -> tuple[int, bytes, bytes]:
        """Status, head without its end, and body of a refusal; made some times a second."""
        second = int(time.monotonic())
        if second != self._second:
            self._second = second
            self._sayings.clear()
        place = (unanswered.outcome, random.randrange(SAYINGS))
        said = self._sayings.get(place)
        if said is None:
            refusal = refuse(unanswered)
            response = json_response(refusal.status, {"error": refusal.text}, refusal.headers)
            said = (refusal.status, response.head()[: -len(LINE_END)], response.body)
            self._sayings[place] = said
        return said
