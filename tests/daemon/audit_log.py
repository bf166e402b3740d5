"""Writing and reading audit logs in tests."""

from __future__ import annotations

from pathlib import Path

from sedp.daemon.access.audit import AuditLog
from sedp.daemon.access.audit_chain import Chain, read_line, split_lines, verify
from sedp.daemon.access.caller import Caller, Scope

OPERATOR = Caller("0123abcd", "ops", frozenset({Scope.ADMIN}))


def write(file: Path, *details: str) -> None:
    log = AuditLog(file)
    for detail in details:
        log.record(OPERATOR, "reload", detail, "done")
    log.close()


def check(file: Path, after: str | None = None) -> Chain:
    with file.open("rb") as stream:
        return verify(split_lines(stream), after)


def details(file: Path) -> list[str]:
    records = [read_line(line) for line in file.read_bytes().splitlines()]
    return [record.detail for record in records if record and record.action == "reload"]
