"""From a config file to checked pipelines: the one way in for every command.

Everything that can be known without opening a model or a socket is checked here. Three steps build
on each other, and each reports all its faults together: the keys and values of the file; stage
kinds, their params, and settings that fit alone but not with each other; columns between stages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from sedp.config.daemon_settings import DaemonSettings
from sedp.config.decoding import decode
from sedp.config.document import Faults, read_document
from sedp.config.exposure import find_exposures
from sedp.config.kinds import StageKinds, build_stage
from sedp.config.pipeline_settings import PipelineSettings, StageSettings
from sedp.config.places import Place
from sedp.config.settings import FileSettings, MissSettings, StoreSettings
from sedp.config.spelling import spell
from sedp.config.units import format_duration
from sedp.engine.graph import StagePlan
from sedp.pipeline import Pipeline, PipelineError, StageUse, compile_pipeline


@dataclass(frozen=True, slots=True)
class Config:
    """A config file, checked; nothing in it is opened yet.

    Args:
        path: the file, absolute; relative paths in it start at `path.parent`.
        store: its `path` is absolute already.
        settings: every key of the file with its value, to be compared with another config's.
    """

    path: Path
    daemon: DaemonSettings
    store: StoreSettings | None
    pipelines: tuple[Pipeline, ...]
    settings: Mapping[str, str] = field(default_factory=dict)


def load(path: Path, environment: Mapping[str, str], content: bytes | None = None) -> Config:
    """Read, check and compile the config at `path`.

    Args:
        content: what was in the file when it was read before; `None` reads it.

    Raises:
        ConfigError: a line `file:line:column: key.path: what is wrong; mend` for each fault.
    """
    document = read_document(path, environment, content)
    faults = Faults(document)
    settings = decode(document.tree, FileSettings, (), faults)
    faults.raise_found()
    assert settings is not None
    _check_daemon(settings.daemon, faults)
    _check_store(settings.store, faults)
    folder = path.absolute().parent
    kinds = StageKinds(folder)
    pipelines = [
        _build_pipeline(name, pipeline, kinds, faults)
        for name, pipeline in settings.pipelines.items()
    ]
    faults.raise_found()
    return Config(
        path.absolute(),
        settings.daemon,
        _resolve_store(settings.store, folder),
        tuple(pipeline for pipeline in pipelines if pipeline is not None),
        spell(settings),
    )


def _resolve_store(store: StoreSettings | None, folder: Path) -> StoreSettings | None:
    return store and msgspec.structs.replace(store, path=str((folder / store.path).resolve()))


def _check_daemon(daemon: DaemonSettings, faults: Faults) -> None:
    for place, message in find_exposures(daemon):
        faults.add(("daemon", *place), message)


def _check_store(store: StoreSettings | None, faults: Faults) -> None:
    if store is None:
        return
    for name, table in store.tables.items():
        misses = table.misses
        if misses.mode != "fill" and misses.above != MissSettings().above:
            message = f"is for mode fill, and mode is {misses.mode}; leave it out"
            faults.add(("store", "tables", name, "misses", "above"), message)


def _build_pipeline(
    name: str, settings: PipelineSettings, kinds: StageKinds, faults: Faults
) -> Pipeline | None:
    at: Place = ("pipelines", name)
    before = len(faults.found)
    uses: dict[str, StageUse] = {}
    for stage_name, stage in settings.stages.items():
        stage_at: Place = (*at, "stages", stage_name)
        _check_plan(stage, settings, stage_at, faults)
        if (use := _use_stage(stage, kinds, stage_at, faults)) is not None:
            uses[stage_name] = use
    if len(faults.found) > before:
        return None
    try:
        return compile_pipeline(
            name,
            settings.inputs,
            settings.outputs,
            uses,
            rows_max=settings.rows_max,
            in_flight_max=settings.in_flight_max,
            deadline_ns=settings.deadline_ns,
        )
    except PipelineError as err:
        faults.add((*at, *err.at), str(err))
        return None


def _use_stage(
    settings: StageSettings, kinds: StageKinds, at: Place, faults: Faults
) -> StageUse | None:
    try:
        kind = kinds.find(settings.kind)
    except ValueError as err:
        faults.add((*at, "kind"), str(err))
        return None
    params = decode(settings.params, kind.Params, (*at, "params"), faults)
    if params is None:
        return None
    try:
        stage = build_stage(kind, params)
    except ValueError as err:
        faults.add((*at, "params"), str(err))
        return None
    batch = settings.batch
    plan = StagePlan(settings.concurrency, batch.rows_max, batch.wait_ns, settings.queue_rows_max)
    return StageUse(stage, plan, settings.executor, settings.after)


def _check_plan(
    stage: StageSettings, pipeline: PipelineSettings, at: Place, faults: Faults
) -> None:
    """Refuse knobs that each fit their own limits but not one another."""
    if stage.queue_rows_max < pipeline.rows_max:
        faults.add(
            (*at, "queue_rows_max"),
            f"{stage.queue_rows_max} rows cannot hold one request of the pipeline's rows_max "
            f"{pipeline.rows_max}; raise it to at least that, or lower rows_max",
        )
    if stage.batch.rows_max > stage.queue_rows_max:
        faults.add(
            (*at, "batch", "rows_max"),
            f"{stage.batch.rows_max} rows never wait in a queue of {stage.queue_rows_max}; lower "
            "it, or raise queue_rows_max",
        )
    if stage.batch.wait_ns >= pipeline.deadline_ns:
        faults.add(
            (*at, "batch", "wait"),
            f"{format_duration(stage.batch.wait_ns)} uses up the pipeline's deadline of "
            f"{format_duration(pipeline.deadline_ns)}; lower it",
        )
