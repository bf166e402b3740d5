from __future__ import annotations

import inspect
import re
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.config.addresses import ADDRESS, Address, parse_address
from sedp.config.daemon_settings import DaemonSettings
from sedp.config.manager_settings import (
    BoundsSettings,
    BreakerSettings,
    PrioritySettings,
    SloSettings,
    TuningSettings,
)
from sedp.config.pipeline_settings import BatchSettings, PipelineSettings, StageSettings
from sedp.config.security_settings import AuthSettings, TenantSettings, TlsSettings
from sedp.config.settings import (
    FileSettings,
    MissSettings,
    StoreSettings,
    TableSettings,
)
from sedp.engine.graph import StagePlan
from sedp.pipeline import Pipeline
from sedp.storage.opening import LMDB_BYTES_MAX
from sedp.storage.store import ParameterStore
from sedp.storage.tables.miss_policy import MISS_MODES, MissRule

SECTIONS = [
    FileSettings,
    DaemonSettings,
    TlsSettings,
    AuthSettings,
    TenantSettings,
    StoreSettings,
    TableSettings,
    MissSettings,
    PipelineSettings,
    StageSettings,
    BatchSettings,
    SloSettings,
    PrioritySettings,
    TuningSettings,
    BreakerSettings,
    BoundsSettings,
]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8000", Address("127.0.0.1", 8000)),
        ("127.9.9.9:1", Address("127.9.9.9", 1)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:65535", Address("::1", 65_535)),
        ("unix:/run/sedp.sock", Address(path="/run/sedp.sock")),
    ],
)
def test_local_addresses_are_read_and_written(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text
    assert address.is_local


@pytest.mark.parametrize("text", ["0.0.0.0:80", "10.0.0.1:80", "[::]:80", "example.org:80", "1:80"])
def test_addresses_that_others_reach_are_not_local(text: str) -> None:
    assert not parse_address(text).is_local
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "8000", ":8000", "127.0.0.1:65536", "::1:80", "a b:1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write host:port like 127.0.0.1:8000, or unix:/path"):
        parse_address(text)


def test_socket_paths_are_absolute_and_short_enough_for_the_system() -> None:
    longest = "unix:/" + "p" * 106
    assert str(parse_address(longest)) == longest
    with pytest.raises(ValueError, match="too long; the system takes 107 bytes"):
        parse_address(longest + "p")
    for text in ("unix:", "unix:run.sock", "unix:/", "unix:/run/", "unix:/a\0b"):
        with pytest.raises(ValueError, match="write an absolute one"):
            parse_address(text)


@given(st.text(max_size=30) | st.text(max_size=20).map("unix:/{}".format))
def test_what_the_address_parser_reads_it_writes_again(text: str) -> None:
    try:
        address = parse_address(text)
    except ValueError as err:
        assert "; " in str(err)  # noqa: PT017 - a refusal is one of two good ends here
    else:
        assert parse_address(str(address)) == address
        assert re.search(ADDRESS.pattern, text)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_documented_and_its_default_fits_its_limits(section: Any) -> None:
    for field in msgspec.structs.fields(section):
        kind = msgspec.inspect.type_info(field.type)
        assert isinstance(kind, msgspec.inspect.Metadata), field.name
        assert kind.extra_json_schema is not None
        assert kind.extra_json_schema["description"].endswith("."), field.name
        if field.default is not msgspec.NODEFAULT:
            msgspec.convert(field.default, field.type)


@pytest.mark.parametrize("section", SECTIONS)
def test_times_and_bytes_carry_their_unit_inside_only(section: Any) -> None:
    for field in msgspec.structs.fields(section):
        assert not field.encode_name.endswith("_ns")


def test_defaults_are_those_of_the_engine() -> None:
    """The settings and the engine each hold defaults; they must not drift apart."""
    stage, batch = StageSettings(kind="x"), BatchSettings()
    assert StagePlan() == StagePlan(
        stage.concurrency, batch.rows_max, batch.wait_ns, stage.queue_rows_max
    )
    settings = PipelineSettings(inputs={}, outputs={}, stages={})
    pipeline = Pipeline("x", {}, {}, {}, ())
    assert settings.rows_max == pipeline.rows_max
    assert settings.in_flight_max == pipeline.in_flight_max
    assert settings.deadline_ns == pipeline.deadline_ns


def test_defaults_of_the_store_are_those_of_its_library() -> None:
    settings, misses = StoreSettings(path="x"), MissSettings()
    defaults = inspect.signature(ParameterStore.open).parameters
    assert settings.ram == defaults["ram_bytes"].default
    assert settings.lmdb == defaults["lmdb_bytes"].default == LMDB_BYTES_MAX
    assert MissRule() == MissRule(misses.mode, misses.above)
    assert set(get_args(get_type_hints(MissSettings)["mode"])) == set(MISS_MODES)


def test_default_addresses_are_loopback_and_differ() -> None:
    daemon = DaemonSettings()
    assert daemon.listen != daemon.admin
    assert {ADDRESS.parse(str(daemon.listen)).host, daemon.admin.host} == {"127.0.0.1"}
