"""The tuner's memory of one pipeline: the windows so far, what is being tried, what failed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce

from sedp.manager.bounds import Bounds
from sedp.manager.cost_model import Cost
from sedp.manager.forecast import StageLoad, forecast
from sedp.manager.judgement import Pause, Tabu, Trial, Untold, Window, same_load, tried, window_of
from sedp.manager.moves import Came, Expected, Knob, Move, MoveLog
from sedp.manager.neighbours import Step
from sedp.manager.observation import Observation, StageKey, StageSeen, merge
from sedp.manager.scene import Change, Scene, set_scene
from sedp.manager.search import Goal, correction, search

EVENTS_MIN = 50  # offered, and answered, in windows that shall say anything
WINDOWS_MIN = 2  # before anything is decided: one may be an accident
WINDOWS_MAX = 5  # joined: older ones would hide what changed
TRIAL_MOVES_MAX = 64
QUEUE_FACTOR = 2.0  # off the derived bound is put right at once
QUEUE_NEAR = 4.0  # by twofold steps from here; from further off to here at once
QUEUE_FACTOR_MIN = 1.15  # less is not worth a move
GAIN_PLAIN = 1.25  # so much is no accident
GAIN_LARGE = 1.1  # from moves that brought so much the next ones follow at once
QUEUE_SHARE_MIN, QUEUE_SHARE_MAX = 0.4, 1.2
QUEUE_SLACK = 0.7  # of the target: with a lower p99 queues may be longer again


class PipelineTuner:
    """Decides for one pipeline.

    Args:
        log: where moves are written down.
        give_way: see `ModelTuner`.
    """

    def __init__(self, name: str, log: MoveLog, give_way: Callable[[], None]) -> None:
        self._name = name
        self._log = log
        self._give_way = give_way
        self._tabu = Tabu()
        self._trial: Trial | None = None
        self._untold = Untold()
        self._recent: deque[Observation] = deque(maxlen=WINDOWS_MAX)
        self._settling = False  # the window after a move is half of the old plan
        self._pause = Pause()
        self._queue_share = 1.0  # of the target: less where forecasts see too little latency

    def abandon(self) -> None:
        """Forget what is being tried, and what was seen."""
        self._trial = None
        self._untold.forget()
        self._recent.clear()

    def step(
        self,
        observation: Observation,
        costs: Mapping[StageKey, Cost],
        bounds: Mapping[StageKey, Bounds],
        cores: float,
    ) -> list[Move]:
        """The moves to make now.

        Args:
            cores: runs that the process carries at full speed.
        """
        if self._settling:
            self._settling = False
            return []
        scene = set_scene(self._join(observation), self._name, costs, bounds, cores)
        if scene is None or min(scene.window.seen.answered, scene.window.seen.offered) < EVENTS_MIN:
            return []
        self._untold.tell(scene.window, self._log)
        goal = self._aim(scene)
        moves = self._bound_queues(scene, goal.with_queues(scene.loads), QUEUE_FACTOR)
        if not scene.window.is_healthy:
            moves += self._spare_slots(scene)
        if moves:  # until these are about right, figures say nothing about the other knobs
            self._follow(moves)
            return moves
        if len(self._recent) < WINDOWS_MIN and not self._is_plain(scene.window):
            return []
        moves = self._judge(scene) or self._decide(scene, goal)
        if moves:
            self._recent.clear()
            self._settling = True
        return moves

    def _is_plain(self, window: Window) -> bool:
        """One window is enough to see that what is being tried brought much."""
        trial = self._trial
        return trial is not None and trial.judge(window).gain >= GAIN_PLAIN

    def _follow(self, queues: Sequence[Move]) -> None:
        """Queue bounds moved while something is tried: they are judged, and taken back, with it."""
        trial = self._trial
        if trial is not None:
            moves = [*trial.moves, *queues]
            fits = len(moves) <= TRIAL_MOVES_MAX  # else it dragged on, and says nothing any more
            self._trial = replace(trial, moves=moves) if fits else None
        self._recent.clear()

    def _join(self, observation: Observation) -> Observation:
        """The windows since the last move or jump of the load as one, the newest few of them."""
        if self._recent:
            before, now = (window_of(o, self._name) for o in (self._recent[-1], observation))
            if not same_load(before.offered_s, now.offered_s):
                self._recent.clear()
        self._recent.append(observation)
        return reduce(merge, self._recent)

    def _judge(self, scene: Scene) -> list[Move]:
        """Note what came of the last moves; the moves that take them back, if they failed."""
        trial, self._trial = self._trial, None
        if trial is None:
            return []
        came = trial.judge(scene.window)
        self._log.conclude([move.number for move in trial.moves], came)
        if came.verdict == "kept":
            self._tabu.succeed(came.gain)
        if came.gain >= GAIN_LARGE:
            self._pause = Pause()
        else:
            self._pause.lengthen(scene.window)
        if came.verdict != "reverted":
            return []
        self._tabu.fail(tried(trial.moves[: trial.steps]), scene.now_ns, scene.window.offered_s)
        before = trial.before
        back = Expected(1.0, round(before.answered_s, 1), before.seen.p99_ns)  # at least
        moves = [self._take_back(move, came, scene, back) for move in reversed(trial.moves)]
        self._untold.add(moves, scene.window)
        return moves

    def _take_back(self, move: Move, came: Came, scene: Scene, back: Expected) -> Move:
        stage = next(stage for stage in scene.stages if stage.key == move.key)
        promised = move.expected.gain if move.expected else 1.0
        reason = f"move {move.number} promised ×{promised:.2f}, and ×{came.gain:.2f} came"
        return self._note(scene, stage, move.knob, move.after, move.before, reason, back)

    def _aim(self, scene: Scene) -> Goal:
        """What to aim at, with what is known of the forecasts' errors."""
        seen, offered_s = scene.window.seen, scene.window.offered_s
        outcome = forecast(scene.loads, offered_s, scene.cores)
        is_short = scene.window.is_losing and seen.p99_ns <= QUEUE_SLACK * seen.target_ns
        late_factor = correction(seen.p99_ns, outcome.p99_ns)
        capacity_factor = 1.0
        if scene.window.is_losing:
            capacity_factor = min(1.0, correction(scene.window.answered_s, outcome.capacity_s))
        return Goal(
            offered_s,
            seen.target_ns,
            scene.cores,
            capacity_factor,
            late_factor if is_short else max(1.0, late_factor),
            self._queue_share,
            is_short,
        )

    def _decide(self, scene: Scene, goal: Goal) -> list[Move]:
        if scene.window.is_healthy or self._pause.holds(scene.window):
            return []
        self._correct_queues(scene.window)
        queues = self._bound_queues(scene, goal.with_queues(scene.loads), QUEUE_FACTOR_MIN)
        return queues or self._try(scene, goal)

    def _spare_slots(self, scene: Scene) -> list[Move]:
        """Halve slots beyond what can be of use: while they stand open, no batch fills.

        Not judged, since of many slots too many nothing comes until the last of them is gone.
        """
        changes: list[Change] = []
        for number, (stage, bounds) in enumerate(zip(scene.stages, scene.bounds, strict=True)):
            slots, slots_max = stage.plan.concurrency, scene.slots_max(stage)
            after = max(slots_max, bounds.concurrency[0], slots // 2)
            if after < slots:
                reason = f"no more than {slots_max} slots can be of use"
                changes.append((number, "concurrency", slots, after, reason))
        return self._make(scene, changes)

    def _correct_queues(self, window: Window) -> None:
        """Where full queues at the door make answers late whatever was forecast, shorten them."""
        if window.is_losing:
            seen = window.seen
            if seen.p99_ns > seen.target_ns:
                self._queue_share = max(QUEUE_SHARE_MIN, self._queue_share * 0.9)
            elif seen.p99_ns < QUEUE_SLACK * seen.target_ns:
                self._queue_share = min(QUEUE_SHARE_MAX, self._queue_share * 1.1)

    def _try(self, scene: Scene, goal: Goal) -> list[Move]:
        """The steps that promise most, to be judged later."""
        self._tabu.forget(scene.now_ns, scene.window.offered_s)
        if self._tabu.is_resting:
            return []

        def allowed(steps: Sequence[tuple[int, Step]]) -> bool:
            if any(
                step.knob == "concurrency"
                and step.is_up
                and step.after > scene.slots_max(scene.stages[n])  # type: ignore[operator]
                for n, step in steps
            ):
                return False
            return self._tabu.allows(
                frozenset((scene.stages[n].key, step.knob, step.is_up) for n, step in steps)
            )

        executors = [stage.executor for stage in scene.stages]
        found = search(scene.loads, executors, scene.bounds, goal, allowed, self._give_way)
        if found is None:
            self._pause.lengthen(scene.window)
            return []
        self._queue_share = 1.0
        choice, gain = found
        outcome = choice.outcome
        gain = _bound_gain(scene.window, gain)
        promise = Expected(round(gain, 3), round(outcome.capacity_s, 1), round(outcome.p99_ns))
        reason = _reason(scene.window, len(choice.steps), gain)
        moves = [
            self._note(scene, scene.stages[n], step.knob, step.before, step.after, reason, promise)
            for n, step in choice.steps
        ]
        moves += self._bound_queues(scene, goal.with_queues(choice.loads), QUEUE_FACTOR_MIN)
        self._trial = Trial(moves, scene.window, len(choice.steps))
        return moves

    def _bound_queues(
        self, scene: Scene, derived: Sequence[StageLoad], factor: float
    ) -> list[Move]:
        """Bring queue bounds nearer that are off by more than `factor` from what is derived."""
        changes: list[Change] = []
        each = zip(scene.stages, derived, scene.bounds, strict=True)
        for number, (stage, load, bounds) in enumerate(each):
            before = stage.plan.queue_rows_max
            wanted = bounds.clamp(load.plan).queue_rows_max
            if before / factor <= wanted <= before * factor:
                continue
            step = max(QUEUE_FACTOR, max(before / wanted, wanted / before) / QUEUE_NEAR)
            after = max(round(before / step), min(round(before * step), wanted))
            reason = f"rows that can be drained within the target: {wanted}"
            changes.append((number, "queue_rows_max", before, after, reason))
        return self._make(scene, changes)

    def _make(self, scene: Scene, changes: Sequence[Change]) -> list[Move]:
        """Make moves that follow from what is known: nothing is promised but what is forecast."""
        if not changes:
            return []
        promise = scene.promise(changes)
        moves = [
            self._note(scene, scene.stages[number], knob, before, after, reason, promise)
            for number, knob, before, after, reason in changes
        ]
        self._untold.add(moves, scene.window)
        return moves

    def _note(
        self,
        scene: Scene,
        stage: StageSeen,
        knob: Knob,
        before: int | str,
        after: int | str,
        reason: str,
        expected: Expected | None = None,
    ) -> Move:
        """Make a move and write it down."""
        move = Move(
            self._log.total + 1,
            scene.now_ns,
            *stage.key,
            knob,
            before,
            after,
            scene.figures(stage),
            reason,
            expected,
        )
        self._log.append(move)
        return move


def _reason(window: Window, steps: int, gain: float) -> str:
    seen, before_s = window.seen, window.in_time_s
    after_s = min(window.offered_s, before_s * gain)
    return (
        f"{seen.lost_share:.1%} lost, p99 {seen.p99_ns / 1e6:.1f} ms of "
        f"{seen.target_ns / 1e6:g} ms; {steps} steps together promise {after_s:.4g} events a "
        f"second in time, where {before_s:.4g} were"
    )


def _bound_gain(window: Window, gain: float) -> float:
    """A gain of the search's measure as one of events in time: no more than come can be."""
    return max(1.0, min(gain, window.offered_s / max(window.in_time_s, 1e-9)))
