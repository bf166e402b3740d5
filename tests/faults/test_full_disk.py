"""A disk full for a while: no look-up fails, and writing goes on soon after there is room."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sedp.errors import StoreError
from sedp.storage.store import ParameterStore
from tests.faults.volume import Volume, missing_for, mounted
from tests.faults.writing import (
    KEYS,
    OTHER,
    SPEC,
    Told,
    check_store,
    keys_of_set,
    lost,
    make_store,
)

WRITABLE_S = 10.0


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    if missing := missing_for("ext4"):
        pytest.skip(missing)
    try:
        with mounted(tmp_path, "ext4", 64 << 20) as volume:
            yield volume
    except subprocess.CalledProcessError as err:
        pytest.skip(f"no file system can be mounted here: {err.stderr!r}")


def update(store: ParameterStore, number: int, told: Told) -> None:
    keys = keys_of_set(number)
    rows = np.full((len(keys), SPEC.dim), number, np.int64)
    store.update("user", keys, rows, id=f"{number}")
    told.numbers.append(number)


def look_everything_up(store: ParameterStore) -> None:
    rows, missing = np.empty((len(KEYS), SPEC.dim), np.int64), np.empty(len(KEYS), np.bool_)
    store.table("user").lookup(KEYS, rows, missing)
    assert not missing.any()


@pytest.mark.slow
@pytest.mark.parametrize("ram_bytes", [0, 4 << 20])
def test_full_disk_is_survived(volume: Volume, ram_bytes: int) -> None:
    path, told, number = volume.path / "store", Told(), 0
    make_store(path)
    with ParameterStore.open(path, ram_bytes=ram_bytes) as store:
        for _ in range(3):
            number += 1
            update(store, number, told)
            ballast = volume.fill()
            refused = 0
            while refused < 20:
                look_everything_up(store)
                number += 1
                try:
                    update(store, number, told)
                except StoreError:
                    refused += 1
            with pytest.raises(StoreError):
                store.import_table(OTHER, [(KEYS, np.ones((len(KEYS), OTHER.dim), np.int32))])
            look_everything_up(store)
            ballast.unlink()
            wait_until_writable(store, number + 1, told)
            number += 1
        store.import_table(OTHER, [(KEYS, np.ones((len(KEYS), OTHER.dim), np.int32))])
    newest = check_store(path)
    assert lost(newest, told) == []


def wait_until_writable(store: ParameterStore, number: int, told: Told) -> None:
    """Send one update again and again until it is taken."""
    end_s = time.monotonic() + WRITABLE_S
    while True:
        try:
            return update(store, number, told)
        except StoreError:
            assert time.monotonic() < end_s, "not writable in time"
            look_everything_up(store)
