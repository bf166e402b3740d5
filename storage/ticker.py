"""A thread that does one thing again and again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sedp.errors import SedpError

_log = logging.getLogger(__name__)


class Ticker:
    """Calls `task` every `period_s` seconds until it is closed; a failure is logged once a row."""

    def __init__(self, name: str, period_s: float, task: Callable[[], None]) -> None:
        self._period_s = period_s
        self._task = task
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        said = ""
        while not self._closing.wait(self._period_s):
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
