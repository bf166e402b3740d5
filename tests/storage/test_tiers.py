"""What every tier promises, asked of all three."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sedp.storage.catalogue import Entry
from sedp.storage.lmdb.bucket_filler import BucketFiller
from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.lmdb.tier import LmdbTier
from sedp.storage.lmdb.warm_version import WarmVersion
from sedp.storage.ram.tier import RamTier
from sedp.storage.rocksdb.database import RocksDatabase
from sedp.storage.rocksdb.tier import RocksdbTier
from sedp.storage.rows.bucket import BucketShape, Layout, places_of
from sedp.storage.rows.record import seal
from sedp.storage.table_spec import TableSpec
from sedp.storage.tier import Keys, Mask, Rows, TierStatistics
from tests.storage.tables import keys_of, some_keys

WIDTH = 16
LAST = (1 << 64) - 1


class Sample:
    """A version: its entry and rows, in the order of their places."""

    def __init__(self, layout: Layout) -> None:
        if layout == "dense":
            keys = np.delete(np.arange(1000, dtype=np.uint64), [5, 600])
        else:
            keys = np.concatenate([keys_of(0, 1, 256, LAST), some_keys(1000)])
        self.keys = keys[np.argsort(places_of(keys, layout))]
        self.places = places_of(self.keys, layout)
        spec = TableSpec("t", 2, "int64", version=1, layout=layout)
        self.entry = Entry(spec, len(keys), seed=1234)
        rng = np.random.default_rng(0)
        self.rows = rng.integers(0, 256, (len(keys), WIDTH), dtype=np.uint8)
        self.records = seal(self.keys, self.rows, 1, self.entry.seed)


class Asked:
    """A tier that holds a sample, and how it is asked."""

    def __init__(
        self,
        sample: Sample,
        get: Callable[[Keys, Rows, Mask], None],
        statistics: Callable[[], TierStatistics],
    ) -> None:
        self.sample = sample
        self._get = get
        self.statistics = statistics

    def check(self, keys: NDArray[np.uint64]) -> None:
        expected = dict(zip(self.sample.keys.tolist(), self.sample.rows, strict=True))
        rows, missing = np.full((len(keys), WIDTH), 77, np.uint8), np.ones(len(keys), np.bool_)
        self._get(keys, rows, missing)
        for key, row, is_missing in zip(keys.tolist(), rows, missing, strict=True):
            assert is_missing == (key not in expected)
            assert (row == expected.get(key, 77)).all()


def in_ram(sample: Sample) -> Asked:
    ram = RamTier("ram", WIDTH, 1000)
    ram.put_many(sample.keys, sample.rows)

    def get(keys: Keys, rows: Rows, missing: Mask) -> None:
        assert ram.get_many(keys, rows, missing) == np.count_nonzero(missing)

    return Asked(sample, get, ram.statistics)


def in_lmdb(sample: Sample, warm: LmdbDatabase) -> Asked:
    entry = sample.entry
    shape = BucketShape.for_rows(WIDTH, entry.spec.layout, 1010)
    filler = BucketFiller(warm, entry.name, shape)
    filler.add(sample.keys, sample.places, sample.records)
    filler.finish()
    warm.publish(entry.name, WarmVersion(shape, filler.rows))
    warm.refresh()
    tier = LmdbTier(warm, entry, shape)

    def get(keys: Keys, rows: Rows, missing: Mask) -> None:
        found, corrupt = tier.answer(keys, np.arange(len(keys)), rows, missing)
        assert corrupt == 0
        assert (np.sort(found) == np.flatnonzero(~missing)).all()

    return Asked(sample, get, tier.statistics)


def in_rocksdb(sample: Sample, truth: RocksDatabase, file: Path) -> Asked:
    truth.create(sample.entry.name)
    truth.write_file(file, sample.places, sample.records)
    truth.ingest(sample.entry.name, [file])
    tier = RocksdbTier(truth, sample.entry)

    def get(keys: Keys, rows: Rows, missing: Mask) -> None:
        assert tier.get_many(keys, rows, missing) == np.count_nonzero(missing)

    return Asked(sample, get, tier.statistics)


@pytest.fixture(params=["hashed", "dense"])
def sample(request: pytest.FixtureRequest) -> Sample:
    return Sample(request.param)


@pytest.fixture(params=["ram", "lmdb", "rocksdb"])
def tier(request: pytest.FixtureRequest, sample: Sample, tmp_path: Path) -> Iterator[Asked]:
    if request.param == "ram":
        yield in_ram(sample)
    elif request.param == "lmdb":
        warm = LmdbDatabase(tmp_path / "lmdb", read_only=False)
        yield in_lmdb(sample, warm)
        warm.close()
    else:
        truth = RocksDatabase(tmp_path / "rocksdb", read_only=False, create=True)
        yield in_rocksdb(sample, truth, tmp_path / "t.sst")
        truth.close()


def test_every_row_comes_back(tier: Asked) -> None:
    tier.check(tier.sample.keys)


def test_any_order_repeats_and_absent_keys(tier: Asked) -> None:
    rng = np.random.default_rng(1)
    absent = np.concatenate([some_keys(500, seed=2), keys_of(5, 600, 1001, LAST - 1)])
    tier.check(rng.choice(np.concatenate([tier.sample.keys, absent]), 3000))


def test_no_keys_and_only_absent_keys(tier: Asked) -> None:
    tier.check(tier.sample.keys[:0])
    tier.check(some_keys(20, seed=2))


def test_counts_are_kept(tier: Asked) -> None:
    before = tier.statistics()
    tier.check(np.concatenate([tier.sample.keys[:30], some_keys(12, seed=2)]))
    after = tier.statistics()
    assert (after.lookups - before.lookups, after.hits - before.hits) == (42, 30)
    assert (after.rows, after.corrupt) == (len(tier.sample.keys), 0)
    assert after.bytes > tier.sample.rows.nbytes
