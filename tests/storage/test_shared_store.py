"""Processes that follow a store read one copy of its rows in RAM; nothing they see goes back."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from sedp.storage.ram.shared_ram import SharedRam
from sedp.storage.store import ParameterStore
from sedp.storage.updates.following import QUIET_S
from sedp.storage.updates.ram_sharing import STALLED_LOOKS
from tests.storage.full_lmdb import let_lmdb_be_full
from tests.storage.processes import ROOT
from tests.storage.shared_memory import memory
from tests.storage.shared_reader import KEYS, RAM_BYTES, SPEC, rows_of, shared_reader
from tests.storage.tables import some_keys

pytestmark = pytest.mark.slow

OWNER = """
import sys
from pathlib import Path
from sedp.storage.ram.shared_ram import SharedRam
from sedp.storage.store import ParameterStore
shared = SharedRam.own(int(sys.argv[2]), 2)
with ParameterStore.open(
    Path(sys.argv[1]), ram_bytes=1 << 20, read_only=True, shared_ram=shared
) as store:
    store.settle()
    print("shown", flush=True)
    sys.stdin.readline()
"""


def fill(store: ParameterStore, version: int) -> None:
    store.import_table(SPEC, [(KEYS, rows_of(KEYS, version))])


def update(store: ParameterStore, version: int) -> None:
    store.update("user", KEYS, rows_of(KEYS, version), durability="async")


@contextmanager
def owner(path: Path, fd: int) -> Iterator[subprocess.Popen[str]]:
    """A process that follows the store, and keeps its rows in RAM for others."""
    command = [sys.executable, "-c", OWNER, str(path), str(fd)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, pass_fds=[fd]
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "shown\n"
            yield process
        finally:
            process.kill()


def test_readers_share_what_the_writer_keeps(tmp_path: Path) -> None:
    """Through updates, publications, a way back, and the death of one of them."""
    with (
        memory() as fd,
        ParameterStore.open(
            tmp_path, ram_bytes=RAM_BYTES, create=True, shared_ram=SharedRam.own(fd, 2)
        ) as store,
    ):
        fill(store, 1)
        with shared_reader(tmp_path, fd) as one, shared_reader(tmp_path, fd) as two:
            assert one.waits_for(1).ram_bytes == two.waits_for(1).ram_bytes
            for version in range(2, 60):
                update(store, version)
            one.waits_for(59)
            two.process.send_signal(signal.SIGKILL)
            fill(store, 60)
            one.waits_for(60)
            update(store, 61)
            with shared_reader(tmp_path, fd) as three:
                assert three.waits_for(61).ram_bytes <= RAM_BYTES // 2
            one.waits_for(61)


def test_readers_leave_rows_that_a_killed_owner_keeps_no_more(tmp_path: Path) -> None:
    with memory() as fd, ParameterStore.open(tmp_path, ram_bytes=0, create=True) as store:
        fill(store, 1)
        with owner(tmp_path, fd) as keeper, shared_reader(tmp_path, fd) as reader:
            reader.waits_for(1)
            for version in range(2, 30):
                update(store, version)
            reader.waits_for(29)
            for version in range(30, 60):
                update(store, version)
            keeper.kill()
            update(store, 60)
            reader.waits_for(60, resident=False)


@pytest.mark.parametrize("writer_owns", [True, False])
def test_readers_stay_with_shared_rows_while_lmdb_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer_owns: bool
) -> None:
    """For longer than they wait for an owner who does nothing; and after that as well."""
    with ExitStack() as opened:
        fd = opened.enter_context(memory())
        shared = SharedRam.own(fd, 2) if writer_owns else None
        ram_bytes = RAM_BYTES if writer_owns else 0
        store = opened.enter_context(
            ParameterStore.open(tmp_path, ram_bytes=ram_bytes, create=True, shared_ram=shared)
        )
        fill(store, 1)
        if not writer_owns:
            opened.enter_context(owner(tmp_path, fd))
        reader = opened.enter_context(shared_reader(tmp_path, fd))
        reader.waits_for(1)
        version, enough_s = 1, time.monotonic() + 2 * STALLED_LOOKS * QUIET_S
        with monkeypatch.context() as patch:
            let_lmdb_be_full(patch)
            while time.monotonic() < enough_s:
                version += 1
                update(store, version)
                reader.waits_for(version)
        update(store, version + 1)
        reader.waits_for(version + 1)


def test_rows_older_than_those_below_are_not_read_yet(tmp_path: Path) -> None:
    with memory() as fd, ParameterStore.open(tmp_path, ram_bytes=0, create=True) as store:
        fill(store, 1)
        with owner(tmp_path, fd) as keeper:
            keeper.send_signal(signal.SIGSTOP)
            update(store, 2)
            with shared_reader(tmp_path, fd) as reader:
                assert reader.sees().oldest == 2
                keeper.send_signal(signal.SIGCONT)
                reader.waits_for(2)


def test_rows_that_fit_no_more_are_read_below_until_the_next_version(tmp_path: Path) -> None:
    more = some_keys(500, seed=7)
    with (
        memory() as fd,
        ParameterStore.open(
            tmp_path, ram_bytes=RAM_BYTES, create=True, shared_ram=SharedRam.own(fd, 2)
        ) as store,
    ):
        fill(store, 1)
        with shared_reader(tmp_path, fd) as reader:
            reader.waits_for(1)
            store.update("user", more, rows_of(more, 2), durability="async")
            update(store, 2)
            reader.waits_for(2, resident=False)
            fill(store, 3)
            reader.waits_for(3)


def test_owner_and_reader_agree_with_a_store_that_shares_nothing(tmp_path: Path) -> None:
    """Also about keys without a row, which RAM alone denies."""
    keys = np.concatenate([KEYS, some_keys(50, seed=3)])
    out, missing = np.empty((len(keys), SPEC.dim), np.int32), np.empty(len(keys), np.bool_)
    with (
        memory() as fd,
        ParameterStore.open(
            tmp_path, ram_bytes=RAM_BYTES, create=True, shared_ram=SharedRam.own(fd, 2)
        ) as store,
    ):
        fill(store, 4)
        assert store.table("user").lookup(keys, out, missing) == 50
        assert (out[:300] == 4).all()
        assert (out[300:] == 0).all()
        assert store.statistics().tables[0].resident
