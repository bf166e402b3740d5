"""Stages that narrow and widen: every stage sees exactly the rows it should, whatever the batches.

The reference keeps all rows of every column and a mask of those a stage may see; it knows nothing
of views, chunks or batches.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sedp.columns import Array, Batch, ColumnSpec, Level, TensorSpec
from sedp.engine.events import NEVER_NS, Outcome
from sedp.payload import Moment, Payload, join_batch
from sedp.pipeline import Pipeline, StageUse, compile_pipeline
from sedp.pipeline_checks import PipelineError
from sedp.stage import Params, Stage
from tests.engine.dice_driver import DiceDriver
from tests.engine.random_dag import Mix, random_plan, random_request
from tests.engine.test_random_dags import assert_at_rest, finish_all

ITEM = ColumnSpec("INT64", Level.ITEM)
MASK = ColumnSpec("BOOL", Level.ITEM)
INPUTS = {"user": TensorSpec.parse("INT64[1]"), "item": TensorSpec.parse("INT64[n]")}


class Keep(Stage):
    """Lets through the rows whose `reads` has a remainder below `share` of 4."""

    def __init__(self, reads: str, writes: str, share: int) -> None:
        super().__init__(Params())
        self.reads, self.writes, self.share = reads, writes, share

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {self.reads: ITEM}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {self.writes: MASK}

    @property
    def narrows(self) -> str | None:
        return self.writes

    def process(self, batch: Batch) -> Mapping[str, Array]:
        return {self.writes: batch[self.reads] % 4 < self.share}


class Open(Mix):
    """A mix that takes the rows in again that the stage which wrote `mask` has left out."""

    def __init__(self, reads: Mapping[str, Level], mask: str, writes: str) -> None:
        super().__init__(reads, writes, Level.ITEM, 11)
        self.mask = mask

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {**super().requires, self.mask: MASK}

    @property
    def widens(self) -> bool:
        return True


def random_narrowing(dice: random.Random) -> Pipeline:
    """Groups of mixing stages, with a stage that narrows or widens between two groups."""
    columns = {"user": Level.REQUEST, "item": Level.ITEM}
    uses: dict[str, StageUse] = {}
    turn, masks = "", list[str]()
    for group in range(dice.randint(1, 4)):
        for number in range(dice.randint(1, 2)):
            name = f"m{group}{number}"
            reads = dice.sample(sorted(columns), dice.randint(1, min(3, len(columns))))
            mix = Mix({n: columns[n] for n in reads}, f"c{name}", dice.choice(list(Level)), 7)
            uses[name] = StageUse(mix, random_plan(dice), after=(turn,) if turn else ())
            columns[f"c{name}"] = mix.level
        reads_item = dice.choice([n for n, level in columns.items() if level is Level.ITEM])
        before, turn = tuple(uses), f"t{group}"
        if masks and dice.random() < 0.5:
            mix = Open({reads_item: Level.ITEM}, masks.pop(), f"c{turn}")
            uses[turn] = StageUse(mix, random_plan(dice), after=before)
            columns[f"c{turn}"] = Level.ITEM
        else:
            keep = Keep(reads_item, f"k{turn}", dice.choice([0, 1, 2, 4]))
            uses[turn] = StageUse(keep, random_plan(dice), after=before)
            masks.append(f"k{turn}")
    last = Mix(columns, "out", Level.ITEM, 13)
    uses["last"] = StageUse(last, random_plan(dice), after=tuple(uses))
    outputs = {
        name: TensorSpec.parse(f"INT64[{'n' if level is Level.ITEM else 1}]")
        for name, level in [*columns.items(), ("out", Level.ITEM)]
        if name not in INPUTS
    }
    return compile_pipeline("narrow", INPUTS, outputs, uses, in_flight_max=50)


def plain_answer(pipeline: Pipeline, request: Batch) -> dict[str, Array]:
    """All rows of all columns, and a stack of masks."""
    full = dict(request.columns)
    masks = [np.ones(request.row_count, bool)]
    for stage in pipeline.stages:
        own = stage.use.stage
        if own.widens:
            masks.pop()
        seen = masks[-1]
        columns = {
            name: full[name][seen] if spec.level is Level.ITEM else full[name]
            for name, spec in stage.inputs.items()
        }
        result = own.process(Batch(columns, np.array([0, int(seen.sum())])))
        for name, spec in stage.provides.items():
            if spec.level is Level.REQUEST:
                full[name] = result[name]
                continue
            full[name] = np.zeros(request.row_count, spec.dtype)
            full[name][seen] = result[name]
        if own.narrows:
            masks.append(full[own.narrows])
    return {name: full[name] for name in pipeline.outputs}


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), events=st.integers(1, 15))
def test_answers_equal_the_plain_reference(seed: int, events: int) -> None:
    dice = random.Random(seed)
    driver = DiceDriver(random_narrowing(dice), dice)
    requests = [random_request(dice, poisonous=False) for _ in range(events)]
    for event, request in enumerate(requests):
        driver.arrive(event, request, NEVER_NS)
        for _ in range(dice.randint(0, 3)):
            driver.step()
    finish_all(driver)

    assert_at_rest(driver, arrived=events)
    for event, request in enumerate(requests):
        if driver.ends[event] is Outcome.QUEUE_FULL:
            continue
        for name, column in plain_answer(driver.pipeline, request).items():
            np.testing.assert_array_equal(driver.answers[event][name], column, err_msg=name)


def narrow(**uses: StageUse) -> Pipeline:
    mask = {"keep": StageUse(Keep("item", "kept", 2))}
    outputs = {"out": TensorSpec.parse("INT64[n]")}
    return compile_pipeline("p", INPUTS, outputs, mask | uses)


def test_a_stage_beside_one_that_narrows_is_refused_with_the_mend() -> None:
    with pytest.raises(PipelineError, match=r"'mix' runs beside 'keep'.*after: \[keep\]") as err:
        narrow(mix=StageUse(Mix({"item": Level.ITEM}, "out", Level.ITEM, 3)))
    assert err.value.at == ("stages", "mix")


def test_widening_without_narrowing_is_refused() -> None:
    inputs = INPUTS | {"kept": TensorSpec.parse("BOOL[n]")}
    uses = {"open": StageUse(Open({"item": Level.ITEM}, "kept", "out"))}
    with pytest.raises(PipelineError, match="'open' widens, but no stage before it has narrowed"):
        compile_pipeline("p", inputs, {"out": TensorSpec.parse("INT64[n]")}, uses)


def test_what_another_stage_has_left_out_is_not_taken_in_again() -> None:
    other = StageUse(Keep("item", "other", 1), after=("keep",))
    widening = StageUse(Open({"item": Level.ITEM}, "kept", "out"), after=("other",))
    with pytest.raises(PipelineError, match=r"'open' widens.* narrow before it is 'other'") as err:
        narrow(other=other, open=widening)
    assert err.value.at == ("stages", "open")


def test_a_mask_must_be_provided_as_one() -> None:
    class Lost(Keep):
        @property
        def narrows(self) -> str | None:
            return "elsewhere"

    with pytest.raises(PipelineError, match=r"has to provide column 'elsewhere' as BOOL\[n\]"):
        narrow(lost=StageUse(Lost("item", "kept2", 1)))


def test_when_every_row_goes_on_columns_are_not_copied() -> None:
    pipeline = narrow(
        mix=StageUse(Mix({"item": Level.ITEM}, "out", Level.ITEM, 3), after=("keep",))
    )
    item = np.array([4, 8, 5])
    payload = Payload(Batch({"user": np.array([1]), "item": item}, np.array([0, 3])), 2)
    keep, mix = pipeline.stages
    payload.places[1] = (Batch({"kept": np.ones(3, bool)}, np.array([0, 3])), 0)
    assert join_batch(mix, [payload])["item"] is item
    assert keep.view == ()
    assert mix.view == (0,)


class Clock(Stage):
    """Writes down what the engine tells."""

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        request = ("engine.now_ns", "engine.time_left_ns", "engine.pressure", "engine.tenant")
        return {"item": ITEM} | dict.fromkeys(request)

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {"out": ITEM}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        return {"out": batch["item"]}


def test_stages_read_what_the_engine_knows() -> None:
    outputs = {"out": TensorSpec.parse("INT64[n]")}
    pipeline = compile_pipeline("p", INPUTS, outputs, {"clock": StageUse(Clock(Params()))})
    request = Batch({"user": np.array([1]), "item": np.array([1, 2])}, np.array([0, 2]))
    payloads = [Payload(request, 1, due_ns=900, tenant=5), Payload(request, 1)]
    batch = join_batch(pipeline.stages[0], payloads, Moment(now_ns=700, pressure=250))
    assert batch["engine.now_ns"].tolist() == [700, 700]
    assert batch["engine.time_left_ns"].tolist() == [200, 1 << 62]
    assert batch["engine.pressure"].tolist() == [0.25, 0.25]
    assert batch["engine.tenant"].tolist() == [5, 0]


def test_inputs_must_not_take_the_engine_s_names() -> None:
    inputs = INPUTS | {"engine.now_ns": TensorSpec.parse("INT64[1]")}
    with pytest.raises(PipelineError, match=r"'engine.now_ns': names that start with engine\."):
        compile_pipeline("p", inputs, {"out": TensorSpec.parse("INT64[n]")}, {})
