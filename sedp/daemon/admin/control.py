"""What the admin plane asks of the serving part, whether that is this process or its workers.

Answered by the server itself when it serves in the process that was started, and by the supervisor
on behalf of all its workers otherwise; the admin plane does not know which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from sedp.daemon.monitoring.statistics import DaemonStatistics, WorkerState
from sedp.daemon.repository import PipelineState
from sedp.daemon.tuning import TuningState
from sedp.pipeline import Pipeline
from sedp.storage.table_spec import TableSpec
from sedp.storage.updates.updates import Durability, Receipt


class Control(Protocol):
    """Raises `RequestError` for what cannot be asked, `SedpError` for what did not work."""

    @property
    def pipelines(self) -> Mapping[str, Pipeline]:
        """Those of the config now, served or not."""

    @property
    def ready(self) -> bool:
        """Whether requests are served."""

    async def statistics(self) -> DaemonStatistics:
        """Of all workers together."""

    async def reload(self) -> list[str]:
        """Read the config file again and serve by it; all workers, or none.

        Returns:
            What changed, a line each; none when nothing did.

        Raises:
            SedpError: why the old config is still being served.
        """

    async def restart(self) -> None:
        """Replace all workers, one after the other.

        Raises:
            RequestError: 409, there are none to replace.
        """

    def workers(self) -> Sequence[WorkerState]:
        """In the order of their places."""

    async def index(self) -> Sequence[PipelineState]:
        """Every pipeline of the config; one is READY when all workers serve it."""

    async def load(self, name: str) -> None:
        """Serve a pipeline, or open its models and tables anew.

        Raises:
            RequestError: 404 unknown, 409 it is being changed.
            SedpError: it could not be opened; what was served before still is.
        """

    async def unload(self, name: str) -> None:
        """Stop serving a pipeline, once its events in flight are answered.

        Raises:
            RequestError: 404 unknown, 409 it is being changed.
        """

    async def tuning(self, moves_max: int) -> Sequence[TuningState]:
        """What each worker does about its knobs, with so many of its last moves."""

    async def freeze(self, frozen: bool) -> None:
        """Let no knob be moved, or let them be moved again; in all workers."""

    async def feed_back(self, pipeline: str, users: NDArray[Any]) -> int:
        """Tell the stages of a pipeline that keep answers that these users have acted since.

        Args:
            users: uint64[n].

        Returns:
            How many stages were told, over all workers.

        Raises:
            RequestError: 404, the pipeline is unknown or not loaded.
        """

    async def update(
        self, table: str, keys: NDArray[Any], rows: NDArray[Any], durability: Durability, id: str
    ) -> Receipt:
        """Write rows of the store's current version of a table.

        Raises:
            RequestError: 404 no such table, 409 this daemon only follows its store.
            StoreError: refused by a guard, or the store failed.
        """

    async def roll_back(self, table: str, version: int | None) -> TableSpec:
        """Make another kept version current; without one the highest but the current.

        Raises:
            RequestError: 404 no such table, 409 this daemon only follows its store.
            StoreError: there is no such version.
        """

    def table(self, name: str) -> TableSpec:
        """The current version of a table.

        Raises:
            RequestError: 404 no such table.
        """
