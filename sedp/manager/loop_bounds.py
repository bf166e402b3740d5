"""How long a run may hold the event loop: nobody else is heard while it lasts.

`auto` goes by these bounds, and so do forecasts and moves of the tuner, which then expect what the
engine does. The border that a stage crosses to leave the loop is twice the one to come: a stage in
between stays where it is, and does not flutter.
"""

from __future__ import annotations

COMES_NS_MAX = 2_000_000  # what a run in a thread, and its way back, may cost the loop
HOLDS_NS_MAX = 2 * COMES_NS_MAX


def belongs_inline(run_ns: float, is_inline: bool) -> bool:
    """Whether `auto` has a stage's runs on the loop.

    Args:
        run_ns: of the usual run.
        is_inline: whether it is there now.
    """
    return run_ns < (HOLDS_NS_MAX if is_inline else COMES_NS_MAX)
