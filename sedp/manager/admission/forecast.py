"""How long a newcomer would wait, foretold from what stands before it.

At each stage the rows that must pass before the newcomer, times the stage's measured pace, is the
time until the stage is free for it. The stages work at the same time, so the slowest one alone
sets the wait. Branches keep the order of arrival: of two that meet, the one with more rows left
holds all that the other has. Rows are counted as at the door, behind stages that narrow as well.

A newcomer is taken to wait for all that is inside. Where tenants take turns a quiet one waits for
less; how much less is not foretold, since it depends on who comes after it.
"""

from __future__ import annotations

from sedp.engine.stage_state import PipelineState, StageState


class Forecast:
    """The look-out over one pipeline, as of the last `update`.

    Attributes:
        wait_ns: until what is inside has passed the slowest stage.
        row_ns: how long a row of a newcomer keeps that stage busy.
        service_ns: the longest path's usual runs, one after the other.
        service_row_ns: the same of a newcomer so large that it runs alone, a row.
    """

    __slots__ = ("_path", "_pipeline", "row_ns", "service_ns", "service_row_ns", "wait_ns")

    def __init__(self) -> None:
        self.wait_ns = 0.0
        self.row_ns = 0.0
        self.service_ns = 0.0
        self.service_row_ns = 0.0
        self._pipeline: PipelineState | None = None
        self._path: list[Station] = []

    def update(self, pipeline: PipelineState) -> None:
        """Look at all stages once."""
        if pipeline is not self._pipeline:
            self._follow(pipeline)
        slowest_ns = slowest_row_ns = service_ns = service_row_ns = 0.0
        for station in self._path:
            rows = 0
            path_ns = path_row_ns = 0.0
            for before in station.before:
                if before.rows > rows:
                    rows = before.rows
                if before.path_ns > path_ns:
                    path_ns = before.path_ns
                if before.path_row_ns > path_row_ns:
                    path_row_ns = before.path_row_ns
            stage = station.stage
            pace = stage.pace
            station.rows = rows = rows + stage.queue.rows + stage.running_rows
            station.path_ns = path_ns = path_ns + pace.batch_ns
            row_ns = pace.row_ns
            path_row_ns += row_ns * stage.plan.concurrency
            station.path_row_ns = path_row_ns
            wait_ns = rows * row_ns
            if wait_ns >= slowest_ns:
                slowest_ns, slowest_row_ns = wait_ns, row_ns
            if path_ns > service_ns:
                service_ns = path_ns
            if path_row_ns > service_row_ns:
                service_row_ns = path_row_ns
        self.wait_ns, self.row_ns = slowest_ns, slowest_row_ns
        self.service_ns, self.service_row_ns = service_ns, service_row_ns

    def _follow(self, pipeline: PipelineState) -> None:
        """Begin to watch a pipeline; its stages come in the order of the graph."""
        stations: dict[int, Station] = {}
        for stage in pipeline.stages:
            before = tuple(stations[other.number] for other in stage.predecessors)
            stations[stage.number] = Station(stage, before)
        self._path = list(stations.values())
        self._pipeline = pipeline


class Station:
    """A stage as the forecast sees it; `rows` and `path_*` are from the door to its end."""

    __slots__ = ("before", "path_ns", "path_row_ns", "rows", "stage")

    def __init__(self, stage: StageState, before: tuple[Station, ...]) -> None:
        self.stage = stage
        self.before = before
        self.rows = 0
        self.path_ns = 0.0
        self.path_row_ns = 0.0
