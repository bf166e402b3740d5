"""Every key of the config file: its type, default, limits, and when to change it.

The decoder, the error messages and the JSON Schema are all made from these types, so nothing
about a key is written anywhere else. The docstrings and descriptions are what an editor shows.
In each section the keys of *behaviour* (what callers see) come before those of *performance*
(how fast they see it).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sedp.config.daemon_settings import DaemonSettings
from sedp.config.manager_settings import Sizes
from sedp.config.pipeline_settings import PipelineSettings
from sedp.config.section import Name, Section
from sedp.units import MIB, TIB, byte_count


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
    norm_max: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="Most that the Euclidean norm of a row may be that an update brings, with "
            "mode write; null is any."
        ),
    ] = None


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
        byte_count(
            0,
            TIB,
            "Bytes for the hottest rows, of all workers together. Raise it when the RAM hit ratio "
            "is low.",
        ),
    ] = 64 * MIB
    ram_bounds: Annotated[
        Sizes | None,
        Meta(
            description="Between which sizes tuning may move ram, as [least, most], by what a byte "
            "more or less brings; null leaves it where it is."
        ),
    ] = None
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
