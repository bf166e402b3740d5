"""Lines of an audit log, each sealed by the hash of the line before it.

A line that is changed, taken out, put in or moved breaks the chain at the next one. The chain has
no secret: who may write the file can write it anew as a whole, and can cut off its end. Keep the
head that `sedp audit verify` prints somewhere else to see that, too.

A file begins with `START`, or with a marker where the one before it was rotated away. A line that
was torn by a crash stays; a marker that holds its hash follows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

import msgspec

from sedp.errors import SedpError

START = "0" * 64
RECORD_BYTES_MAX = 16_384
BEGINNING = b'{"time":"'  # of every line
TORN = "audit.torn"
ROTATED = "audit.rotated"
_TEXT_CHARS_MAX = 400  # JSON writes up to 6 bytes a character: 5 × 400 × 6 fit into a record


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that was done, or was to be done.

    Args:
        time: UTC.
        caller: id of the API key or name of the certificate; "" when nobody asks.
        outcome: "begun", "done", or "failed: " and why.
        prev: SHA-256 of the line before, in hex.
    """

    time: str
    caller: str
    tenant: str
    action: str
    detail: str
    outcome: str
    prev: str


class BrokenChain(SedpError):
    """The log is not as it was written."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A log that is whole.

    Args:
        records: lines, but for torn ones.
        torn: lines that a crash cut short.
        first: what the first line names as the line before it.
        head: hash of the last line.
    """

    records: int = 0
    torn: int = 0
    first: str = START
    head: str = START


def seal(line: bytes) -> str:
    """What the next line names as the one before it."""
    return hashlib.sha256(line).hexdigest()


def write_line(record: Record) -> bytes:
    """JSON without line end, at most `RECORD_BYTES_MAX`; longer texts are cut."""
    texts = {key: _cut(value) for key, value in msgspec.structs.asdict(record).items()}
    return msgspec.json.encode(Record(**texts))


def read_line(line: bytes) -> Record | None:
    """The record, or `None` where the line is none."""
    try:
        return msgspec.json.decode(line, type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def verify(lines: Iterable[bytes], after: str | None = None) -> Chain:
    """Follow the chain through one file.

    Args:
        lines: without line ends.
        after: head of the file before, which the first line must name.

    Raises:
        BrokenChain: with the number of the first line that does not fit.
    """
    records = torn = 0
    first = head = START if after is None else after
    waiting = 0  # for a marker: the number of a line that is no record
    for number, line in enumerate(lines, start=1):
        record = read_line(line)
        if record is None:
            waiting = waiting or number
        else:
            if number == 1 and after is None and record.action == ROTATED:
                first = head = record.prev
            _check(record, number, head, waiting)
            records += 1
            torn += record.action == TORN
            waiting = 0
        head = seal(line)
    if waiting:
        raise BrokenChain(f"line {waiting}: cut short; the daemon marks it when it starts again")
    return Chain(records, torn, first, head)


def split_lines(stream: BinaryIO) -> Iterable[bytes]:
    """Lines of a log, none longer in memory than a record may be."""
    while line := stream.readline(RECORD_BYTES_MAX + 1):
        yield line.removesuffix(b"\n")


def _check(record: Record, number: int, head: str, waiting: int) -> None:
    if waiting and record.action != TORN:
        raise BrokenChain(f"line {waiting}: no record, and no mark of a crash after it")
    if record.prev != head:
        before = f"line {number - 1}" if number > 1 else "the line before"
        raise BrokenChain(f"line {number}: {before} was changed, added or taken out")


def _cut(text: str) -> str:
    shown = text if len(text) <= _TEXT_CHARS_MAX else f"{text[:_TEXT_CHARS_MAX]}…"
    return shown.encode("utf-8", "replace").decode()  # lone surrogates are no characters
