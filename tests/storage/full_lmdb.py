"""An LMDB whose disk is full: it takes changes, and fails to commit them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lmdb
import pytest

from sedp.errors import StoreError
from sedp.storage.lmdb.database import LmdbDatabase


def let_lmdb_be_full(patch: pytest.MonkeyPatch) -> None:
    """From now on, until `patch` is undone."""
    updating = LmdbDatabase.updating

    @contextmanager
    def fail(database: LmdbDatabase) -> Iterator[Any]:
        try:
            with updating(database) as writer:
                yield writer
                raise lmdb.DiskError("no space")
        except lmdb.Error as err:
            raise StoreError(str(err)) from err

    patch.setattr(LmdbDatabase, "updating", fail)
