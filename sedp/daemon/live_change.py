"""What of a pipeline changes while its stages stay open and its events go on.

Invariant: nothing here gives up the loop or fails, so no request sees one half of a change. What
has been decided before an event came in stays so for that event.
"""

from __future__ import annotations

from dataclasses import replace

from sedp.config.management import UNMANAGED, Management
from sedp.daemon.admission_post import is_manned
from sedp.daemon.oip.request import RequestReader
from sedp.daemon.served import PipelineOpener, Place, Served
from sedp.manager.admission.registry import make_admission
from sedp.pipeline import Pipeline


def can_follow(place: Place, opener: PipelineOpener) -> bool:
    """Whether what is open can be managed as its config says now.

    What is not open cannot; nobody can be posted where the engine knows of no post; and a tuner
    knows the knobs of a pipeline from its opening on.
    """
    served, management = place.served, _management(place, opener)
    if served is None or served.management.tuning or management.tuning:
        return False
    return (served.post is not None) == is_manned(management)


def follow(place: Place, new: Pipeline, opener: PipelineOpener) -> None:
    """Serve by another config from this moment on, with the same stages and engine.

    Args:
        place: see `can_follow`.
        new: unlike `place.pipeline` only in what need not be opened anew.
        opener: knows how it is to be managed.
    """
    served, management = place.served, _management(place, opener)
    assert served is not None
    before, engine = served.pipeline, served.engine
    stages = []
    for number, bound in enumerate(new.stages):
        wanted, present = bound.use, before.stages[number].use
        if wanted.plan != present.plan:
            engine.change_plan(number, wanted.plan)
        if wanted.executor != present.executor:
            engine.operators[number].change_executor(wanted.executor)
        stages.append(replace(bound, use=replace(wanted, stage=present.stage)))
    pipeline = replace(new, stages=tuple(stages))
    if pipeline.in_flight_max != before.in_flight_max:
        engine.change_limit(pipeline.name, pipeline.in_flight_max)
    engine.pipelines = {pipeline.name: pipeline}
    _relieve(served, pipeline, management)
    reader = served.reader
    if pipeline.rows_max != before.rows_max:
        reader = RequestReader(pipeline, opener.tensors_max)
    place.served = replace(served, pipeline=pipeline, reader=reader, management=management)


def _management(place: Place, opener: PipelineOpener) -> Management:
    return opener.management.get(place.pipeline.name, UNMANAGED)


def _relieve(served: Served, pipeline: Pipeline, management: Management) -> None:
    """Post a fresh controller, if another one is wanted or the same has other aims."""
    old, new = served.pipeline, pipeline
    before, isolates = served.management, management.isolates_tenants
    if served.post is None or (
        (old.target_ns, old.levels) == (new.target_ns, new.levels)
        and (before.admission, before.isolates_tenants) == (management.admission, isolates)
    ):
        return
    controller = make_admission(management.admission, new.target_ns, new.levels, isolates=isolates)
    assert controller is not None  # see `can_follow`
    served.post.relieve(controller)
