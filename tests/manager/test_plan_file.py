"""The plan file: what is written is read, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.engine.graph import StagePlan
from sedp.errors import ConfigError
from sedp.manager.cost_model import Cost
from sedp.manager.plan_file import (
    FILE_BYTES_MAX,
    PipelineEntry,
    PlanFile,
    parse_plan,
    render_plan,
    stage_entry,
)

STAGE = stage_entry(StagePlan(4, 512, 0, 2048), "thread", Cost(5e6, 20_000.0, 0.1, 512.0))
PLAN = PlanFile(
    "2026-11-22T12:00:00Z", 2.0, {"rank": PipelineEntry(1024, {"s": STAGE})}, {"ram": 1 << 30}
)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=20)
PLANS = st.builds(
    StagePlan,
    st.integers(1, 256),
    st.integers(1, 1 << 20),
    st.integers(0, 10**10),
    st.integers(1, 1 << 24),
)


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, PLANS, max_size=4), max_size=4))
def test_what_is_written_is_read(pipelines: dict[str, dict[str, StagePlan]]) -> None:
    entries = {
        name: PipelineEntry(8, {key: stage_entry(plan, "auto", None) for key, plan in part.items()})
        for name, part in pipelines.items()
    }
    plan = PlanFile("now", 2.0, entries)
    read = parse_plan(render_plan(plan), "plan.yaml")
    assert read == plan
    for name, part in pipelines.items():
        assert {key: s.plan for key, s in read.pipelines[name].stages.items()} == part


def test_costs_come_back_for_stages_that_ran() -> None:
    read = parse_plan(render_plan(PLAN), "plan.yaml")
    assert read.costs == {("rank", "s"): Cost(5e6, 20_000.0, 0.1, 512.0)}
    assert STAGE.plan == StagePlan(4, 512, 0, 2048)
    assert stage_entry(StagePlan(), "auto", None).cost is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("concurrency: 4", "concurrency: 0", "pipeline 'rank', stage 's': concurrency 0: Expected"),
        ("concurrency: 4", "concurency: 4", "stage 's': Object .*`concur"),
        ("batch_rows_max: 512", "batch_rows_max: many", "batch_rows_max 'many': Expected `int`"),
        ("executor: thread", "executor: process", "executor 'process': Expected `str` matching"),
        ("in_flight_max: 1024", "in_flight_max: 0", "pipeline 'rank': in_flight_max 0: Expected"),
        ("cores: 2.0", "cores: -1", "whole file: cores -1: Expected"),
        ("format: 1", "format: 9", "format 9 must be 1"),
        ("pipelines:", "pipelines: [", "no YAML"),
    ],
)
def test_wrong_file_is_refused_with_place_value_and_mend(old: str, new: str, words: str) -> None:
    text = render_plan(PLAN).decode()
    assert old in text
    with pytest.raises(ConfigError, match=rf"(?s)plan file plan.yaml.*{words}.*delete the file"):
        parse_plan(text.replace(old, new).encode(), "plan.yaml")


def test_huge_file_is_refused_unread() -> None:
    with pytest.raises(ConfigError, match="more than"):
        parse_plan(b" " * (FILE_BYTES_MAX + 1), "plan.yaml")


@pytest.mark.parametrize("text", [b"", b"[]", b"a", b"pipelines: 3", b"&a [*a]", b"\xff\xfe"])
def test_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(ConfigError, match=r"plan file plan\.yaml"):
        parse_plan(text, "plan.yaml")
