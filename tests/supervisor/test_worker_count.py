"""How many processes serve, by config, command line and machine."""

from __future__ import annotations

import pytest

from sedp.cores import usable_cores
from sedp.errors import ConfigError
from sedp.supervisor.service import _count_workers


@pytest.mark.parametrize(
    ("asked", "is_recorded", "count"),
    [(3, False, 3), ("auto", False, usable_cores()), ("auto", True, 1), (1, True, 1)],
)
def test_workers_are_counted(asked: int | str, is_recorded: bool, count: int) -> None:
    assert _count_workers(asked, is_recorded=is_recorded) == count


def test_a_recording_needs_one_process() -> None:
    with pytest.raises(ConfigError, match="not 2; add --workers 1"):
        _count_workers(2, is_recorded=True)
