"""The post at the door of a pipeline: who decides there may be relieved while it is served.

The engine knows the post alone, for as long as the pipeline is open. Its methods are those of the
controller itself, so having a post costs an event nothing.
"""

from __future__ import annotations

from typing import Any

from sedp.config.management import COUNTERS, Management
from sedp.engine.admission import Admission
from sedp.manager.admission.registry import make_admission
from sedp.pipeline import Pipeline


class AdmissionPost:
    """An `Admission` that acts as the controller which was posted last."""

    __slots__ = ("ended", "pressure", "refusal", "wait_limit_ns", "waited")

    refusal: Any
    wait_limit_ns: Any
    waited: Any
    ended: Any
    pressure: Any

    def __init__(self, controller: Admission) -> None:
        self.relieve(controller)

    @classmethod
    def open(cls, pipeline: Pipeline, management: Management) -> AdmissionPost | None:
        """As its config has it; `None` where the engine's counters decide alone."""
        controller = make_admission(
            management.admission,
            pipeline.target_ns,
            pipeline.levels,
            isolates=management.isolates_tenants,
        )
        return None if controller is None else cls(controller)

    def relieve(self, controller: Admission) -> None:
        """From now on another one decides; what is inside ends as it would."""
        self.refusal = controller.refusal
        self.wait_limit_ns = controller.wait_limit_ns
        self.waited = controller.waited
        self.ended = controller.ended
        self.pressure = controller.pressure


def is_manned(management: Management) -> bool:
    """Whether there is a post at all."""
    return management.admission != COUNTERS
