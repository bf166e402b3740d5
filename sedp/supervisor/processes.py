"""How many processes serve, and how many threads each: settled before anything heavy is imported.

A BLAS starts its threads, and numba counts its own, when they are loaded. What this imports loads
neither; workers inherit the variables.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sedp.config.document import read_document
from sedp.config.threads import Runs, outline, plan
from sedp.cores import usable_cores
from sedp.errors import ConfigError
from sedp.manager.thread_plan import ThreadPlan

_ours: set[str] = set()  # variables; all others are the operator's


def count_workers(asked: int | str, *, is_recorded: bool) -> int:
    """As many as asked for, or one a core.

    Args:
        asked: a number or "auto".
        is_recorded: stimuli are, of one process.

    Raises:
        ConfigError: several cannot be recorded.
    """
    if isinstance(asked, str):
        return 1 if is_recorded else usable_cores()
    if is_recorded and asked > 1:
        raise ConfigError(f"--stimulus-log records one process, not {asked}; add --workers 1")
    return asked


def set_threads(path: Path, workers: int | None, *, is_recorded: bool) -> None:
    """Tell runtimes that are to be loaded by this process, and by its workers, their threads.

    A config with faults sets nothing: they are told when it is checked.

    Args:
        path: of the config.
        workers: that serve, whatever the config says.

    Raises:
        ConfigError: the config is no YAML, or several processes cannot be recorded.
    """
    told = outline(read_document(path, os.environ).tree)
    if told is not None:
        count = count_workers(workers or told.workers, is_recorded=is_recorded)
        change_threads(told.runs, told.threads, count)


def change_threads(runs: Sequence[Runs], threads: int | str, workers: int) -> None:
    """The same for processes to come, once there may be other runs.

    Args:
        runs, threads: as the config has them.
        workers: that serve.
    """
    planned = _plan(runs, threads, workers)
    for name in _ours:
        os.environ.pop(name, None)
    additions = planned.additions(os.environ)
    _ours.update(additions)
    os.environ.update(additions)


def describe_threads(runs: Sequence[Runs], threads: int | str, workers: int) -> str:
    """For people: what each process has, as `change_threads` and the operator have it."""
    counts = _plan(runs, threads, workers).counts(os.environ)
    return ", ".join(f"{runtime} {count}" for runtime, count in counts.items())


def _plan(runs: Sequence[Runs], threads: int | str, workers: int) -> ThreadPlan:
    return plan(runs, usable_cores() if isinstance(threads, str) else threads, workers)
