"""A power cut loses no update that was acknowledged as sync, and of async at most the last second.

The file system is told to stop without writing anything more, as in reliability tests of databases,
and the boot that LMDB's session file names is another one afterwards. At every other cut the kernel
writes pages back as early as it can, which shows what was not ordered. SEDP_CUTS says how often;
`make power-cut` cuts 20 times on each file system.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from sedp.storage.lmdb import environment as lmdb_environment
from tests.faults.volume import eager_write_back, missing_for, mounted
from tests.faults.writing import Told, check_store, lost, make_store, writing

CUTS = int(os.environ.get("SEDP_CUTS", "0"))
SEED = int(os.environ.get("SEDP_SEED", "0"))
ASYNC_LOSS_S = 1.0
OTHER_BOOT = """
from pathlib import Path
from sedp.storage.lmdb import environment as lmdb_environment
lmdb_environment.BOOT_ID = Path({path!r})
"""


WITHOUT_SYNC = """
from sedp.storage.rocksdb.database import RocksDatabase
RocksDatabase.flush_wal = lambda self: None
"""


def check_sync(newest: list[int], told: Told) -> None:
    assert lost(newest, told) == []


def check_async(newest: list[int], told: Told, cut_s: float) -> None:
    """What is there is a prefix of what was told, and lacks at most a second."""
    last = max(newest)
    for number, at_s in zip(told.numbers, told.times_s, strict=True):
        if number <= last:
            assert newest[number % len(newest)] >= number, f"{number} is missing before {last}"
        else:
            assert cut_s - at_s <= ASYNC_LOSS_S, f"{number} was told {cut_s - at_s:.2f} s before"


@pytest.mark.slow
@pytest.mark.timeout(60 + 15 * CUTS)
@pytest.mark.skipif(CUTS == 0, reason="it mounts file systems; run `make power-cut`")
@pytest.mark.parametrize("durability", ["sync", "async"])
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_power_cut_loses_nothing_that_was_synced(
    kind: str, durability: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing := missing_for(kind):
        pytest.skip(missing)
    boot, dice, last = tmp_path / "boot", random.Random(SEED), 0
    boot.write_text("boot 0\n")
    monkeypatch.setattr(lmdb_environment, "BOOT_ID", boot)
    prelude = OTHER_BOOT.format(path=str(boot))
    with mounted(tmp_path, kind) as volume:
        path = volume.path / "store"
        make_store(path)
        os.sync()
        for cut in range(1, CUTS + 1):
            write_back = nullcontext() if cut % 2 else eager_write_back()
            also = "rest" if durability == "async" and cut % 2 else "nothing"
            with (
                write_back,
                writing(path, durability, last + 1, also=also, prelude=prelude) as (process, told),
            ):
                time.sleep(dice.uniform(0.1, 2.0))  # the moment of the cut
                assert process.poll() is None
                cut_s = time.monotonic()
                volume.cut_power()
            volume.unmount()
            volume.mount()
            boot.write_text(f"boot {cut}\n")
            newest = check_store(path)
            told = Told(*_until(told, cut_s))
            if durability == "sync":
                check_sync(newest, told)
            else:
                check_async(newest, told, cut_s)
            last = max(last, *newest, told.last)
            assert told.numbers


def _until(told: Told, cut_s: float) -> tuple[list[int], list[float]]:
    """What was told before the cut; what came after it the test need not believe."""
    pairs = [pair for pair in zip(told.numbers, told.times_s, strict=True) if pair[1] < cut_s]
    return [number for number, _ in pairs], [at_s for _, at_s in pairs]


@pytest.mark.slow
@pytest.mark.skipif(CUTS == 0, reason="it mounts file systems; run `make power-cut`")
def test_updates_that_are_not_synced_would_be_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing := missing_for("ext4"):
        pytest.skip(missing)
    boot = tmp_path / "boot"
    boot.write_text("boot 0\n")
    monkeypatch.setattr(lmdb_environment, "BOOT_ID", boot)
    prelude = OTHER_BOOT.format(path=str(boot)) + WITHOUT_SYNC
    with mounted(tmp_path, "ext4") as volume:
        path = volume.path / "store"
        make_store(path)
        os.sync()
        with writing(path, prelude=prelude) as (_, told):
            time.sleep(0.5)  # the moment of the cut
            volume.cut_power()
        volume.unmount()
        volume.mount()
        boot.write_text("boot 1\n")
        assert lost(check_store(path), told)
