"""Lines of an audit log: bounded, readable, and none of them changed unseen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.cli.main import group
from sedp.daemon.access.audit import AuditLog
from sedp.daemon.access.audit_chain import (
    RECORD_BYTES_MAX,
    START,
    BrokenChain,
    Record,
    read_line,
    verify,
    write_line,
)

from .audit_log import OPERATOR, check, write

Fault = Callable[[list[bytes]], list[bytes]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (lambda lines: [lines[0].replace(b"one", b"ONE"), *lines[1:]], 2),
        (lambda lines: [lines[0], *lines[2:]], 2),
        (lambda lines: lines[1:], 1),
        (lambda lines: [lines[1], lines[0], *lines[2:]], 1),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], 3),
        (lambda lines: [*lines[:2], b"not a record", *lines[2:]], 3),
        (lambda lines: [lines[0] + b" ", *lines[1:]], 2),
        (lambda lines: [*lines[:-1], lines[-1][:-9]], 4),
    ],
    ids=["changed", "taken out", "first gone", "moved", "twice", "put in", "blank", "cut"],
)
def test_the_first_line_that_does_not_fit_is_named(fault: Fault, line: int, file: Path) -> None:
    write(file, "one", "two", "three", "four")
    lines = file.read_bytes().splitlines()
    assert check(file).records == 4
    with pytest.raises(BrokenChain, match=f"^line {line}:"):
        verify(fault(lines))


@settings(max_examples=30)
@given(texts=st.lists(st.text(st.characters(), max_size=1000), min_size=5, max_size=5))
def test_whatever_is_recorded_is_one_bounded_line_that_can_be_read(texts: list[str]) -> None:
    caller, tenant, action, detail, outcome = texts
    line = write_line(Record("2026", caller, tenant, action, detail, outcome, START))
    assert len(line) <= RECORD_BYTES_MAX
    assert b"\n" not in line
    assert read_line(line) is not None


def test_the_longest_texts_fit() -> None:
    worst = "\x00" * 100_000
    assert (
        len(write_line(Record("2026", worst, worst, worst, worst, worst, START)))
        <= RECORD_BYTES_MAX
    )


@given(st.binary(max_size=200))
def test_no_bytes_make_reading_fail(line: bytes) -> None:
    assert read_line(line) is None


def run(*files: Path) -> tuple[int, str]:
    result = CliRunner().invoke(group, ["audit", "verify", *map(str, files)])
    return result.exit_code, result.stdout + str(result.exception or "")


def test_the_command_follows_rotated_files_and_names_the_broken_line(file: Path) -> None:
    log, old = AuditLog(file), file.with_suffix(".1")
    log.record(OPERATOR, "reload", "a", "done")
    file.rename(old)
    log.record(OPERATOR, "reload", "b", "done")
    code, out = run(old, file)
    assert code == 0
    assert out.splitlines()[0] == f"{old}: 1 records; head {check(old).head}"
    code, out = run(file, old)
    assert code == 1
    assert f"{old}: line 1: the line before was changed" in out
    log.record(OPERATOR, "reload", "c", "done")
    file.write_bytes(file.read_bytes().replace(b'"b"', b'"B"'))
    code, out = run(file)
    assert code == 1
    assert f"{file}: line 3: line 2 was changed" in out
