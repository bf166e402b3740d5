"""The runs under way: started, hedged, timed out, ended. What becomes of their events is `flow`'s.

A run is *wanted* until its result has come, or nobody waits for it any more: it took too long, or
its twin was faster. An unwanted one keeps its slot until it ends, since a stage cannot be stopped.
"""

from __future__ import annotations

from dataclasses import dataclass

from sedp.engine.event import Event, numbers_of
from sedp.engine.events import Abandon, AnyCommand, BatchFinished, RunBatch, SetTimer
from sedp.engine.stage_state import StageState


@dataclass(slots=True, eq=False)
class Run:
    """A batch that was started and has not ended.

    Args:
        twin: another run of the same events, while both are wanted.
        has_lost: the twin was faster, or has longer to go; this one's result comes to nothing.
    """

    batch: int
    stage: StageState
    events: list[Event]
    rows: int
    started_ns: int
    is_wanted: bool = True
    twin: Run | None = None
    has_lost: bool = False


class Runs:
    """All of a scheduler, by batch number."""

    def __init__(self) -> None:
        self.under_way: dict[int, Run] = {}
        self._next_batch = 0

    def start(
        self,
        stage: StageState,
        events: list[Event],
        rows: int,
        pressure: int,
        now_ns: int,
        out: list[AnyCommand],
    ) -> Run:
        """Run `stage` on `events` and watch how long that takes."""
        batch = self._next_batch
        self._next_batch += 1
        run = self.under_way[batch] = Run(batch, stage, events, rows, now_ns)
        stage.running += 1
        stage.running_rows += rows
        if stage.admission is not None and stage.running >= stage.plan.concurrency:
            stage.pace.saturated(now_ns)
        if stage.breaker is not None:
            stage.breaker.started()
        stage.batches += 1
        stage.events += len(events)
        stage.rows += rows
        stage.batch_rows.record(rows)
        out.append(RunBatch(batch, stage.number, numbers_of(events), pressure))
        for limit_ns in stage.time_limits_ns:
            out.append(SetTimer(stage.number, now_ns + limit_ns, batch))
        return run

    def hedge(self, run: Run, pressure: int, now_ns: int, out: list[AnyCommand]) -> None:
        """Start the same events once more; whichever run ends well first is taken."""
        run.stage.hedges += 1
        twin = self.start(run.stage, run.events, run.rows, pressure, now_ns, out)
        run.twin, twin.twin = twin, run
        for event in run.events:
            event.running += 1

    def end(self, finished: BatchFinished, now_ns: int) -> Run:
        """A run came back: free its slot and note how it went."""
        run, failed = self.under_way.pop(finished.batch), finished.failed
        stage = run.stage
        service_ns = now_ns - run.started_ns
        if stage.admission is not None:  # nobody else asks for the pace
            stage.pace.departed(now_ns, run.started_ns, run.rows, stage.plan.concurrency)
        stage.running -= 1
        stage.running_rows -= run.rows
        stage.service_ns.record(finished.worked_ns or service_ns)
        if failed:
            stage.failures += 1
        else:
            stage.floor.observe(service_ns)
            stage.refresh_path_floor()
        if stage.breaker is not None and run.is_wanted:
            stage.breaker.ended(now_ns, failed=failed)
        return run

    def give_up(self, run: Run, now_ns: int, out: list[AnyCommand]) -> None:
        """A run has taken too long: nobody waits for it any more."""
        run.is_wanted = False
        run.stage.timeouts += 1
        if run.stage.breaker is not None:
            run.stage.breaker.ended(now_ns, failed=True)
        out.append(Abandon(run.batch))

    def part(self, run: Run, out: list[AnyCommand] | None = None) -> Run | None:
        """Separate a run from its twin, which is not wanted any more if `out` is given."""
        twin, run.twin = run.twin, None
        if twin is not None:
            twin.twin = None
            if out is not None:
                twin.is_wanted, twin.has_lost = False, True
                out.append(Abandon(twin.batch))
        return twin
