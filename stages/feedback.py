"""Feedback: up to when the scores of a user are void, in memory of a fixed size.

Users are kept in sets of seven. One that has no room left lets go of the user whose feedback is
oldest, and raises its *floor* to that time: scores that old are void for every user of the set. So
too much may be computed anew, but never is a score served that feedback has overtaken.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types

from sedp.kernel import inlined, kernel
from sedp.stages.score_cells import NEVER_NS, WORDS, Numbers, Words, new_lines
from sedp.storage.ram.line import LINE_BYTES, WAYS, home_of, line_of, way_of
from sedp.storage.rows.keys import mix

FEEDBACK_SET_BYTES = 2 * LINE_BYTES
FEEDBACK = (types.uint64[:, ::1], types.int64[:, ::1])


class Feedback(NamedTuple):
    """Who gave feedback, and when.

    Args:
        users: uint64[sets, 8], of which the eighth is nobody.
        times: int64[sets, 8], of which the eighth is the floor.
    """

    users: Words
    times: Numbers


def new_feedback(sets: int) -> Feedback:
    """Nobody has given any."""
    times = new_lines(sets).view(np.int64)
    times.fill(NEVER_NS)
    return Feedback(new_lines(sets), times)


@inlined
def void_until(users: Words, times: Numbers, user: np.uint64) -> int:
    """Scores of the user that were asked for at this time or before are void."""
    home = home_of(mix(user), users.shape[0])
    way = way_of(line_of(users, home), user)
    until: int = times[home, WAYS]
    if way < WAYS:
        until = max(until, times[home, way])
    return until


@kernel(types.int64(*FEEDBACK, WORDS, types.int64))
def note_feedback(users: Words, times: Numbers, who: Words, now_ns: int) -> int:
    """Scores of `who` are void up to now; returns how many users were let go of."""
    forgotten = 0
    for user in who:
        home = home_of(mix(user), users.shape[0])
        way = way_of(line_of(users, home), user)
        if way == WAYS:
            way = int(np.argmin(times[home, :WAYS]))
            forgotten += times[home, way] != NEVER_NS
            times[home, WAYS] = max(times[home, WAYS], times[home, way])
            users[home, way], times[home, way] = user, NEVER_NS
        times[home, way] = max(times[home, way], now_ns)
    return forgotten
