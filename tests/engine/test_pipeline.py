"""Compiling: the order follows the columns, and what does not fit is refused at its place."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping

import pytest

from sedp.columns import Array, Batch, ColumnSpec, Level, TensorSpec
from sedp.engine.graph import PipelineNode, StagePlan
from sedp.pipeline import (
    REQUEST,
    Pipeline,
    StageUse,
    compile_graph,
    compile_pipeline,
)
from sedp.pipeline_checks import PipelineError, nearest
from sedp.stage import Params, Stage


class Declared(Stage):
    """A stage that is nothing but its declarations; a type of `None` accepts any."""

    def __init__(self, reads: Mapping[str, str | None], writes: Mapping[str, ColumnSpec]) -> None:
        super().__init__(Params())
        self.reads, self.writes = reads, writes

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {name: column(text) if text else None for name, text in self.reads.items()}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return self.writes

    def process(self, batch: Batch) -> Mapping[str, Array]:
        raise AssertionError("nothing runs here")


class Choosy(Declared):
    """Refuses its inputs as a stage may."""

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        raise ValueError("dim 7 must be 8; set dim: 8")


def column(text: str) -> ColumnSpec:
    return TensorSpec.parse(text).column


def use(reads: str, writes: str, after: tuple[str, ...] = ()) -> StageUse:
    """A stage by the names it reads and writes; each column is INT64[n], the reader not choosy."""
    made = {name: column("INT64[n]") for name in writes.split()}
    return StageUse(Declared(dict.fromkeys(reads.split()), made), after=after)


def compiled(uses: Mapping[str, StageUse], outputs: str, **texts: str) -> Pipeline:
    """Compile over the inputs `user` and `item`; outputs are INT64[n] unless told otherwise."""
    inputs = {"user": TensorSpec.parse("INT64[1]"), "item": TensorSpec.parse("INT64[n]")}
    wanted = {name: TensorSpec.parse(texts.get(name, "INT64[n]")) for name in outputs.split()}
    return compile_pipeline("shop", inputs, wanted, uses)


def refusal(uses: Mapping[str, StageUse], outputs: str, **texts: str) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        compiled(uses, outputs, **texts)
    return caught.value


def edges(pipeline: Pipeline) -> dict[str, set[str]]:
    names = [stage.name for stage in pipeline.stages]
    return {s.name: {names[earlier] for earlier in s.predecessors} for s in pipeline.stages}


DIAMOND = {
    "fetch": use("user item", "features"),
    "embed": use("features item", "vectors"),
    "cross": use("features", "crosses"),
    "score": use("vectors crosses", "score"),
    "rank": use("score", "rank"),
}


def test_the_order_follows_the_columns_whatever_the_order_written() -> None:
    for order in itertools.permutations(DIAMOND):
        pipeline = compiled({name: DIAMOND[name] for name in order}, "rank")
        assert edges(pipeline) == {
            "fetch": set(),
            "embed": {"fetch"},
            "cross": {"fetch"},
            "score": {"embed", "cross"},
            "rank": {"score"},
        }
        for position, stage in enumerate(pipeline.stages):
            assert all(earlier < position for earlier in stage.predecessors)
            assert list(stage.predecessors) == sorted(set(stage.predecessors))


def test_every_column_is_bound_to_the_stage_that_provides_it() -> None:
    pipeline = compiled(DIAMOND, "rank score")
    fetch, embed, cross, score, rank = pipeline.stages
    assert fetch.sources == {"user": REQUEST, "item": REQUEST}
    assert embed.sources == {"features": 0, "item": REQUEST}
    assert score.sources == {"vectors": 1, "crosses": 2}
    assert (cross.sources, rank.sources) == ({"features": 0}, {"score": 3})
    assert pipeline.output_sources == {"rank": 4, "score": 3}
    assert fetch.inputs == {"user": column("INT64[1]"), "item": column("INT64[n]")}
    assert fetch.provides == {"features": column("INT64[n]")}


def test_after_orders_stages_that_share_no_column() -> None:
    """Also when the later one is written first; and what others wait for is no dead end."""
    pipeline = compiled(
        {"score": use("item", "score", after=("warn",)), "warn": use("user", "warned")}, "score"
    )
    assert edges(pipeline) == {"warn": set(), "score": {"warn"}}


def test_after_a_stage_that_also_provides_a_column_is_one_edge() -> None:
    pipeline = compiled(
        {"fetch": use("item", "a"), "score": use("a", "score", after=("fetch",))}, "score"
    )
    assert pipeline.stages[1].predecessors == (0,)


def test_after_an_unknown_stage_names_the_nearest() -> None:
    error = refusal({"fetch": use("item", "a"), "rank": use("a", "b", after=("fecth",))}, "b")
    assert error.at == ("stages", "rank", "after")
    assert "comes after 'fecth'" in str(error)
    assert "did you mean 'fetch'?" in str(error)


def test_a_missing_column_names_the_nearest() -> None:
    error = refusal({"fetch": use("item usr", "a")}, "a")
    assert error.at == ("stages", "fetch")
    assert "stage 'fetch' reads column 'usr'" in str(error)
    assert "did you mean 'user'?; there are: item, user" in str(error)


def test_a_missing_column_names_the_nearest_though_other_stages_wait_too() -> None:
    """The usual case: a slip in the first stage leaves all those behind it waiting."""
    error = refusal({"fetch": use("usr", "a"), "score": use("a", "b")}, "b")
    assert error.at == ("stages", "fetch")
    assert "did you mean 'user'?" in str(error)


def test_a_stage_cannot_read_what_only_it_provides() -> None:
    error = refusal({"loop": use("item a", "a")}, "a")
    assert error.at == ("stages", "loop")
    assert "neither the request nor any other stage provides" in str(error)


def test_a_cycle_is_told_link_by_link() -> None:
    error = refusal(
        {"fetch": use("item", "z"), "left": use("b z", "a"), "right": use("a", "b")}, "a"
    )
    assert error.at == ("stages", "left")
    assert "cycle" in str(error)
    assert "'left' waits for b; 'right' waits for a" in str(error)


def test_a_cycle_through_after_is_told_too() -> None:
    error = refusal({"left": use("item", "a", after=("right",)), "right": use("a", "b")}, "b")
    assert error.at == ("stages", "left")
    assert "'left' waits for after right; 'right' waits for a" in str(error)


def test_a_stage_after_itself_is_a_cycle() -> None:
    assert refusal({"one": use("item", "a", after=("one",))}, "a").at == ("stages", "one")


def test_a_column_is_provided_once() -> None:
    error = refusal({"one": use("item", "a"), "two": use("user", "a")}, "a")
    assert error.at == ("stages", "two")
    assert re.search("stage 'two' provides column 'a', which '?one'? provides", str(error))


def test_a_stage_cannot_replace_a_column_of_the_request() -> None:
    error = refusal({"one": use("item", "user")}, "user")
    assert error.at == ("stages", "one")
    assert "provides column 'user', which the request provides" in str(error)


@pytest.mark.parametrize(
    ("wanted", "made"),
    [
        ("INT32[n]", "INT64[n]"),
        ("INT64[1]", "INT64[n]"),
        ("INT64[n, 2]", "INT64[n]"),
        ("FP32[n, 2]", "FP32[n, 3]"),
        ("FP32[n, 2, 3]", "FP32[n, 6]"),
    ],
)
def test_a_column_of_another_type_level_or_shape_is_refused(wanted: str, made: str) -> None:
    uses = {
        "make": StageUse(Declared({"item": None}, {"a": column(made)})),
        "read": StageUse(Declared({"a": wanted}, {"b": column("INT64[n]")})),
    }
    error = refusal(uses, "b")
    assert error.at == ("stages", "read")
    assert f"reads column 'a' as {wanted}, but it is {made}" in str(error)


def test_what_a_stage_itself_refuses_is_told_at_its_params() -> None:
    error = refusal({"one": StageUse(Choosy({"item": None}, {}))}, "a")
    assert error.at == ("stages", "one", "params")
    assert str(error) == "stage 'one': dim 7 must be 8; set dim: 8"


@pytest.mark.parametrize(
    "spec", [ColumnSpec("FP32", Level.ITEM, (-1,)), ColumnSpec("FLOAT", Level.ITEM)]
)
def test_a_stage_must_provide_columns_of_a_full_and_known_type(spec: ColumnSpec) -> None:
    """Else every batch would fail, once it is serving."""
    error = refusal(
        {"one": StageUse(Declared({"item": None}, {"a": spec})), "two": use("a", "b")}, "b"
    )
    assert error.at[:2] == ("stages", "one")


def test_a_stage_that_reads_nothing_is_refused() -> None:
    error = refusal({"one": use("", "a")}, "a")
    assert error.at == ("stages", "one")
    assert "reads no column" in str(error)


def test_a_dead_end_is_refused() -> None:
    error = refusal({"good": use("item", "a"), "idle": use("a", "b c")}, "a")
    assert error.at == ("stages", "idle")
    assert "none of its columns (b, c) reaches an output" in str(error)


def test_a_chain_that_leads_nowhere_is_refused_at_its_end() -> None:
    uses = {"good": use("item", "a"), "idle": use("user", "b"), "idler": use("b", "c")}
    assert refusal(uses, "a").at == ("stages", "idler")


def test_a_pipeline_needs_an_output() -> None:
    """Without one there is no stage either, and an event that meets no stage never ends."""
    with pytest.raises(PipelineError):
        compiled({}, "")


def test_an_output_nobody_provides_names_the_nearest() -> None:
    error = refusal({"one": use("item", "score")}, "score scores")
    assert error.at == ("outputs", "scores")
    assert "did you mean 'score'?; there are: score" in str(error)


def test_a_column_of_the_request_is_no_output() -> None:
    error = refusal({"one": use("item", "score")}, "score user", user="INT64[1]")
    assert error.at == ("outputs", "user")
    assert "'user' is provided by no stage" in str(error)


@pytest.mark.parametrize("text", ["FP32[n]", "INT64[1]", "INT64[n, 1]"])
def test_an_output_of_another_type_is_refused_with_the_right_one(text: str) -> None:
    uses = {"one": use("item", "score")}
    error = refusal(uses, "score", score=text)
    assert error.at == ("outputs", "score")
    advice = re.search(r"write (\S.*)$", str(error))
    assert advice is not None
    assert compiled(uses, "score", score=advice[1]).outputs["score"].column == column("INT64[n]")


def test_an_output_may_carry_the_batch_axis() -> None:
    pipeline = compiled({"one": use("item", "score")}, "score", score="INT64[1, n]")
    assert pipeline.outputs["score"].dims == (1, -1)


def test_nearest_is_silent_when_nothing_is_near() -> None:
    assert nearest("zebra", ["user", "item"]) == ""
    assert nearest("itme", ["user", "item"]) == "; did you mean 'item'?"


def test_stages_are_numbered_through_all_pipelines() -> None:
    plan = StagePlan(concurrency=3)
    small = StageUse(Declared({"item": None}, {"score": column("INT64[n]")}), plan)
    inputs = {"item": TensorSpec.parse("INT64[n]")}
    outputs = {"score": TensorSpec.parse("INT64[n]")}
    lone = compile_pipeline("lone", inputs, outputs, {"one": small}, in_flight_max=5)
    graph = compile_graph([lone, compiled(DIAMOND, "rank"), lone])

    assert graph.pipelines == (
        PipelineNode("lone", (0,), 5),
        PipelineNode("shop", (1, 2, 3, 4, 5), 1024),
        PipelineNode("lone", (6,), 5),
    )
    names = ["one", "fetch", "embed", "cross", "score", "rank", "one"]
    assert [stage.name for stage in graph.stages] == names
    assert [stage.pipeline for stage in graph.stages] == [0, 1, 1, 1, 1, 1, 2]
    assert [s.predecessors for s in graph.stages] == [(), (), (1,), (1,), (2, 3), (4,), ()]
    assert [s.successors for s in graph.stages] == [(), (2, 3), (4,), (4,), (5,), (), ()]
    assert [stage.plan for stage in graph.stages][::6] == [plan, plan]
