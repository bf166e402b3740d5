"""Refusing again what was refused a moment ago, from the bytes of its head alone.

Under overload most requests are refused, and reading each as if it would be served takes the time
that the others need. Clients send the same head again and again; one that the parser has read, and
that was refused before its body was looked at, means the same when it comes again byte for byte.
So it is looked up, not read: there is no second parser whose idea of a request could differ.

Where the reason depends on the request's level, which stands in its body, the first bytes of the
body have to be the same, too.

Whether there is still a reason to refuse is asked each time; an entry lives for a second, so a
caller whose key is withdrawn learns so.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from sedp.answer import Unanswered
from sedp.daemon.access.guard import Peer
from sedp.daemon.failures import refuse
from sedp.daemon.http.response import json_response
from sedp.daemon.request_ids import RequestIds
from sedp.engine.events import Outcome

HEADS_MAX = 256
OPENINGS_MAX = 64  # of one head
OPENING_BYTES_MAX = 4096
LIFE_S = 1.0
LINE_END = b"\r\n"
HEAD_END = LINE_END + LINE_END
SAYINGS = 16  # refusals of each kind in use; their Retry-After differs


Reason = Callable[[], Unanswered | None]  # why a request is not served now, if so; counts it


class KnownHead(NamedTuple):
    """What the parser and the dispatcher made of a head.

    Args:
        body_bytes: that follow it.
        peer: of the connection it came on.
        request_id: the caller's; "" for a new one each time.
        until_s: on the monotonic clock.
        told_bytes: at the beginning of a body, that say which reason holds.
        reasons: by these bytes.
    """

    body_bytes: int
    peer: Peer
    request_id: str
    until_s: float
    told_bytes: int
    reasons: dict[bytes, Reason]


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
        opening: bytes,
        told_bytes: int,
        body_bytes: int,
        peer: Peer,
        request_id: str,
        reason: Reason,
    ) -> None:
        """Remember a request that was read and refused.

        Args:
            opening: its head to the empty line, and the first `told_bytes` of its body.
            body_bytes: by its Content-Length; the caller makes sure that nothing else in the head
                says how a body is sent or when.
        """
        if len(opening) > OPENING_BYTES_MAX:
            return
        size = len(opening) - told_bytes
        head, told, now_s = opening[:size], opening[size:], time.monotonic()
        known = self.heads.get(head)
        if known is None or (known.told_bytes, known.peer) != (told_bytes, peer):
            known = None
        if known is None or known.until_s < now_s:
            if len(self.heads) >= HEADS_MAX:
                self.heads.clear()
            until_s = now_s + LIFE_S
            known = KnownHead(body_bytes, peer, request_id, until_s, told_bytes, {})
            self.heads[head] = known
        if len(known.reasons) < OPENINGS_MAX:
            known.reasons[told] = reason

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
        reason = known.reasons.get(data[end : end + known.told_bytes])
        unanswered = None if reason is None else reason()
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
