"""Settings that are good alone, but not with each other.

What is found here would be ignored, or never work, without anybody noticing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sedp.columns import ColumnSpec, Level
from sedp.config.management import COUNTERS, choose_admission, stage_plan
from sedp.config.pipeline_settings import PipelineSettings, StageSettings
from sedp.config.places import Place
from sedp.manager.admission.registry import ISOLATES, NEED_TARGET
from sedp.pipeline import Pipeline
from sedp.pipeline_checks import nearest
from sedp.units import format_duration

Misfit = tuple[Place, str]
"""A place below the pipeline's, and what is wrong there."""


def find_misfits(pipeline: PipelineSettings) -> Iterator[Misfit]:
    """What does not fit in the settings of one pipeline."""
    yield from _check_target(pipeline)
    yield from _check_user(pipeline)
    for name, stage in pipeline.stages.items():
        for finder in (_check_plan, _check_times, _check_care, _check_bounds):
            for place, message in finder(stage, pipeline):
                yield ("stages", name, *place), message


def find_shared_plans(pipelines: Mapping[str, PipelineSettings]) -> Iterator[Misfit]:
    """Plan files that two pipelines would write to; places begin with the pipeline's name."""
    first: dict[str, str] = {}
    for name, pipeline in pipelines.items():
        if pipeline.tuning is not None and pipeline.tuning.plan is not None:
            owner = first.setdefault(pipeline.tuning.plan, name)
            if owner != name:
                text = f"{pipeline.tuning.plan!r} is that of pipeline {owner!r}; name another file"
                yield (name, "tuning", "plan"), text


def find_fallback_misfits(pipeline: Pipeline) -> Iterator[Misfit]:
    """The same, of what can be known only when the types of all columns are."""
    for bound in pipeline.stages:
        for column, value in bound.use.fallback.items():
            spec = bound.provides[column]
            if fault := _misfit_of_value(value, spec):
                place = ("stages", bound.name, "fallback", column)
                yield place, f"column {column!r} is {spec}; {fault}"


def _check_target(pipeline: PipelineSettings) -> Iterator[Misfit]:
    admission = choose_admission(pipeline)
    levels, default = pipeline.priorities.levels, pipeline.priorities.default
    if default > levels:
        text = f"there are {levels} levels, and {default} is above; lower it, or raise levels"
        yield ("priorities", "default"), text
    if pipeline.slo is None:
        if pipeline.tuning is not None:
            yield ("tuning",), "tuning needs a target to steer by; set slo, or leave it out"
        if admission in NEED_TARGET:
            text = f"{admission} needs a target to steer by; set slo, or write {COUNTERS}"
            yield ("admission",), text
    elif pipeline.slo.p99_ns > pipeline.deadline_ns:
        yield (
            ("slo", "p99"),
            f"{format_duration(pipeline.slo.p99_ns)} is above the pipeline's deadline of "
            f"{format_duration(pipeline.deadline_ns)}, which ends what is later; lower it, or "
            "raise deadline",
        )
    if pipeline.slo is not None and pipeline.slo.isolate_tenants and admission != ISOLATES:
        text = f"{admission} cannot isolate tenants; take {ISOLATES}, or leave it out"
        yield ("slo", "isolate_tenants"), text


def _check_user(pipeline: PipelineSettings) -> Iterator[Misfit]:
    user, inputs = pipeline.user, pipeline.inputs
    if user is None:
        return
    if user not in inputs:
        known = ", ".join(sorted(inputs))
        yield ("user",), f"{user!r} is no input{nearest(user, inputs)}; inputs are: {known}"
    elif inputs[user].column.level is Level.ITEM:
        yield (
            ("user",),
            f"{user!r} has a value for each candidate; name an input with one a request",
        )


def _check_plan(stage: StageSettings, pipeline: PipelineSettings) -> Iterator[Misfit]:
    if stage.queue_rows_max < pipeline.rows_max:
        yield (
            ("queue_rows_max",),
            f"{stage.queue_rows_max} rows cannot hold one request of the pipeline's rows_max "
            f"{pipeline.rows_max}; raise it to at least that, or lower rows_max",
        )
    if stage.batch.rows_max > stage.queue_rows_max:
        yield (
            ("batch", "rows_max"),
            f"{stage.batch.rows_max} rows never wait in a queue of {stage.queue_rows_max}; lower "
            "it, or raise queue_rows_max",
        )


