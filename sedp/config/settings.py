"""Every key of the config file: its type, default, limits, and when to change it.

The decoder, the error messages and the JSON Schema are all made from these types, so nothing
about a key is written anywhere else. The docstrings and descriptions are what an editor shows.
In each section the keys of *behaviour* (what callers see) come before those of *performance*
(how fast they see it).
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sedp.config.pipeline_settings import Name, PipelineSettings, Section
from sedp.config.units import (
    GIB,
    HOUR,
    KIB,
    MIB,
    MILLISECOND,
    MINUTE,
    SECOND,
    TIB,
    TextForm,
    byte_count,
    duration,
)


class Address(msgspec.Struct, frozen=True):
    """A TCP address to listen on; `host` is `localhost` or a loopback IP, without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`127.0.0.1:8000`, `localhost:8000` or `[::1]:8000`; port 0 takes any free one.

    Raises:
        ValueError: not of that form, or an address that other machines can reach.
    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65_535:
        raise ValueError(f"{text!r} is no address; write host:port like 127.0.0.1:8000")
    host = match[1] or match[2]
    if host != "localhost" and not _is_loopback(host):
        raise ValueError(
            f"{text!r} can be reached from other machines, and there is no authentication yet; "
            f"write 127.0.0.1:{match[3]} and put a proxy that checks callers in front"
        )
    return Address(host, int(match[3]))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


ADDRESS = TextForm(
    "address",
    "an address like 127.0.0.1:8000",
    r"^(localhost|127\.[0-9.]+|\[::1\]):[0-9]{1,5}$",
    parse_address,
    str,
    Address,
)


class DaemonSettings(Section, frozen=True, kw_only=True):
    """The serving process: where it listens and what one connection may cost."""

    # Behaviour
    listen: Annotated[Address, ADDRESS.meta("Where inference requests arrive; loopback only.")] = (
        Address("127.0.0.1", 8000)
    )
    admin: Annotated[Address, ADDRESS.meta("Where health and metrics are served.")] = Address(
        "127.0.0.1", 8001
    )
    body_bytes_max: Annotated[
        int,
        byte_count(KIB, GIB, "Largest request body. Raise it when requests are refused with 413."),
    ] = 16 * MIB
    tensors_max: Annotated[
        int, Meta(ge=1, le=1024, description="Most input or output tensors in one request.")
    ] = 64
    body_timeout_ns: Annotated[
        int,
        duration(100 * MILLISECOND, HOUR, "How long a caller may take to send a request's body."),
    ] = msgspec.field(default=10 * SECOND, name="body_timeout")
    keepalive_timeout_ns: Annotated[
        int,
        duration(
            SECOND,
            HOUR,
            "How long an idle connection stays open. Keep it above that of a proxy in front.",
        ),
    ] = msgspec.field(default=75 * SECOND, name="keepalive_timeout")
    drain_ns: Annotated[
        int,
        duration(0, 10 * MINUTE, "After SIGTERM, how long events in flight may take to finish."),
    ] = msgspec.field(default=10 * SECOND, name="drain")

    # Performance
    connections_max: Annotated[
        int, Meta(ge=1, le=65_536, description="Most connections open at once.")
    ] = 1024
    threads: Annotated[
        Annotated[int, Meta(ge=1, le=1024)] | Literal["auto"],
        Meta(description="Cores to use; auto takes what cpuset and CPU quota grant."),
    ] = "auto"


class MissSettings(Section, frozen=True, kw_only=True):
    """What becomes of keys that neither RAM nor LMDB has."""

    mode: Annotated[
        Literal["wait", "fill", "default"],
        Meta(
            description="wait for RocksDB; fill: answer by the default row and bring the row into "
            "RAM behind it; default: answer by the default row, and no more."
        ),
    ] = "wait"
    above: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="For fill: it waits, too, until so great a share of the keys is answered "
            "by RAM and LMDB.",
        ),
    ] = 0.95


class TableSettings(Section, frozen=True, kw_only=True):
    """How one table of the store is served."""

    misses: Annotated[
        MissSettings, Meta(description="What becomes of keys that neither RAM nor LMDB has.")
    ] = msgspec.field(default_factory=MissSettings)


class StoreSettings(Section, frozen=True, kw_only=True):
    """The parameter store that stages look embeddings up in."""

    # Behaviour
    path: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=4096,
            description="Folder of the store; a relative path starts at this file's folder.",
        ),
    ]
    mode: Annotated[
        Literal["follow", "write"],
        Meta(
            description="follow serves what other processes import and update, any number of "
            "daemons at once; write keeps them out, and moves rows into an LMDB of limited size."
        ),
    ] = "follow"
    tables: Annotated[
        dict[Name, TableSettings],
        Meta(max_length=512, description="Tables that are not served like all others, by name."),
    ] = msgspec.field(default_factory=dict)
    access_log: Annotated[
        bool,
        Meta(
            description="Record a sample of the look-ups for `sedp store advise`; up to 16 MiB of "
            "memory a table."
        ),
    ] = False

    # Performance
    ram: Annotated[
        int,
        byte_count(MIB, TIB, "Bytes for the hottest rows. Raise it when the RAM hit ratio is low."),
    ] = 64 * MIB
    lmdb: Annotated[
        int,
        byte_count(
            MIB,
            TIB,
            "Bytes that one table version may take in LMDB when the daemon copies it there; with "
            "mode write the rows most asked for move in. An import has --lmdb.",
        ),
    ] = TIB


class FileSettings(Section, frozen=True, kw_only=True):
    """A config file of SEDP."""

    api_version: Annotated[Literal["sedp/v1"], Meta(description="Version of this file's grammar.")]
    daemon: Annotated[DaemonSettings, Meta(description="The serving process.")] = msgspec.field(
        default_factory=DaemonSettings
    )
    store: Annotated[
        StoreSettings | None, Meta(description="The parameter store, where a stage needs one.")
    ] = None
    pipelines: Annotated[
        dict[Name, PipelineSettings],
        Meta(min_length=1, max_length=64, description="Pipelines by name."),
    ]
