"""One attack, what may come of it, and what is never allowed to."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from tests.hostile.responses import Response
from tests.hostile.served import ROOT

PLANNED = frozenset({503, 504, 507})  # 5xx that say: not now
FINDINGS_KEPT_MAX = 20
SENT_SHOWN_BYTES = 300

_LEAKS = re.compile(
    rb"Traceback|site-packages|File \\?\"|\.py\b|\b0x[0-9a-f]{6,}|object at|secret|"
    + b"|".join(re.escape(f"{path}/".encode()) for path in (ROOT, sys.prefix, sys.base_prefix))
)


class Must(StrEnum):
    """What the protocol demands; most attacks may be taken or refused, but nothing else."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    EITHER = "either"


class Case(NamedTuple):
    """One request.

    Args:
        kind: of attack, for the report.
        sent: the whole request, as bytes.
        check: what is wrong with a 200; "" when nothing is.
    """

    kind: str
    sent: bytes
    must: Must = Must.EITHER
    check: Callable[[Response], str] | None = None


@dataclass
class Report:
    """What came of a suite; `findings` must be empty.

    Args:
        statuses: of all responses.
        kinds: of all cases, with how they ended.
    """

    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    kinds: Counter[tuple[str, int]] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)
    figures: dict[str, float] = field(default_factory=dict)

    def find(self, what: str, case: Case | None = None, detail: object = "") -> None:
        """Write down what must not be; only the first ones with all they have."""
        self.found[what] += 1
        if len(self.findings) < FINDINGS_KEPT_MAX:
            sent = "" if case is None else f" [{case.kind}] {case.sent[:SENT_SHOWN_BYTES]!r}"
            self.findings.append(f"{what}: {detail}{sent}")

    def judge(self, case: Case, response: Response, *, to_head: bool = False) -> None:
        """Look at one response; that to HEAD has no body."""
        self.statuses[response.status] += 1
        self.kinds[case.kind, response.status] += 1
        if response.status >= 500 and response.status not in PLANNED:
            self.find("5xx", case, response)
        if response.status >= 400:
            if leak := leaked(response, case.sent):
                self.find("leak", case, leak)
            if not to_head and (fault := error_fault(response)):
                self.find("error body", case, fault)
            if case.must is Must.ACCEPT:
                self.find("refused", case, response)
        elif case.must is Must.REFUSE:
            self.find("accepted", case, response)
        elif case.check is not None and (fault := case.check(response)):
            self.find("wrong answer", case, fault)


def leaked(response: Response, sent: bytes) -> str:
    """What a body tells of our inside; the caller's own words are no secret."""
    for found in _LEAKS.finditer(response.body):
        if found[0] not in sent and found[0] not in unquote_to_bytes(sent):
            return repr(response.body[max(0, found.start() - 40) : found.end() + 40])
    return ""


def error_fault(response: Response) -> str:
    """How an error differs from `{"error": text}` in JSON."""
    if response.header("content-type") != "application/json":
        return f"content type {response.header('content-type')!r}"
    try:
        body = json.loads(response.body)
    except ValueError as err:
        return f"{err}: {response.body[:80]!r}"
    if not (isinstance(body, dict) and body.keys() == {"error"} and isinstance(body["error"], str)):
        return repr(response.body[:80])
    return ""
