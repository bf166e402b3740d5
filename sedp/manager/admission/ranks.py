"""Which share of the budget a newcomer of each rank may use: level before user, level 1 before all.

The first level has the whole, whoever the user is. The others divide what lies between a gap below
it and a little less than a half, with gaps between them: a batch more or less moves what a newcomer
needs by some hundredths, and must not make a level pay for the one below.
"""

from __future__ import annotations

USERS = 128  # values of `Arrived.user`
LAST_SHARE = 0.45
FIRST_GAP = 0.3  # between the first level and the second
GAP = 0.05  # between the others


def rank_shares(levels: int) -> list[float]:
    """By rank, `(level - 1) * USERS + user`; never rising.

    Args:
        levels: ≥ 1; with one alone, its users are told apart.
    """
    if levels == 1:
        return _fall(1.0, LAST_SHARE)
    shares = [1.0] * USERS
    band = (1.0 - FIRST_GAP - LAST_SHARE) / (levels - 1)
    gap = min(GAP, band / 2)
    for level in range(levels - 1):
        top = 1.0 - FIRST_GAP - level * band
        is_last = level == levels - 2
        shares += _fall(top, LAST_SHARE if is_last else top - band + gap)
    return shares


def _fall(top: float, bottom: float) -> list[float]:
    return [top - (top - bottom) * user / (USERS - 1) for user in range(USERS)]