def _check_times(stage: StageSettings, pipeline: PipelineSettings) -> Iterator[Misfit]:
    deadline = f"the pipeline's deadline of {format_duration(pipeline.deadline_ns)}"
    times: dict[Place, int] = {("timeout",): stage.timeout_ns, ("hedge",): stage.hedge_ns}
    for place, ns in times.items():
        if ns >= pipeline.deadline_ns:
            yield place, f"{format_duration(ns)} is no less than {deadline}; lower it"
    if stage.batch.wait_ns >= pipeline.deadline_ns:
        text = f"{format_duration(stage.batch.wait_ns)} uses up {deadline}; lower it"
        yield ("batch", "wait"), text
    if 0 < stage.timeout_ns <= stage.hedge_ns:
        text = f"the run is given up after {format_duration(stage.timeout_ns)}, before that"
        yield ("hedge",), f"{text}; lower it below timeout"


def _check_care(stage: StageSettings, pipeline: PipelineSettings) -> Iterator[Misfit]:
    if stage.executor == "inline":
        for key, ns in (("timeout", stage.timeout_ns), ("hedge", stage.hedge_ns)):
            if ns:
                text = "while a run is inline nothing can end it; write executor: thread or auto"
                yield (key,), text
    if stage.skip_above:
        if stage.fallback is None:
            text = "there is nothing to go on with when the stage is skipped; set fallback"
            yield ("skip_above",), text
        if pipeline.slo is None:
            yield ("skip_above",), "without an slo there is no pressure; set slo, or leave it out"


def _check_bounds(stage: StageSettings, pipeline: PipelineSettings) -> Iterator[Misfit]:
    bounds = stage.bounds
    if bounds is None:
        return
    if pipeline.tuning is None:
        yield ("bounds",), "nothing moves the knobs; set the pipeline's tuning, or leave them out"
    plan = stage_plan(stage)
    knobs = (
        ("concurrency", bounds.concurrency, "concurrency", plan.concurrency),
        ("batch_rows", bounds.batch_rows, "batch.rows_max", plan.batch_rows_max),
        ("batch_wait", bounds.batch_wait, "batch.wait", plan.batch_wait_ns),
        ("queue_rows", bounds.queue_rows, "queue_rows_max", plan.queue_rows_max),
    )
    for key, pair, start_key, start in knobs:
        if pair is not None and (fault := _misfit_of_pair(key, pair, start_key, start)):
            yield ("bounds", key), fault
    if bounds.executors is not None:
        yield from _check_executors(stage, bounds.executors)
    if bounds.queue_rows is not None and bounds.queue_rows[0] < pipeline.rows_max:
        yield (
            ("bounds", "queue_rows"),
            f"{bounds.queue_rows[0]} rows cannot hold one request of the pipeline's rows_max "
            f"{pipeline.rows_max}; raise the least to at least that, or lower rows_max",
        )


def _check_executors(stage: StageSettings, executors: Sequence[str]) -> Iterator[Misfit]:
    place, named = ("bounds", "executors"), ", ".join(executors)
    if len(set(executors)) < len(executors):
        yield place, f"{named} names one twice; leave the second out"
    if stage.executor not in executors:
        text = f"the stage starts with executor {stage.executor}, which is not among {named}"
        yield place, f"{text}; add it, or change executor"
    if "inline" in executors and stage.executor != "inline":  # else it is told of by `_check_care`
        for key, ns in (("timeout", stage.timeout_ns), ("hedge", stage.hedge_ns)):
            if ns:
                text = f"while a run is inline nothing can end it, and the stage has a {key}"
                yield place, f"{text}; leave inline out, or {key}"


def _misfit_of_pair(key: str, pair: Sequence[int], start_key: str, start: int) -> str:
    least, most = (_show(key, value) for value in pair)
    if pair[0] > pair[1]:
        return f"the least, {least}, is above the most, {most}; swap them"
    if not pair[0] <= start <= pair[1]:
        text = f"the stage starts with {start_key} {_show(key, start)}, which is not within"
        return f"{text} {least} and {most}; widen them, or change {start_key}"
    return ""


def _show(key: str, value: int) -> str:
    return format_duration(value) if key == "batch_wait" else str(value)


def _misfit_of_value(value: float, spec: ColumnSpec) -> str:
    """Why a column cannot hold a value, "" when it can."""
    dtype: np.dtype[Any] = spec.dtype
    if dtype.kind == "b":
        return "" if isinstance(value, bool) else "write true or false"
    if dtype.kind == "O":
        return "it takes no fallback but the empty text; leave it out"
    if isinstance(value, bool):
        return "write a number"
    if dtype.kind == "f":
        fits = abs(value) <= float(np.finfo(dtype).max)
        return "" if fits else f"{value} is out of its range"
    if not isinstance(value, int):
        return "write a whole number"
    limits = np.iinfo(dtype)
    return "" if limits.min <= value <= limits.max else f"{value} is out of its range"
