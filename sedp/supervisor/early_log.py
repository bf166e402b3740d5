"""What a worker logs before it serves: said by the first one only, because all start alike.

A config that cannot start would otherwise be told as often as there are workers.
"""

from __future__ import annotations

import logging
from logging.handlers import MemoryHandler

RECORDS_MAX = 1000
NEVER = logging.CRITICAL + 1


class EarlyLog:
    """Sets up logging for a worker.

    Args:
        number: of the worker, for each line.
        is_held: keep lines back until `release`; those of a worker that ends before are lost.
    """

    def __init__(self, number: int, *, is_held: bool) -> None:
        self._target = logging.StreamHandler()
        self._target.setFormatter(
            logging.Formatter(f"%(asctime)s %(levelname)s worker {number}: %(name)s: %(message)s")
        )
        self._held = MemoryHandler(RECORDS_MAX, NEVER, self._target, flushOnClose=False)
        logging.getLogger().addHandler(self._held if is_held else self._target)
        self._is_held = is_held

    def release(self) -> None:
        """Say what was held back, and everything from now on."""
        if not self._is_held:
            return
        self._is_held = False
        root = logging.getLogger()
        root.removeHandler(self._held)
        root.addHandler(self._target)
        self._held.flush()
