"""W3C trace context: whose trace a request belongs to, taken along and handed back.

The daemon records no spans of its own, so it starts no trace either: a request without a valid
`traceparent` has none. A valid one is given back with the response, `tracestate` with it, and its
trace id stands in every log line about the request. What is invalid is as good as absent, as the
recommendation demands; and a `tracestate` says nothing without its `traceparent`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from multidict import MultiMapping, istr

PARENT_HEADER = istr("traceparent")
STATE_HEADER = istr("tracestate")
STATE_CHARS_MAX = 4096  # vendors must take along 512 at least
_PARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{1,200})?",
    re.ASCII,
)
_STATE = re.compile(rf"[ -~\t]{{1,{STATE_CHARS_MAX}}}")


class Trace(NamedTuple):
    """A caller's place in a trace.

    Args:
        id: of the trace, 32 hexadecimal digits.
        parent: the `traceparent` as it came.
        state: the `tracestate`, "" when there was none.
    """

    id: str
    parent: str
    state: str

    def headers(self) -> dict[str, str]:
        """What goes back with the response."""
        if not self.state:
            return {PARENT_HEADER: self.parent}
        return {PARENT_HEADER: self.parent, STATE_HEADER: self.state}


def read_trace(headers: MultiMapping[str]) -> Trace | None:
    """The trace that an HTTP request belongs to, if it names a valid one."""
    if PARENT_HEADER not in headers:  # the usual case
        return None
    return parse_trace(headers.getall(PARENT_HEADER), headers.getall(STATE_HEADER, ()))


def parse_trace(parents: Sequence[str], states: Sequence[str]) -> Trace | None:
    """The trace that these values of the two headers name, if they are valid."""
    match = _PARENT.fullmatch(parents[0]) if len(parents) == 1 else None
    if match is None or (match[2] and parents[0].startswith("00")):
        return None  # version 00 has four fields; later ones may have more
    state = ",".join(states)
    return Trace(match[1], parents[0], state if _STATE.fullmatch(state) else "")
