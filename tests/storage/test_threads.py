"""Look-ups in many threads, while RAM evicts and versions change, never give a wrong row."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sedp.errors import StoreError
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from tests.storage.tables import look_up, make_rows, some_keys
from tests.storage.threads import THREADS, run_in_threads

SPEC = TableSpec("user", 9, "int32", default=(-1,) * 9)
KEYS = some_keys(20_000)
UNKNOWN = some_keys(5_000, seed=9)


@pytest.mark.slow
def test_right_rows_while_ram_evicts(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, ram_bytes=100_000, create=True) as store:
        store.import_table(SPEC, [(KEYS, make_rows(SPEC, KEYS))])
        table = store.table("user")
        expected = np.concatenate([make_rows(SPEC, KEYS), np.full((len(UNKNOWN), 9), -1, np.int32)])
        everything = np.concatenate([KEYS, UNKNOWN])

        def work(seed: int) -> None:
            rng = np.random.default_rng(seed)
            for _ in range(30):
                chosen = rng.zipf(1.3, 500) * 7919 % len(everything)
                rows, missing = look_up(table, everything[chosen])
                assert (rows == expected[chosen]).all()
                assert (missing == (chosen >= len(KEYS))).all()

        run_in_threads(work)
        ram = store.statistics().tables[0].tiers[0]
        assert ram.lookups == THREADS * 30 * 500
        assert ram.hits > 0
        assert ram.rows < len(KEYS) // 4


@pytest.mark.slow
def test_right_rows_while_versions_change(store: ParameterStore) -> None:
    store.import_table(SPEC, [(KEYS, make_rows(SPEC, KEYS, 1))])
    published, batches = threading.Event(), Counter[int]()

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        if seed == 0:
            try:
                for version in range(2, 6):
                    store.import_table(SPEC, [(KEYS, make_rows(SPEC, KEYS, version))])
            finally:
                published.set()
            return
        while not published.is_set():
            table, keys = store.table("user"), rng.choice(KEYS, 300)
            before = table.spec.version
            rows, _ = look_up(table, keys)
            answered = range(before, table.spec.version + 1)  # one of these, and one only
            assert any((rows == make_rows(SPEC, keys, version)).all() for version in answered)
            batches[seed] += 1

    run_in_threads(work)
    assert store.versions("user") == (4, 5)
    assert min(batches[seed] for seed in range(1, THREADS)) > 10


@pytest.mark.slow
def test_close_waits_for_the_batches_under_way(tmp_path: Path) -> None:
    store = ParameterStore.open(tmp_path, ram_bytes=0, create=True)
    store.import_table(SPEC, [(KEYS[:10], make_rows(SPEC, KEYS[:10]))])
    table, started = store.table("user"), threading.Barrier(THREADS + 1, timeout=30)

    def look_up_for_ever() -> None:
        look_up(table, KEYS)
        started.wait()
        while True:
            look_up(table, KEYS)

    with ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(look_up_for_ever) for _ in range(THREADS)]
        started.wait()
        store.close()
        for future in futures:
            assert isinstance(future.exception(), StoreError)
    ParameterStore.open(tmp_path).close()  # every handle was let go
