"""Every error SEDP raises on purpose, split by who has to act.

A message names the thing, its value, the limit and the mend, in that order, so that the reader
needs no other log. Bugs of our own are `AssertionError`s and are never caught as `SedpError`.
"""

from __future__ import annotations

from collections.abc import Mapping


class SedpError(Exception):
    """Base of all deliberate errors."""


class ConfigError(SedpError):
    """The operator's YAML or command line is wrong; nothing was started."""


class RequestError(SedpError):
    """The caller's request is wrong; repeating it unchanged will fail again.

    Args:
        message: what is wrong and how to mend it; shown to the caller.
        status: HTTP status in 400..599.
        headers: to be sent along, as `Retry-After`.
    """

    def __init__(
        self, message: str, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


class StageError(SedpError):
    """A stage failed on its batch, or broke its contract; the stage's author has to act."""


class StoreError(SedpError):
    """The parameter store cannot do what was asked; the operator has to act."""


class CorruptionError(StoreError):
    """Stored bytes do not match their checksum."""
