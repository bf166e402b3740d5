"""Which share of the budget a newcomer of each rank may use: level before user, level 1 before all.

The first level has the whole and a little more, whoever the user is: one who might be late by a
hair is in time more often than not, and refused he is lost for sure. There are too few of them to
make the tail of all longer. Between it and the others lies a gap: room for those of the first level
who come before the next batch makes some. How much that is grows with
their own load, as any queue does: nearly nothing is left for the others to take once the first
level alone keeps the pipeline busy.

The others' shares fall from rank to rank, so that the same users are served all along. A wide fall
wastes what the last ranks might have used of a short burst, so it is narrow until more is asked
for than can be served.
"""

from __future__ import annotations

USERS = 128  # values of `Arrived.user`
FIRST = 1.25  # of the budget, for the first of several levels
GAP = 0.18  # below the first level, when it asks for nothing
GAP_LOAD = 0.45  # more of it, were the first level alone to fill the pipeline
GAP_MAX = 0.5
FALL_CALM = 0.05  # from the first of the others to the last
FALL, FALL_LONE = 0.15, 0.4  # the same in an overload; with one level nothing else orders events
CALM, OVERLOADED = 1.0, 1.5  # loads


class RankShares:
    """Args: `levels` ≥ 1 of priority; with one alone, its users are told apart."""

    __slots__ = ("_fall", "_first", "_lasts", "_top", "levels")

    def __init__(self, levels: int) -> None:
        self.levels = levels
        self._first = USERS if levels > 1 else 0  # ranks that have the whole
        self._lasts = levels * USERS - 1 - self._first
        self.follow(0.0, 0.0)

    def follow(self, load: float, first_load: float) -> None:
        """Widen or narrow by what is asked for.

        Args:
            load: of all newcomers, let in or not, by what can be done; ≥ 0.
            first_load: the part of the first level.
        """
        gap = min(GAP + GAP_LOAD * first_load, GAP_MAX) if self._first else 0.0
        part = min(max((load - CALM) / (OVERLOADED - CALM), 0.0), 1.0)
        self._top = 1.0 - gap
        fall = FALL if self._first else FALL_LONE
        self._fall = (FALL_CALM + (fall - FALL_CALM) * part) / self._lasts

    def share(self, level: int, user: int) -> float:
        """In (0, `FIRST`]; never more for a later rank, and more than 1 for the first level alone.

        Args:
            level: 1 to `levels`.
            user: in 0..USERS - 1.
        """
        rank = (level - 1) * USERS + user - self._first
        return FIRST if rank < 0 else self._top - self._fall * rank
