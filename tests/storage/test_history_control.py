"""The histories are seen to fail where the store loses something."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from sedp.storage.updates import commits
from tests.storage.follower import Follower
from tests.storage.test_history import StoreHistory

FEW = settings(
    max_examples=60,
    stateful_step_count=20,
    deadline=None,
    phases=[Phase.generate],
    derandomize=True,
    database=None,
    report_multiple_bugs=False,
)


@pytest.fixture
def _follower() -> Iterator[None]:
    StoreHistory.follower = Follower()
    yield
    StoreHistory.follower.end()


@pytest.mark.slow
@pytest.mark.usefixtures("_follower")
def test_a_row_left_out_of_a_commit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    sort = commits.sort_last_wins

    def sort_and_lose(keys: Any, rows: Any) -> tuple[Any, Any]:
        keys, rows = sort(keys, rows)
        return keys[: max(1, len(keys) - 1)], rows[: max(1, len(rows) - 1)]

    monkeypatch.setattr(commits, "sort_last_wins", sort_and_lose)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(StoreHistory, settings=FEW)
