"""A thread that does one thing again and again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sedp.errors import SedpError

_log = logging.getLogger(__name__)


class Ticker:
    """Calls `task` again and again until it is closed; a failure is logged once a row.

    Args:
        pause_s: seconds before each call, asked for anew each time.
    """

    def __init__(self, name: str, pause_s: Callable[[], float], task: Callable[[], None]) -> None:
        self._pause_s = pause_s
        self._task = task
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        said = ""
        while not self._closing.wait(self._pause_s()):
            try:
                self._task()
                said = ""
            except SedpError as err:
                if str(err) != said:
                    _log.warning("%s", err)
                said = str(err)

    def close(self) -> None:
        """Let the call under way end."""
        self._closing.set()
        self._thread.join()
