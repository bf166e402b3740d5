"""How long a newcomer would wait, foretold from what stands before it.

At each stage the rows that must pass before the newcomer, times the stage's measured pace, is the
time until the stage is free for it. The stages work at the same time, so the slowest one alone
sets the wait. Branches keep the order of arrival: of two that meet, the one with more rows left
holds all that the other has.

Rows are counted as at the door. A stage behind a narrowing one gets fewer of each event; its
`scale` says how many, from the rows an event of its latest ones had.
"""

from __future__ import annotations

from sedp.engine.stage_state import PipelineState, StageState

SCALE_EVERY = 64  # updates between two looks at the scales
SCALE_WEIGHT = 0.25  # of a look


class Forecast:
    """The look-out over one pipeline, as of the last `update`.

    Attributes:
        wait_ns: until what is inside has passed the slowest stage.
        row_ns: how long a row of a newcomer keeps that stage busy.
        service_ns: the longest path's usual runs, one after the other.
        service_row_ns: the same of a newcomer so large that it runs alone, a row.
    """

    __slots__ = (
        "_path",
        "_pipeline",
        "_updates",
        "row_ns",
        "service_ns",
        "service_row_ns",
        "wait_ns",
    )

    def __init__(self) -> None:
        self.wait_ns = 0.0
        self.row_ns = 0.0
        self.service_ns = 0.0
        self.service_row_ns = 0.0
        self._pipeline: PipelineState | None = None
        self._path: list[Station] = []
        self._updates = 0

    def update(self, pipeline: PipelineState) -> None:
        """Look at all stages once."""
        if pipeline is not self._pipeline:
            self._follow(pipeline)
        self._updates += 1
        if self._updates % SCALE_EVERY == 0:
            self._rescale()
        slowest_ns = slowest_row_ns = service_ns = service_row_ns = 0.0
        for station in self._path:
            rows = path_ns = path_row_ns = 0.0
            for before in station.before:
                if before.rows > rows:
                    rows = before.rows
                if before.path_ns > path_ns:
                    path_ns = before.path_ns
                if before.path_row_ns > path_row_ns:
                    path_row_ns = before.path_row_ns
            stage, scale = station.stage, station.scale
            pace = stage.pace
            station.rows = rows = rows + (stage.queue.rows + stage.running_rows) / scale
            station.path_ns = path_ns = path_ns + pace.batch_ns
            row_ns = pace.row_ns * scale
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

    def _rescale(self) -> None:
        door_rows = self._path[0].rows_of_event()
        for station in self._path[1:]:
            rows = station.rows_of_event()
            if rows and door_rows:
                station.scale += (rows / door_rows - station.scale) * SCALE_WEIGHT


class Station:
    """A stage as the forecast sees it; `rows` and `path_*` are from the door to its end."""

    __slots__ = (
        "before",
        "events_seen",
        "path_ns",
        "path_row_ns",
        "rows",
        "rows_seen",
        "scale",
        "stage",
    )

    def __init__(self, stage: StageState, before: tuple[Station, ...]) -> None:
        self.stage = stage
        self.before = before
        self.scale = 1.0
        self.rows = 0.0
        self.path_ns = 0.0
        self.path_row_ns = 0.0
        self.events_seen = stage.events
        self.rows_seen = stage.rows

    def rows_of_event(self) -> float:
        """Of those that came since the last call, on average; 0 if none came."""
        events = self.stage.events - self.events_seen
        rows = self.stage.rows - self.rows_seen
        self.events_seen, self.rows_seen = self.stage.events, self.stage.rows
        return rows / events if events else 0.0
