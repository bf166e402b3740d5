"""How long a request may take: the least of what its caller says and what its pipeline allows."""

from __future__ import annotations

import re

from multidict import istr

from sedp.errors import RequestError

TIMEOUT_HEADER = istr("X-Request-Timeout-Seconds")  # found faster than plain text
_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", re.ASCII)


def read_timeout(text: str | None) -> int | None:
    """Nanoseconds that the header's value stands for; `None` when it was not sent.

    Raises:
        RequestError: 400, no decimal number of seconds above zero.
    """
    if text is None:
        return None
    if not _SECONDS.fullmatch(text.strip(" \t")) or not float(text):
        raise RequestError(
            f"{TIMEOUT_HEADER}: {text[:40]!r} is no number of seconds above 0; write 0.25 or 2"
        )
    return max(1, round(float(text) * 1e9))


def least_timeout(pipeline_ns: int, asked_ns: int | None) -> int:
    """The shorter of the timeouts; `None` asks for nothing."""
    return pipeline_ns if asked_ns is None or asked_ns > pipeline_ns else asked_ns
