"""Where `auto` moves stages by itself, told as moves like all others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sedp.daemon.served import Served
from sedp.manager.loop_bounds import COMES_NS_MAX, HOLDS_NS_MAX
from sedp.manager.moves import Came, Expected, Move, MoveLog, Verdict
from sedp.operator import RUNS_AFTER, Flip, Operator


def hold(served: Iterable[Served], is_held: bool) -> None:
    """Have `auto` leave all stages where they are, or move them again."""
    for one in served:
        for operator in one.engine.operators:
            operator.is_held = is_held


class Flips:
    """Takes them from the engines, and notes what came of each."""

    def __init__(self) -> None:
        self._open: dict[Operator, tuple[int, Flip]] = {}  # number of the move that it is

    def tell(self, served: Sequence[Served], log: MoveLog) -> list[Move]:
        """The flips since this was last asked, written down in `log`."""
        moves = []
        before, self._open = self._open, {}
        for one in served:
            for operator in one.engine.operators:
                waiting = before.get(operator)
                while operator.flips:
                    flip = operator.flips.popleft()
                    if waiting is not None:
                        _conclude(*waiting, "reverted", log)
                    moves.append(_move(log.total + 1, one.pipeline.name, operator, flip))
                    log.append(moves[-1])
                    waiting = moves[-1].number, flip
                if waiting is not None and waiting[1].runs >= RUNS_AFTER:
                    _conclude(*waiting, "kept", log)
                elif waiting is not None:
                    self._open[operator] = waiting
        return moves


def _move(number: int, pipeline: str, operator: Operator, flip: Flip) -> Move:
    bound_ns = COMES_NS_MAX if flip.inline else HOLDS_NS_MAX
    before, after = ("thread", "inline") if flip.inline else ("inline", "thread")
    side = "less than" if flip.inline else "no less than"
    reason = f"auto: runs of {flip.run_ns / 1e6:.2f} ms, {side} {bound_ns / 1e6:g} ms"
    return Move(
        number,
        flip.at_ns,
        pipeline,
        operator.stage.name,
        "executor",
        before,
        after,
        {"run_usual_ns": flip.run_ns, "bound_ns": bound_ns},
        reason,
        Expected(1.0, 0.0, 0, run_ns=flip.run_ns),
    )


def _conclude(number: int, flip: Flip, verdict: Verdict, log: MoveLog) -> None:
    """Write down the mean run since the flip; nothing where there was none."""
    if flip.runs:
        run_ns = flip.total_ns // flip.runs
        gain = round(flip.run_ns / max(1, run_ns), 3)
        log.conclude([number], Came(gain, 0.0, 0, verdict, run_ns=run_ns))
