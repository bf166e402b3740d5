"""Stores in a folder of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sedp.storage.store import ParameterStore
from tests.storage.updated import fill


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ParameterStore]:
    """An empty store, open for writing, at tmp_path / "store"; small tables are resident in it."""
    with ParameterStore.open(tmp_path / "store", ram_bytes=1 << 20, create=True) as opened:
        yield opened


@pytest.fixture
def tight_store(tmp_path: Path) -> Iterator[ParameterStore]:
    """The same with RAM for a few hundred rows: tables of 2,000 are asked of every tier."""
    with ParameterStore.open(tmp_path / "store", ram_bytes=50_000, create=True) as opened:
        yield opened


@pytest.fixture(params=[0, 30_000, 1 << 20], ids=["no ram", "some in ram", "resident"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ParameterStore]:
    """A store with the table of `updated`, at tmp_path / "s", whose RAM has none to all of it."""
    with ParameterStore.open(tmp_path / "s", ram_bytes=request.param, create=True) as store:
        fill(store)
        yield store
