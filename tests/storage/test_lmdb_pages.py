"""Page tables read in place are those that LMDB itself would give."""

from __future__ import annotations

from pathlib import Path

import lmdb
import numpy as np
import pytest

from sedp.storage.lmdb.audit import audit
from sedp.storage.lmdb.format import DamagedError, Meta, Tree, read_metas
from sedp.storage.lmdb.pages import PageTable, list_addresses, map_base, read_page_table
from sedp.storage.rows.bucket import HEADER_BYTES, PAGE_BYTES


class File:
    """One named database of buckets in an environment of LMDB."""

    def __init__(self, path: Path, value_bytes: int) -> None:
        self.path = path
        self.environment = lmdb.open(
            str(path), map_size=1 << 34, max_dbs=4, sync=False, readahead=False
        )
        self.other = self.environment.open_db(b"anchor")
        self.handle = self.environment.open_db(b"buckets")
        self.value_bytes = value_bytes
        self.count = 0
        with self.environment.begin(write=True, db=self.other) as transaction:
            transaction.put(b"!", b"!")

    @property
    def value_pages(self) -> int:
        return (15 + self.value_bytes) // PAGE_BYTES + 1

    def put(self, buckets: list[int], byte: int) -> None:
        value = bytes([byte]) * self.value_bytes
        with self.environment.begin(write=True, db=self.handle) as transaction:
            for bucket in buckets:
                transaction.put(bucket.to_bytes(4, "big"), value)
        self.count = max([self.count, *(bucket + 1 for bucket in buckets)])

    def begin(self) -> tuple[lmdb.Transaction, int]:
        transaction = self.environment.begin(buffers=True)
        return transaction, map_base(transaction.get(b"!", db=self.other))

    def read(self, transaction: lmdb.Transaction, base: int, before: PageTable | None) -> PageTable:
        pages = (self.path / "data.mdb").stat().st_size // PAGE_BYTES
        tree = bytes(transaction.get(b"buckets"))
        table = read_page_table(base, pages, tree, (self.count, self.value_pages), before)
        assert table is not None
        return table

    def expected(self, transaction: lmdb.Transaction, base: int) -> list[int]:
        pairs = transaction.cursor(db=self.handle)
        found = list_addresses(pairs, self.count, self.value_bytes)
        places = np.where(found > 0, found - np.uint64(base + HEADER_BYTES), 0)
        assert not (places % np.uint64(PAGE_BYTES)).any()
        listed: list[int] = (places // np.uint64(PAGE_BYTES)).tolist()
        return listed


@pytest.mark.parametrize("value_bytes", [4080, 8176, 3 * 4096, 65520])
@pytest.mark.parametrize("count", [1, 2, 150, 200, 3000])
def test_in_place_equals_the_public_api(tmp_path: Path, count: int, value_bytes: int) -> None:
    if count * value_bytes > 1 << 26:
        pytest.skip("large without need")
    file = File(tmp_path, value_bytes)
    file.put(list(range(count)), 1)
    transaction, base = file.begin()
    assert file.read(transaction, base, None).pages.tolist() == file.expected(transaction, base)
    transaction.abort()
    file.environment.close()


@pytest.mark.slow
def test_deep_trees_of_many_buckets(tmp_path: Path) -> None:
    file = File(tmp_path, 4080)
    for start in range(0, 100_000, 10_000):
        file.put(list(range(start, start + 10_000)), 1)
    transaction, base = file.begin()
    table = file.read(transaction, base, None)
    assert Tree.decode(bytes(transaction.get(b"buckets"))).depth == 3
    assert table.pages.tolist() == file.expected(transaction, base)
    transaction.abort()
    file.environment.close()


@pytest.mark.parametrize("seed", range(4))
def test_only_changed_leaves_are_read_again(tmp_path: Path, seed: int) -> None:
    file, rng = File(tmp_path, 4080 + 4096 * (seed % 2)), np.random.default_rng(seed)
    file.put(list(range(2000)), 0)
    transaction, base = file.begin()
    table = file.read(transaction, base, None)
    for turn in range(60):
        file.put(rng.integers(0, 2000, rng.integers(1, 60)).tolist(), turn)
        later, _ = file.begin()
        fresh = file.read(later, base, table)
        assert fresh.pages.tolist() == file.read(later, base, None).pages.tolist()
        assert fresh.pages.tolist() == file.expected(later, base)
        assert table.pages.tolist() == file.expected(transaction, base)  # still what it was
        transaction.abort()
        transaction, table = later, fresh
    transaction.abort()
    file.environment.close()


def test_damaged_trees_give_no_table(tmp_path: Path) -> None:
    file = File(tmp_path / "sound", 4080)
    file.put(list(range(400)), 1)
    transaction, base = file.begin()
    size, shape = (tmp_path / "sound" / "data.mdb").stat().st_size, (400, 1)
    tree = bytes(transaction.get(b"buckets"))
    for damaged in (b"", tree[:-1], tree[:40] + (1 << 40).to_bytes(8, "little")):
        assert read_page_table(base, size // PAGE_BYTES, damaged, shape, None) is None
    assert read_page_table(base, 3, tree, shape, None) is None  # as if the file were shorter
    transaction.abort()
    file.environment.close()


def test_audit_lets_pass_what_lmdb_wrote(tmp_path: Path) -> None:
    file, rng = File(tmp_path, 4080), np.random.default_rng(0)
    held = None
    for turn in range(120):
        file.put(list(range(1000)) if turn == 0 else rng.integers(0, 1000, 40).tolist(), turn)
        if turn % 20 == 0:
            if held is not None:
                held.abort()
            held = file.environment.begin()  # so that free pages gather
        if turn % 10 == 0:
            with file.environment.begin() as transaction:
                number = transaction.id()
                found = audit(tmp_path / "data.mdb", number, {b"anchor"}, with_free=True)
                assert found == {b"buckets": (1000, 4080)}
    assert held is not None
    held.abort()
    file.environment.close()


def test_metas_of_two_files_are_refused(tmp_path: Path) -> None:
    file = File(tmp_path, 4080)
    for turn in range(4):
        file.put([0, 1], turn)
    file.environment.close()
    data = bytearray((tmp_path / "data.mdb").read_bytes())
    old, new = read_metas(tmp_path / "data.mdb")
    assert (new.number, isinstance(old, Meta)) == (old.number + 1, True)
    offset = (old.number % 2) * PAGE_BYTES + 144  # the older one claims to be the later
    data[offset : offset + 8] = (old.number + 1024).to_bytes(8, "little")
    (tmp_path / "data.mdb").write_bytes(data)
    with pytest.raises(DamagedError, match="comes before commit"):
        read_metas(tmp_path / "data.mdb")
    (tmp_path / "data.mdb").write_bytes(data[:5000])
    with pytest.raises(DamagedError, match="5000 bytes"):
        read_metas(tmp_path / "data.mdb")
