"""What every tier promises, asked of all three."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sedp.storage.catalogue import Entry
from sedp.storage.lmdb_database import LmdbDatabase
from sedp.storage.lmdb_tier import LmdbTier
from sedp.storage.pairs import as_pairs
from sedp.storage.ram_tier import RamTier
from sedp.storage.rocksdb_database import RocksDatabase
from sedp.storage.rocksdb_tier import RocksdbTier
from sedp.storage.row_format import seal
from sedp.storage.table import TableSpec
from sedp.storage.tier import Tier
from tests.storage.tables import ask, keys_of, some_keys

WIDTH = 16
KEYS = np.concatenate([keys_of(0, 1, 256), some_keys(1000), keys_of((1 << 64) - 1)])
ENTRY = Entry(TableSpec("t", 2, "int64", version=1), len(KEYS), seed=1234)
ROWS = np.random.default_rng(0).integers(0, 256, (len(KEYS), WIDTH), dtype=np.uint8)


@pytest.fixture(params=["ram", "lmdb", "rocksdb"])
def tier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tier]:
    if request.param == "ram":
        ram = RamTier("ram", WIDTH, 1000)
        ram.put_many(KEYS, ROWS)
        yield ram
    elif request.param == "lmdb":
        warm = LmdbDatabase(tmp_path / "lmdb", read_only=False)
        warm.reserve(len(KEYS), WIDTH + 12)
        warm.append(ENTRY.name, as_pairs(KEYS, seal(KEYS, ROWS, 1, ENTRY.seed)))
        yield LmdbTier(warm, ENTRY)
        warm.close()
    else:
        truth = RocksDatabase(tmp_path / "rocksdb", read_only=False, create=True)
        truth.create(ENTRY.name)
        truth.write_file(tmp_path / "t.sst", KEYS, seal(KEYS, ROWS, 1, ENTRY.seed))
        truth.ingest(ENTRY.name, [tmp_path / "t.sst"])
        yield RocksdbTier(truth, ENTRY)
        truth.close()


def check(tier: Tier, keys: NDArray[np.uint64]) -> None:
    expected = dict(zip(KEYS.tolist(), ROWS, strict=True))
    rows, missing = ask(tier, keys, WIDTH)
    for key, row, is_missing in zip(keys.tolist(), rows, missing, strict=True):
        assert is_missing == (key not in expected)
        assert (row == expected.get(key, 77)).all()


def test_every_row_comes_back(tier: Tier) -> None:
    check(tier, KEYS)


def test_any_order_repeats_and_absent_keys(tier: Tier) -> None:
    rng = np.random.default_rng(1)
    check(tier, rng.choice(np.concatenate([KEYS, some_keys(500, seed=2)]), 3000))


def test_no_keys_and_only_absent_keys(tier: Tier) -> None:
    check(tier, KEYS[:0])
    check(tier, some_keys(20, seed=2))


def test_counts_are_kept(tier: Tier) -> None:
    before = tier.statistics()
    check(tier, np.concatenate([KEYS[:30], some_keys(12, seed=2)]))
    after = tier.statistics()
    assert (after.lookups - before.lookups, after.hits - before.hits) == (42, 30)
    assert (after.rows, after.corrupt) == (len(KEYS), 0)
    assert after.bytes > ROWS.nbytes
