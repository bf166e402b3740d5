"""Our own parsers, given anything (`SEDP_PARSERS=100000` runs each; with coverage by atheris).

Where atheris is not installed, or for some hundred runs, input comes from Hypothesis: good input
with parts cut out, put in, doubled or flipped. What failed once is kept in `parser_failures`.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.counts import count
from tests.hostile.parser import Parse
from tests.hostile.parsers import PARSERS
from tests.hostile.served import HERE, ROOT

RUNS = count("PARSERS", 100)
USUAL_MAX = 5_000  # Hypothesis remembers every example
FAILURES = sorted((HERE / "parser_failures").glob("*/*"))
HURRIED = settings(
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.large_base_example,
        HealthCheck.data_too_large,
    ],
)
SPARE_S = 60 if RUNS <= USUAL_MAX else 36_000


@st.composite
def broken(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A seed with some places changed, or anything at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.integers(0, 9)))
        put = draw(
            st.binary(max_size=4)
            | st.sampled_from([b"[" * 3_000, b"9" * 5_000, b"\0" * 9, b"\xff" * 9, data[:stop]])
        )
        data = data[:start] + put + data[stop:]
    return data


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.timeout(SPARE_S)
def test_a_parser_takes_or_refuses_anything(name: str, tmp_path: Path) -> None:
    parse = PARSERS[name].make(tmp_path)
    for seed in PARSERS[name].seeds:
        parse(seed)
    if RUNS <= USUAL_MAX:
        run_by_hypothesis(parse, PARSERS[name].seeds)
    elif importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: pip install 'sedp[fuzz]'")
    else:
        run_by_coverage(name, tmp_path)


def run_by_hypothesis(parse: Parse, seeds: tuple[bytes, ...]) -> None:
    @given(broken(seeds))
    @settings(HURRIED, max_examples=RUNS)
    def run(data: bytes) -> None:
        parse(data)

    run()


def run_by_coverage(name: str, folder: Path) -> None:
    command = [sys.executable, "-m", "tests.hostile.fuzz", name, str(folder), str(RUNS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    told = done.stderr.decode(errors="replace")
    assert done.returncode == 0, told[-5_000:]
    assert f"Done {RUNS} runs" in told, told[-2_000:]


@pytest.mark.parametrize("path", FAILURES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_failed_once_is_refused_now(path: Path, tmp_path: Path) -> None:
    PARSERS[path.parent.name].make(tmp_path)(path.read_bytes())


def test_a_parser_with_a_fault_is_found() -> None:
    """The control: one that lets another error through than it should."""
    with pytest.raises((ValueError, RecursionError)):
        run_by_hypothesis(json.loads, (b'{"inputs": [1, 2.5, "a"]}',))
