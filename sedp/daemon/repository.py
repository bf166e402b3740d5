"""The pipelines of a process by name: each with an engine of its own, so that one can be loaded,
unloaded or replaced while no other notices.

Invariant: whoever calls `find` and then `Engine.infer` without giving up the loop in between is
answered by a pipeline that is open. So a replaced pipeline loses no request: from one moment to
the next `find` gives the new one, and the old one is closed when its last event has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence, Set

from sedp.daemon.failures import NOT_LOADED, what_callers_see
from sedp.daemon.live_change import can_follow, follow
from sedp.daemon.monitoring.engine_totals import EngineTotals
from sedp.daemon.served import PipelineOpener, PipelineState, Place, Replacement, Served, State
from sedp.daemon.warm_up import renew
from sedp.engine.statistics import EngineStatistics
from sedp.errors import RequestError, SedpError
from sedp.pipeline import Pipeline
from sedp.pipeline_checks import nearest

NAME_CHARS_SHOWN_MAX = 64

__all__ = ["PipelineState", "Replacement", "Repository", "Served", "State"]

log = logging.getLogger(__name__)


class Repository:
    """Make it, and use it, on one running loop.

    Args:
        opener: opens pipelines.
        drain_s: how long a change waits for the events of the pipeline it replaced.
    """

    def __init__(self, opener: PipelineOpener, drain_s: float) -> None:
        self.drain_s = drain_s
        self.on_change: Callable[[], None] = lambda: None  # when `find` begins to answer otherwise
        self._opener = opener
        self._places: dict[str, Place] = {}
        self._leaving: dict[asyncio.Task[None], Served] = {}
        self._totals = EngineTotals()

    @property
    def pipelines(self) -> Mapping[str, Pipeline]:
        """All pipelines of the config, served or not."""
        return {
            name: place.served.pipeline if place.served else place.pipeline
            for name, place in self._places.items()
        }

    @property
    def shed(self) -> Mapping[str, Mapping[int, int]]:
        """Events that were shed since the start, by pipeline and level."""
        return self._opener.shed

    @property
    def in_flight(self) -> int:
        """Events inside, those of pipelines that are being closed included."""
        parts = (served.statistics() for served in self._open_ones())
        return sum(pipeline.in_flight for part in parts for pipeline in part.pipelines)

    async def open(self, pipelines: Sequence[Pipeline]) -> None:
        """Open and serve the pipelines of the config; all or none.

        Raises:
            SedpError: one cannot be opened.
        """
        wanted = {pipeline.name: pipeline for pipeline in pipelines}
        self.commit(await self.prepare(wanted, set(), set()))

    # Asking -----------------------------------------------------------------------------------

    def find(self, name: str, version: str | None = None) -> Served:
        """The pipeline that answers now; see the invariant above.

        Raises:
            RequestError: 404, there is no such name or version, or it is not loaded.
        """
        place = self._place(name)
        if place.served is None:
            why = what_callers_see(place.reason)
            text = f"pipeline {name!r} is not loaded: {why}; load it on the admin plane"
            raise RequestError(text, 404)
        have = place.served.pipeline.version
        if version is not None and version != have:
            shown = version[:NAME_CHARS_SHOWN_MAX]
            text = f"pipeline {name!r} has no version {shown!r}; it has {have!r}"
            raise RequestError(text, 404)
        return place.served

    def served(self) -> Iterator[Served]:
        """The pipelines that answer now, in the config's order."""
        return (place.served for place in self._places.values() if place.served is not None)

    def names(self) -> tuple[str, ...]:
        """Of the pipelines that answer now, in the config's order."""
        return tuple(served.pipeline.name for served in self.served())

    def index(self) -> list[PipelineState]:
        """Every pipeline of the config, in its order."""
        return [
            PipelineState(name, place.pipeline.version, place.state, place.reason)
            for name, place in self._places.items()
        ]

    def statistics(self) -> EngineStatistics:
        """Of all pipelines of the config, counted since the start, however often replaced."""
        running = [served.statistics() for served in self._open_ones()]
        return self._totals.total(running, self.pipelines)

    # Changing one -----------------------------------------------------------------------------

    async def load(self, name: str) -> None:
        """Serve a pipeline of the config; one that is served already is opened anew and replaced.

        Returns once the one before is closed.

        Raises:
            RequestError: 404 unknown, 409 it is being changed.
            SedpError: it cannot be opened; what was served before still is.
        """
        place = self._place(name)
        self._claim([place])
        try:
            await self._reopen(place)
        finally:
            self._release([place])
        await self.settled()

    async def unload(self, name: str) -> None:
        """Stop serving a pipeline; returns once its events in flight have ended.

        Raises:
            RequestError: 404 unknown, 409 it is being changed.
        """
        place = self._place(name)
        self._claim([place])
        self._serve(place, None)
        self._release([place])
        self.on_change()
        await self.settled()

    # Changing many ----------------------------------------------------------------------------

    async def prepare(
        self, wanted: Mapping[str, Pipeline], changed: Set[str], live: Set[str]
    ) -> Replacement:
        """Open what is new or changed beside what is served. Nothing changes for callers yet.

        A pipeline that was unloaded stays so.

        Args:
            wanted: all pipelines there shall be, not opened.
            changed: names of those that are there already, but differ.
            live: of those that differ in nothing that an open pipeline cannot follow.

        Raises:
            RequestError: 409, one of them is being changed.
            SedpError: one cannot be opened; nothing stays open.
        """
        differ = changed | live
        affected = [p for n, p in self._places.items() if n in differ or n not in wanted]
        self._claim(affected)
        followed = {name for name in live if can_follow(self._places[name], self._opener)}
        try:
            fresh = await self._opener.open(
                [wanted[name] for name in self._to_open(wanted, differ - followed)]
            )
        except BaseException:
            self._release(affected)
            raise
        return Replacement(wanted, fresh, followed, affected)

    def commit(self, replacement: Replacement) -> None:
        """Serve what was prepared, from this moment on; `settled` waits for what was before."""
        wanted = replacement.wanted
        for name in self._places.keys() - wanted.keys():
            self._serve(self._places.pop(name), None)
            self._opener.shed.pop(name, None)
        places = self._places
        self._places = {name: places.get(name) or Place(p) for name, p in wanted.items()}
        for name, served in replacement.fresh.items():
            self._serve(self._places[name], served)
        for name in replacement.live:
            follow(self._places[name], wanted[name], self._opener)
        for place in replacement.places:
            place.pipeline = wanted.get(place.pipeline.name, place.pipeline)
        self._release(replacement.places)
        self.on_change()

    async def discard(self, replacement: Replacement) -> None:
        """Close what was prepared; nothing has changed."""
        self._release(replacement.places)
        for served in replacement.fresh.values():
            await self._opener.close(served)

    async def settled(self) -> None:
        """Wait until replaced pipelines are closed; not longer than `drain_s`."""
        if not self._leaving:
            return
        _, pending = await asyncio.wait(set(self._leaving), timeout=self.drain_s)
        for task in pending & self._leaving.keys():
            name = self._leaving[task].pipeline.name
            log.warning(
                "pipeline %r: the one before still has events after %g s", name, self.drain_s
            )

    # Ending -----------------------------------------------------------------------------------

    def begin_drain(self) -> None:
        """Refuse new events from now on."""
        for served in self._open_ones():
            served.engine.begin_drain()

    async def drained(self) -> None:
        """Wait until no event is in flight, those of replaced pipelines included."""
        for served in self._open_ones():
            await served.engine.drained()

    async def close(self) -> None:
        """Close everything; no event may be in flight."""
        for place in self._places.values():
            self._serve(place, None)
        await asyncio.gather(*self._leaving)

    # ------------------------------------------------------------------------------------------

    def _open_ones(self) -> list[Served]:
        return [*self.served(), *self._leaving.values()]

    def _place(self, name: str) -> Place:
        place = self._places.get(name)
        if place is None:
            name = name[:NAME_CHARS_SHOWN_MAX]
            known = ", ".join(sorted(self._places))
            hint = nearest(name, self._places)
            raise RequestError(f"there is no pipeline {name!r}{hint}; known: {known}", 404)
        return place

    def _claim(self, places: Sequence[Place]) -> None:
        """Keep others from changing these pipelines, until `_release`.

        Raises:
            RequestError: 409, somebody changes one already.
        """
        for place in places:
            if place.is_changing or place.leaving is not None:
                name = place.pipeline.name
                raise RequestError(f"pipeline {name!r} is being changed; try again later", 409)
        for place in places:
            place.is_changing = True

    def _release(self, places: Sequence[Place]) -> None:
        for place in places:
            place.is_changing = False

    def _to_open(self, wanted: Mapping[str, Pipeline], changed: Set[str]) -> Iterator[str]:
        for name in wanted:
            place = self._places.get(name)
            if place is None or (name in changed and place.served is not None):
                yield name

    async def _reopen(self, place: Place) -> None:
        if place.served is None:
            place.state, place.reason = State.LOADING, ""
        try:
            [fresh] = (await self._opener.open([renew(place.pipeline)])).values()
        except SedpError as err:
            place.state = State.READY if place.served else State.UNAVAILABLE
            place.reason = f"{NOT_LOADED}: {err}"
            log.warning("pipeline %r %s", place.pipeline.name, place.reason)
            raise
        self._serve(place, fresh)
        self.on_change()

    def _serve(self, place: Place, fresh: Served | None) -> None:
        """Let `fresh`, or nobody, answer from now on, and close the one before in time."""
        before, place.served = place.served, fresh
        place.state = State.READY if fresh else State.UNAVAILABLE
        place.reason = "" if fresh else "unloaded"
        if before is not None:
            place.leaving = asyncio.create_task(self._leave(place, before))
            self._leaving[place.leaving] = before

    async def _leave(self, place: Place, served: Served) -> None:
        await served.engine.drained()
        await self._opener.close(served)
        assert place.leaving is not None
        del self._leaving[place.leaving]  # from one moment to the next it is counted as ended
        self._totals.remember(served.statistics())
        place.leaving = None
