"""How many bytes of requests a pipeline may hold at once: what it can answer within the target.

By Little's law that is its capacity in bytes a second, times the target. Callers who send their
bodies slowly, or read their answers so, hold bytes for longer than the engine has the event; what
was seen of that is added to the target. Twice as much leaves room for what varies, and a largest
request must find room beside the usual ones. So the bound is derived, and not searched for; it
moves by at most half or double, not at all while it is about right, and not up while it is in
nobody's way: a capacity that is not used cannot be forecast well.
"""

from __future__ import annotations

from collections.abc import Mapping

from sedp.manager.bounds import Bounds
from sedp.manager.cost_model import Cost
from sedp.manager.forecast import forecast
from sedp.manager.judgement import Untold
from sedp.manager.moves import Expected, Move, MoveLog
from sedp.manager.observation import SECOND_NS, BytesSeen, Observation, PipelineSeen, StageKey
from sedp.manager.scene import Scene, set_scene

HEADROOM = 2.0
BAND = 1.25  # off by less is about right
USED_SHARE = 0.25  # of the bound is held on average: it may be in somebody's way
STEP_MAX = 2.0
REQUESTS_MIN = 50  # whose sizes say anything
DECAY = 0.9  # of a window's weight: sizes and stays scatter more than costs
HOLD = 0.999  # of a capacity: under little load it is forecast too low, and never twice the same
WITHOUT_LIMIT_S = 1e12  # events a second, more than any pipeline answers


class ByteBounds:
    """What is remembered of the sizes of each pipeline's requests."""

    def __init__(self) -> None:
        self._usual: dict[str, _Usual] = {}

    def step(
        self,
        observation: Observation,
        pipeline: PipelineSeen,
        costs: Mapping[StageKey, Cost],
        bounds: Mapping[StageKey, Bounds],
        cores: float,
        log: MoveLog,
    ) -> list[Move]:
        """The move that brings a pipeline's bound nearer to what is derived, if it is far off.

        Args:
            cores: runs that the process carries at full speed.
            log: where the move is written down.
        """
        held = pipeline.held
        scene = set_scene(observation, pipeline.name, costs, bounds, cores)
        if held is None or scene is None:
            return []
        usual = self._usual.setdefault(pipeline.name, _Usual())
        usual.learn(held, pipeline, _capacity_s(scene))
        usual.untold.tell(scene.window, log)
        if usual.requests < REQUESTS_MIN:
            return []
        wanted = min(held.ceiling, usual.bytes_in(pipeline.target_ns) + held.largest)
        before = held.bytes_max
        if before / BAND <= wanted <= before * BAND and not usual.is_on_the_way:
            return []
        if wanted > before and not _is_used(held, observation.window_ns):
            return []
        after = max(round(before / STEP_MAX), min(round(before * STEP_MAX), wanted))
        usual.is_on_the_way = after != wanted
        if after == before:
            return []
        move = Move(
            log.total + 1,
            observation.now_ns,
            pipeline.name,
            "",
            "in_flight_bytes_max",
            before,
            after,
            usual.figures(held, pipeline),
            f"bytes of requests that can be answered within the target: {wanted}",
            Expected(1.0, round(usual.capacity_s, 1), pipeline.p99_ns),
        )
        log.append(move)
        usual.untold.add([move], scene.window)
        return [move]


class _Usual:
    """Decayed sums over the windows of one pipeline."""

    def __init__(self) -> None:
        self.untold = Untold()
        self.is_on_the_way = False  # the last move did not reach what it was for
        self.requests = self.capacity_s = 0.0
        self._windows = self._request_bytes = self._stay_ns = self._away_ns = self._capacity_s = 0.0

    def learn(self, held: BytesSeen, seen: PipelineSeen, capacity_s: float) -> None:
        inside_ns = seen.latency_ns.total / max(1, seen.latency_ns.count)
        away_ns = held.stay_ns - inside_ns * held.request_bytes
        for name, value in (
            ("_windows", 1.0),
            ("requests", held.requests),
            ("_request_bytes", held.request_bytes),
            ("_stay_ns", held.stay_ns),
            ("_away_ns", away_ns),
            ("_capacity_s", capacity_s),
        ):
            setattr(self, name, DECAY * getattr(self, name) + value)
        self.capacity_s = max(HOLD * self.capacity_s, self._capacity_s / self._windows)

    @property
    def mean_bytes(self) -> float:
        return self._request_bytes / self.requests

    @property
    def away_ns(self) -> float:
        """How long a byte is held while its event is not in the engine, ≥ 0."""
        return max(0.0, self._away_ns / max(1.0, self._request_bytes))

    def bytes_in(self, target_ns: int) -> int:
        """That are held when all that can be answered stay for as long as the target."""
        held_s = (target_ns + self.away_ns) / SECOND_NS
        return round(HEADROOM * self.capacity_s * self.mean_bytes * held_s)

    def figures(self, held: BytesSeen, seen: PipelineSeen) -> Mapping[str, float]:
        """What a move is explained by."""
        return {
            "capacity_s": round(self.capacity_s, 1),
            "request_bytes_mean": round(self.mean_bytes),
            "request_bytes_max": held.largest,
            "stay_mean_ns": round(self._stay_ns / max(1.0, self._request_bytes)),
            "away_mean_ns": round(self.away_ns),
            "target_ns": seen.target_ns,
            "refused": held.refused,
        }


def _is_used(held: BytesSeen, window_ns: int) -> bool:
    return held.refused > 0 or held.stay_ns / window_ns > USED_SHARE * held.bytes_max


def _capacity_s(scene: Scene) -> float:
    """Events a second that could be answered: no less than are."""
    outcome = forecast(scene.loads, WITHOUT_LIMIT_S, scene.cores)
    return max(outcome.capacity_s, scene.window.answered_s)
