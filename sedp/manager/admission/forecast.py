"""How long a newcomer would wait, foretold from what stands before it.

At each stage the rows that must pass before the newcomer, times the stage's measured pace in
batches as large as the queue makes them, is the time until the stage is free for it; part of that
passes while the newcomer is still on its way there. The stages work at the same time, so the
slowest one alone sets the wait. Branches keep the order of arrival: of two that meet, the one with
more rows left holds all that the other has. Rows are counted as at the door, behind stages that
narrow as well.

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
        backlog_ns: that what is inside keeps a stage busy, where that is longest.
        service_ns: the longest path's usual runs, one after the other.
    """

    __slots__ = (
        "_fixed_ns", "_path", "_pipeline", "_rising_ns",
        "backlog_ns", "row_ns", "service_ns", "wait_ns",
    )  # fmt: skip

    def __init__(self) -> None:
        self.wait_ns = 0.0
        self.backlog_ns = 0.0
        self.row_ns = 0.0
        self.service_ns = 0.0
        self._fixed_ns = 0.0  # of an event that runs alone, and what each of its rows adds
        self._rising_ns = 0.0
        self._pipeline: PipelineState | None = None
        self._path: list[Station] = []

    def update(self, pipeline: PipelineState) -> None:
        """Look at all stages once."""
        if pipeline is not self._pipeline:
            self._follow(pipeline)
        slowest_ns = slowest_row_ns = backlog_ns = service_ns = fixed_ns = rising_ns = 0.0
        for station in self._path:
            station.update()
            pace = station.stage.pace
            if station.wait_ns >= slowest_ns:
                slowest_ns, slowest_row_ns = station.wait_ns, pace.row_ns
            if station.rows * pace.row_ns > backlog_ns:
                backlog_ns = station.rows * pace.row_ns
            if station.path_ns > service_ns:
                service_ns = station.path_ns
            if station.fixed_ns + station.rising_ns > fixed_ns + rising_ns:
                fixed_ns, rising_ns = station.fixed_ns, station.rising_ns
        self.wait_ns, self.row_ns = slowest_ns, slowest_row_ns
        self.backlog_ns, self.service_ns = backlog_ns, service_ns
        self._fixed_ns, self._rising_ns = fixed_ns, rising_ns

    def alone_ns(self, rows: float) -> float:
        """What the longest path takes for an event that runs alone, however large."""
        return self._fixed_ns + self._rising_ns * rows

    def _follow(self, pipeline: PipelineState) -> None:
        """Begin to watch a pipeline; its stages come in the order of the graph."""
        stations: dict[int, Station] = {}
        for stage in pipeline.stages:
            before = tuple(stations[other.number] for other in stage.predecessors)
            stations[stage.number] = Station(stage, before)
        self._path = list(stations.values())
        self._pipeline = pipeline


class Station:
    """A stage as the forecast sees it: rows and times are from the door to its end.

    Attributes:
        rows: inside, not yet through it.
        batch_rows: that its next batches will have.
        path_ns: that the usual runs take.
        fixed_ns, rising_ns: of an event that runs alone, and what each of its rows adds.
        wait_ns: until it is free for a newcomer that has got there.
    """

    __slots__ = (
        "batch_rows", "before", "fixed_ns", "path_ns", "rising_ns", "rows", "stage", "wait_ns",
    )  # fmt: skip

    def __init__(self, stage: StageState, before: tuple[Station, ...]) -> None:
        self.stage = stage
        self.before = before
        self.rows = 0
        self.batch_rows = 0.0
        self.path_ns = self.fixed_ns = self.rising_ns = self.wait_ns = 0.0

    def update(self) -> None:
        """Once the stations before are up to date."""
        stage, pace = self.stage, self.stage.pace
        rows, path_ns, fixed_ns, rising_ns, batch_rows = 0, 0.0, 0.0, 0.0, 0.0
        for before in self.before:
            if before.rows > rows:
                rows = before.rows
            if before.batch_rows > batch_rows:
                batch_rows = before.batch_rows
            if before.path_ns > path_ns:
                path_ns = before.path_ns
            if before.fixed_ns > fixed_ns:
                fixed_ns = before.fixed_ns
            if before.rising_ns > rising_ns:
                rising_ns = before.rising_ns
        queue_rows, running_rows, row_ns = stage.queue.rows, stage.running_rows, pace.row_ns
        batch_rows += queue_rows
        if batch_rows < pace.batch_rows:
            batch_rows = pace.batch_rows
        if batch_rows > stage.plan.batch_rows_max:
            batch_rows = stage.plan.batch_rows_max
        rows += queue_rows
        alone_ns = row_ns * stage.plan.concurrency
        self.rows, self.batch_rows = rows + running_rows, batch_rows
        free_ns = rows * pace.row_ns_in(batch_rows) + running_rows * row_ns
        self.wait_ns = free_ns - path_ns if free_ns > path_ns else 0.0
        self.path_ns = path_ns + pace.batch_ns
        self.fixed_ns = fixed_ns + alone_ns * pace.batch_rows * pace.fixed
        self.rising_ns = rising_ns + alone_ns * (1.0 - pace.fixed)
