"""Ids of requests, for log lines and for callers who ask what became of theirs."""

from __future__ import annotations

import itertools
import secrets

LENGTH_MAX = 128


class RequestIds:
    """Makes ids that no other process makes."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8)
        self._numbers = itertools.count(1)

    def choose(self, theirs: str) -> str:
        """The caller's id when it is fit to be written into a log, else one of our own."""
        if theirs and len(theirs) <= LENGTH_MAX and theirs.isascii() and theirs.isprintable():
            return theirs
        return f"{self._prefix}-{next(self._numbers):x}"
