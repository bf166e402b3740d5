"""One daemon for all attacks that spare it; those that could hurt it start their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.served import Served, serve


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("hostile")) as running:
        yield running
