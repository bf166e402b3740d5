"""What supervisor and worker say to each other.

A question is answered by one `Done` or one `Failed`; a notice by nothing. Both sides are always of
the same version, because a worker is started from the supervisor's own installation.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from sedp import errors


class Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Anything that is said."""


# Supervisor to worker -----------------------------------------------------------------------


class Begin(Message, frozen=True):
    """Open everything, and serve. Answered once the worker is ready.

    Args:
        path: of the config file, absolute.
        config: what is to be served, as the file was when the supervisor last read it.
        workers: how many share cores and memory budgets; none of them writes the store.
        unloaded: pipelines that are not to be served.
        frozen: whether the knobs are to be left where they are.
    """

    path: str
    config: bytes
    workers: int
    unloaded: tuple[str, ...] = ()
    frozen: bool = False


class Prepare(Message, frozen=True):
    """First phase of a reload. Answered by the changes, a line each."""

    config: bytes


class Commit(Message, frozen=True):
    """Second phase: serve by what was prepared."""


class Abort(Message, frozen=True):
    """Close what was prepared; nothing when nothing was."""


class Load(Message, frozen=True):
    """Serve a pipeline, or open it anew."""

    name: str


class Unload(Message, frozen=True):
    """Stop serving a pipeline."""

    name: str


class Index(Message, frozen=True):
    """Answered by the pipelines' states."""


class Tuning(Message, frozen=True):
    """Answered by what the worker does about its knobs, with so many of its last moves."""

    moves_max: int


class Freeze(Message, frozen=True):
    """Move no knob, or move them again."""

    frozen: bool


class FeedBack(Message, frozen=True):
    """Users have acted: answers kept for them are old. Answered by how many stages were told.

    Args:
        users: uint64 each.
    """

    pipeline: str
    users: bytes


class Tell(Message, frozen=True):
    """Answered by the worker's own statistics."""


class Retire(Message, frozen=True):
    """Make room for a successor: accept no more, end with the last connection.

    Answered when the worker is about to exit, by its last statistics.
    """


class Stop(Message, frozen=True):
    """Drain and exit. Answered when the worker is about to exit, by the events it cut off."""


# Worker to supervisor -------------------------------------------------------------------------


class Gather(Message, frozen=True):
    """Answered by the statistics of all workers together."""


class Beat(Message, frozen=True):
    """A notice: the worker's event loop turns."""


class LeaveAsked(Message, frozen=True):
    """A notice: somebody sent the worker SIGTERM."""


# Answers --------------------------------------------------------------------------------------


class Done(Message, frozen=True):
    """It is done; what the question asked for, msgpack."""

    result: msgspec.Raw = msgspec.Raw(b"\xc0")


class Failed(Message, frozen=True):
    """It is not done.

    Args:
        kind: name of the exception's class, for those that are meant to be shown.
    """

    kind: str
    text: str
    status: int = 500
    headers: Mapping[str, str] = {}

    @classmethod
    def of(cls, err: errors.SedpError) -> Failed:
        if isinstance(err, errors.RequestError):
            return cls("RequestError", str(err), err.status, dict(err.headers))
        return cls(type(err).__name__, str(err))

    def error(self) -> errors.SedpError:
        """The exception again, or its base where only the other side knows its class."""
        if self.kind == "RequestError":
            return errors.RequestError(self.text, self.status, self.headers)
        kind = getattr(errors, self.kind, errors.SedpError)
        assert issubclass(kind, errors.SedpError)
        return kind(self.text)


Question = (
    Begin
    | Prepare
    | Commit
    | Abort
    | Load
    | Unload
    | Index
    | Tuning
    | Freeze
    | FeedBack
    | Tell
    | Retire
    | Stop
    | Gather
    | Beat
    | LeaveAsked
)
Answer = Done | Failed


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """One message on its way.

    Args:
        number: of the question, which its answer repeats; 0 for a notice.
    """

    number: int
    message: Question | Answer
