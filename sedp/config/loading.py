"""From a config file to checked pipelines: the one way in for every command.

Everything that can be known without opening a model or a socket is checked here. Three steps build
on each other, and each reports all its faults together: the keys and values of the file; stage
kinds, their params, and settings that fit alone but not with each other; columns between stages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from sedp.config.daemon_settings import DaemonSettings
from sedp.config.decoding import decode
from sedp.config.document import Faults, read_document
from sedp.config.exposure import find_exposures
from sedp.config.kinds import StageKinds, build_stage
from sedp.config.management import Management, manage, stage_care, stage_plan
from sedp.config.misfits import Misfit, find_fallback_misfits, find_misfits, find_shared_plans
from sedp.config.pipeline_settings import PipelineSettings, StageSettings
from sedp.config.places import Place
from sedp.config.settings import FileSettings, MissSettings, StoreSettings
from sedp.config.spelling import spell
from sedp.config.threads import Runs, outline
from sedp.pipeline import Pipeline, StageUse, compile_pipeline
from sedp.pipeline_checks import PipelineError
from sedp.units import format_bytes


@dataclass(frozen=True, slots=True)
class Config:
    """A config file, checked; nothing in it is opened yet.

    Args:
        path: the file, absolute; relative paths in it start at `path.parent`.
        store: its `path` is absolute already.
        settings: every key of the file with its value, to be compared with another config's.
        management: how the load of each pipeline is managed, by its name.
        runs: of stages that may be under way, see `sedp.config.threads`.
    """

    path: Path
    daemon: DaemonSettings
    store: StoreSettings | None
    pipelines: tuple[Pipeline, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    management: Mapping[str, Management] = field(default_factory=dict)
    runs: tuple[Runs, ...] = ()


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
    for place, message in find_shared_plans(settings.pipelines):
        faults.add(("pipelines", *place), message)
    faults.raise_found()
    told = outline(document.tree)
    assert told is not None  # it asks for less than was found to be right
    return Config(
        path.absolute(),
        settings.daemon,
        _resolve_store(settings.store, folder),
        tuple(pipeline for pipeline in pipelines if pipeline is not None),
        spell(settings),
        {name: manage(pipeline, folder) for name, pipeline in settings.pipelines.items()},
        told.runs,
    )


def _resolve_store(store: StoreSettings | None, folder: Path) -> StoreSettings | None:
    return store and msgspec.structs.replace(store, path=str((folder / store.path).resolve()))


def _check_daemon(daemon: DaemonSettings, faults: Faults) -> None:
    for place, message in find_exposures(daemon):
        faults.add(("daemon", *place), message)


def _check_store(store: StoreSettings | None, faults: Faults) -> None:
    if store is None:
        return
    if store.ram_bounds is not None:
        least, most = map(format_bytes, store.ram_bounds)
        if not store.ram_bounds[0] <= store.ram <= store.ram_bounds[1]:
            message = f"ram is {format_bytes(store.ram)}, outside of {least} to {most}; change one"
            faults.add(("store", "ram_bounds"), message)
    for name, table in store.tables.items():
        misses = table.misses
        if misses.mode != "fill" and misses.above != MissSettings().above:
            message = f"is for mode fill, and mode is {misses.mode}; leave it out"
            faults.add(("store", "tables", name, "misses", "above"), message)
        if table.norm_max is not None and store.mode != "write":
            message = (
                "bounds updates, and mode follow takes none; write mode: write, or leave it out"
            )
            faults.add(("store", "tables", name, "norm_max"), message)


def _build_pipeline(
    name: str, settings: PipelineSettings, kinds: StageKinds, faults: Faults
) -> Pipeline | None:
    at: Place = ("pipelines", name)
    before = len(faults.found)
    _add(find_misfits(settings), at, faults)
    uses: dict[str, StageUse] = {}
    for stage_name, stage in settings.stages.items():
        use = _use_stage(stage, kinds, (*at, "stages", stage_name), faults)
        if use is not None:
            uses[stage_name] = use
    if len(faults.found) > before:
        return None
    try:
        pipeline = compile_pipeline(
            name,
            settings.inputs,
            settings.outputs,
            uses,
            rows_max=settings.rows_max,
            in_flight_max=settings.in_flight_max,
            deadline_ns=settings.deadline_ns,
            target_ns=settings.slo.p99_ns if settings.slo else 0,
            levels=settings.priorities.levels,
            level_default=settings.priorities.default,
        )
    except PipelineError as err:
        faults.add((*at, *err.at), str(err))
        return None
    _add(find_fallback_misfits(pipeline), at, faults)
    return pipeline


def _add(misfits: Iterable[Misfit], at: Place, faults: Faults) -> None:
    for place, message in misfits:
        faults.add((*at, *place), message)


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
    return StageUse(
        stage,
        stage_plan(settings),
        settings.executor,
        settings.after,
        stage_care(settings),
        settings.fallback or {},
    )
