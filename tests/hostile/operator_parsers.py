"""The parsers of what operators write, and processes among themselves."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import struct
from pathlib import Path
from typing import Any

import msgspec

from tests.config.good import GOOD
from tests.hostile.parser import Parse, Parser

KEYS = """\
keys:
  0123abcd:
    sha256: "{hash}"
    tenant: a
    scopes: [infer]
    created: "2026-01-31T00:00:00Z"
    expires: "2027-01-31"
    note: x
certificates:
  "a.example":
    tenant: b
    scopes: [admin, update]
"""
SECRET = "0" * 40


def _key_ring(folder: Path) -> Any:
    from sedp.daemon.access.keys import hash_secret, read_keys

    path = folder / "keys.yaml"
    path.touch(0o600)
    path.write_text(KEYS.format(hash=hash_secret(SECRET)))
    return read_keys(path)


def api_key(folder: Path) -> Parse:
    from sedp.daemon.access.guard import NOBODY, Guard, Rules
    from sedp.errors import RequestError

    guard = Guard(Rules(_key_ring(folder)))

    def parse(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        with contextlib.suppress(RequestError):
            caller = guard.identify({"Authorization": text}, NOBODY)
            assert text.split(" ")[-1] == f"sedp_0123abcd_{SECRET}", caller

    return parse


def key_file(folder: Path) -> Parse:
    from sedp.daemon.access.key_file import read_key_file
    from sedp.errors import ConfigError

    path = folder / "fuzzed.yaml"
    path.touch(0o600)

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        with contextlib.suppress(ConfigError):
            read_key_file(path)

    return parse


def config(folder: Path) -> Parse:
    from sedp.config.loading import load
    from sedp.errors import ConfigError

    path = folder / "fuzzed.yaml"

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        with contextlib.suppress(ConfigError):
            load(path, {"A": "a"})

    return parse


def stimulus_log(folder: Path) -> Parse:
    from sedp.engine.stimulus_log import RecordedRun
    from sedp.errors import ConfigError

    path = folder / "fuzzed.log"

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        with contextlib.suppress(ConfigError):
            for _ in RecordedRun.open(path).records():
                pass

    return parse


LOG_HEADER = (
    b'{"format":"sedp-stimulus-log/1","graph":{"pipelines":[],"stages":[]}}\n\x03\0\0\0\x93\x01\x02'
)


def audit_log(_folder: Path) -> Parse:
    from sedp.daemon.access.audit_chain import BrokenChain, split_lines, verify

    def parse(data: bytes) -> None:
        with contextlib.suppress(BrokenChain):
            verify(split_lines(io.BytesIO(data)))

    return parse


AUDIT_LINE = json.dumps(
    {
        "time": "2026-01-31T00:00:00Z",
        "caller": "",
        "tenant": "",
        "action": "daemon.reload",
        "detail": "",
        "outcome": "done",
        "prev": "0" * 64,
    },
    separators=(",", ":"),
).encode()


class _Deaf(asyncio.Transport):
    """A transport that goes nowhere."""

    closed = False

    def write(self, data: Any) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def control_frames(_folder: Path) -> Parse:
    from sedp.supervisor.channel import Channel

    async def answer(_question: Any) -> object:
        return None

    async def receive(data: bytes) -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        protocol = asyncio.StreamReaderProtocol(reader)
        writer = asyncio.StreamWriter(_Deaf(), protocol, reader, asyncio.get_running_loop())
        await Channel(reader, writer, answer).run()

    def parse(data: bytes) -> None:
        asyncio.run(receive(data))

    return parse


def framed(frame: Any) -> bytes:
    packed = msgspec.msgpack.encode(frame)
    return struct.pack(">I", len(packed)) + packed


OPERATOR_PARSERS = {
    "api key": Parser(api_key, (f"Bearer sedp_0123abcd_{SECRET}".encode(),)),
    "key file": Parser(key_file, (KEYS.format(hash="0" * 64).encode(),)),
    "config": Parser(config, (GOOD.encode(),)),
    "stimulus log": Parser(stimulus_log, (LOG_HEADER,)),
    "audit log": Parser(audit_log, (AUDIT_LINE + b"\n",)),
    "control frames": Parser(
        control_frames, (framed([1, ["Load", "a"]]), framed([1, ["Done", None]]))
    ),
}
