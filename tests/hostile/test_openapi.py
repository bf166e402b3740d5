"""The interface as docs/openapi.yaml describes it, tried by Schemathesis (`SEDP_OPENAPI=2000`).

Examples, border values, random data good and bad, and sequences of calls: no 5xx but the planned
ones, no status, content type, header or body that is not described, no wrong body accepted.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.hostile.campaign import watched
from tests.hostile.case import Report
from tests.hostile.counts import count
from tests.hostile.served import ROOT, Served, serve, serve_naively

COUNT = count("OPENAPI", 52)
# Border values take some hundred cases whatever the count.
BORDER_CASES = 1_000
OPERATIONS = {"data": 15, "admin": 16}
EXAMPLE = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1.0, 2.5]}]}
# A description cannot say which of the well-formed requests a pipeline takes.
UNCHECKED = "positive_data_acceptance,ignored_auth,ensure_resource_availability,use_after_free"
CHECKS = """\
[checks.not_a_server_error]
expected-statuses = ["2xx", "4xx", 503, 504]
"""


def described() -> dict[str, Any]:
    """The description, with names that are there more often than not."""
    description: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())
    components = description["components"]
    components["schemas"]["Name"]["enum"] = ["double", "strings", "absent"]
    components["parameters"]["ModelVersion"]["schema"] = {"type": "string", "enum": ["1", "2"]}
    inference = components["requestBodies"]["Inference"]["content"]["application/json"]
    inference["example"] = EXAMPLE
    return description


def try_out(served: Served, tag: str, cases: int, *options: str) -> tuple[int, str]:
    """Run Schemathesis over the operations of one plane: (cases, what it found)."""
    (served.folder / "openapi.yaml").write_text(yaml.safe_dump(described()))
    (served.folder / "schemathesis.toml").write_text(CHECKS)
    host, port = served.data if tag == "data" else served.admin
    phases = "examples,fuzzing,stateful" if cases < BORDER_CASES else "coverage,fuzzing,stateful"
    command = [
        *(str(Path(sys.executable).parent / "schemathesis"), "run", "openapi.yaml"),
        *("--url", f"http://{host}:{port}", "--include-tag", tag, "--phases", phases),
        *("--max-examples", str(max(1, cases // OPERATIONS[tag])), "--exclude-checks", UNCHECKED),
        *("--continue-on-failure", "--no-color", "--warnings", "off", "--seed", "1"),
        *("--suppress-health-check", "all", *options),
    ]
    done = subprocess.run(command, cwd=served.folder, capture_output=True, text=True, check=False)
    found = re.search(r"^\s+([\d,]+) generated", done.stdout, re.MULTILINE)
    assert found is not None, done.stdout + done.stderr
    return int(found[1].replace(",", "")), "" if done.returncode == 0 else done.stdout[-10_000:]


def test_every_answer_is_as_described(tmp_path: Path) -> None:
    report = Report()
    with serve(tmp_path) as served, watched(served, report):
        # The data plane first: the admin plane can unload what it serves.
        tried = {tag: try_out(served, tag, COUNT // 2) for tag in OPERATIONS}
    for _, found in tried.values():
        assert not found, found
    assert not report.findings, report
    least = COUNT if COUNT >= 2 * BORDER_CASES else sum(OPERATIONS.values())
    assert sum(cases for cases, _ in tried.values()) >= least


def test_answers_that_are_not_as_described_are_found(tmp_path: Path) -> None:
    with serve_naively(tmp_path) as naive:
        _, found = try_out(naive, "data", 60, "--include-operation-id", "infer")
    assert "Server error" in found
    assert "Undocumented Content-Type" in found or "Response violates schema" in found


def test_every_route_is_described(served: Served) -> None:
    """The other way round: what the source of the description names is all there is."""
    paths = set(described()["paths"])
    routes = {
        path.replace("{name}", "{table}" if "/store/" in path else "{model_name}")
        for path in _routes_told(served)
    }
    assert routes - {"/", "/v2", "/v2/", "/v2/health/live", "/v2/health/ready"} <= paths


def _routes_told(served: Served) -> list[str]:
    """The admin plane names its routes in the text of a 404."""
    import urllib3

    host, port = served.admin
    response = urllib3.request("GET", f"http://{host}:{port}/nothing", retries=False)
    told: str = response.json()["error"]
    return told.split("there are: ")[1].split(", ")
