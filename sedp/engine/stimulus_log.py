"""The stimulus log: every stimulus of a live run with its time, and what the core answered.

A fresh core fed with the log must give identical commands; that is how a live surprise becomes a
test case, and how the simulator stays honest. Format: a header line of JSON (format, graph), then
length-prefixed MessagePack records `[now_ns, stimulus, commands]`. Bounded: when `bytes_max` is
reached recording stops for good (a log with a hole could not be replayed) and says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from sedp.engine.events import AnyCommand, AnyStimulus
from sedp.engine.graph import Graph
from sedp.errors import ConfigError

FORMAT = "sedp-stimulus-log/1"
RECORD_BYTES_MAX = 1 << 24

log = logging.getLogger(__name__)

Record = tuple[int, AnyStimulus, list[AnyCommand]]


class Header(msgspec.Struct, frozen=True):
    """First line of a log."""

    format: str
    graph: Graph


class StimulusLog:
    """The writing side. Not thread-safe: one driver writes."""

    def __init__(self, path: Path, graph: Graph, bytes_max: int = 1 << 30) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._file: BinaryIO = path.open("wb")
        self._left_bytes = bytes_max
        self.full = False
        self._write(msgspec.json.encode(Header(FORMAT, graph)) + b"\n")

    def append(self, now_ns: int, stimulus: AnyStimulus, commands: list[AnyCommand]) -> None:
        """Record one step of the scheduler, unless the log is full."""
        record = self._encoder.encode((now_ns, stimulus, commands))
        self._write(len(record).to_bytes(4, "little") + record)

    def close(self) -> None:
        self._file.close()

    def _write(self, data: bytes) -> None:
        if self.full:
            return
        if len(data) > self._left_bytes:
            self.full = True
            log.warning("stimulus log %s is full; what follows is not recorded", self._file.name)
            return
        self._left_bytes -= len(data)
        self._file.write(data)


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """The reading side: the graph, and a way to go through the records once or more.

    Raises:
        ConfigError: the file is not a stimulus log of this format.
    """

    path: Path
    graph: Graph

    @classmethod
    def open(cls, path: Path) -> RecordedRun:
        try:
            with path.open("rb") as file:
                header = msgspec.json.decode(file.readline(RECORD_BYTES_MAX), type=Header)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as err:
            raise ConfigError(f"{path}: not a readable stimulus log: {err}") from err
        if header.format != FORMAT:
            raise ConfigError(f"{path}: format {header.format!r}; this version reads {FORMAT!r}")
        return cls(path, header.graph)

    def records(self) -> Iterator[Record]:
        """Records in order; a last record cut short by a crash is left out."""
        decoder = msgspec.msgpack.Decoder(Record)
        with self.path.open("rb") as file:
            file.readline(RECORD_BYTES_MAX)
            while len(prefix := file.read(4)) == 4:
                size = int.from_bytes(prefix, "little")
                data = file.read(min(size, RECORD_BYTES_MAX))
                if len(data) < size:
                    return
                try:
                    record = decoder.decode(data)
                except (msgspec.MsgspecError, UnicodeDecodeError) as err:
                    raise ConfigError(f"{self.path}: damaged record: {err}") from err
                yield record
