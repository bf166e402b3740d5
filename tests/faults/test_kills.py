"""kill -9 of the writer at random moments loses nothing that was acknowledged, and tears nothing.

SEDP_KILLS says how many; `make crash` runs 1,000.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from sedp.storage.store import LMDB_BYTES_MAX
from tests.faults.writing import check_store, lost, make_store, writing

KILLS = int(os.environ.get("SEDP_KILLS", "6"))
SEED = int(os.environ.get("SEDP_SEED", "0"))
WAYS = [
    ("sync", "nothing", LMDB_BYTES_MAX),
    ("sync", "import", LMDB_BYTES_MAX),
    ("async", "nothing", LMDB_BYTES_MAX),
    ("sync", "promote", 1 << 16),
    ("async", "import", LMDB_BYTES_MAX),
    ("sync", "delta", LMDB_BYTES_MAX),
]
HASTY = """
from sedp.errors import StoreError
from sedp.storage.store import ParameterStore
submit = ParameterStore.submit_update
def submit_hastily(self, *arguments, durability, **more):
    while True:
        try:
            return submit(self, *arguments, durability="none", **more)
        except StoreError:
            pass  # its queue is full
ParameterStore.submit_update = submit_hastily
"""


@pytest.mark.slow
@pytest.mark.timeout(30 + 10 * KILLS)
@pytest.mark.parametrize("way", range(len(WAYS)))
def test_killed_writer_loses_nothing_acknowledged(way: int, tmp_path: Path) -> None:
    durability, also, lmdb_bytes = WAYS[way]
    dice, last = random.Random(SEED + way), 0
    make_store(tmp_path, lmdb_bytes)
    for kill in range(way, KILLS, len(WAYS)):
        with writing(tmp_path, durability, last + 1, lmdb_bytes, also) as (process, told):
            time.sleep(dice.uniform(0, 0.5))  # the moment of the kill
            assert process.poll() is None
        newest = check_store(tmp_path, lmdb_bytes=lmdb_bytes)
        assert lost(newest, told) == [], f"kill {kill}, seed {SEED}"
        last = max(newest)
        assert last >= told.last > 0


@pytest.mark.slow
def test_updates_told_before_they_are_written_would_be_missed(tmp_path: Path) -> None:
    make_store(tmp_path)
    with writing(tmp_path, prelude=HASTY) as (process, told):
        time.sleep(0.2)  # the moment of the kill
        assert process.poll() is None
    assert lost(check_store(tmp_path), told)
