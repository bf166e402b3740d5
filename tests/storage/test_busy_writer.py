"""Readers come and go beside a writer that publishes all the time: none of their look-ups fails.

SEDP_READERS says how many readers one after the other; each opens the store anew, follows on one
thread and looks up on another.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.storage.processes import PREAMBLE, ROOT

READERS = int(os.environ.get("SEDP_READERS", "10"))

WRITER = """
import random, select
dice, numbers = random.Random(0), np.random.default_rng(0)
specs = [TableSpec("ad", 3, "float32"), TableSpec("user", 3, "float32", row_format="int8")]
def rows():
    keys = np.unique(numbers.integers(0, 60, 50).astype(np.uint64))
    return keys, numbers.random((len(keys), 3), dtype=np.float32)
with ParameterStore.open(path, ram_bytes=2000, create=True) as store:
    for spec in specs:
        store.import_table(spec, [rows()])
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        spec = dice.choice(specs)
        what = dice.choice(["whole", "delta", "update", "back"])
        if what == "whole":
            store.import_table(spec, [rows()])
        elif what == "delta":
            store.import_table(spec, [rows()], base=store.versions(spec.name)[-1])
        elif what == "update":
            store.update(spec.name, *rows())
        elif len(store.versions(spec.name)) > 1:
            store.roll_back(spec.name)
"""

READER = """
import faulthandler, threading
faulthandler.enable()
keys = np.arange(60, dtype=np.uint64)
for turn in range(readers):
    with ParameterStore.open(path, ram_bytes=[0, 2000, 1 << 20][turn % 3], read_only=True) as store:
        ended = threading.Event()
        def follow():
            while not ended.is_set():
                store.refresh()
        thread = threading.Thread(target=follow)
        thread.start()
        try:
            for _ in range(300):
                for name in ("ad", "user"):
                    rows, missing = look_up(store.table(name), keys)
                    assert not missing.all()
        finally:
            ended.set()
            thread.join()
"""


@pytest.mark.slow
def test_look_ups_go_on_beside_a_writer_that_publishes_all_the_time(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(_python(WRITER, tmp_path), cwd=ROOT, stdin=pipe, stdout=pipe) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        command = _python(f"readers = {READERS}\n" + READER, tmp_path)
        reader = subprocess.run(command, cwd=ROOT, stderr=pipe, text=True)
        writer.stdin.close()
    assert reader.returncode == 0, reader.stderr
    assert "Error" not in reader.stderr, reader.stderr
    assert writer.returncode == 0


def _python(code: str, path: Path) -> list[str]:
    return [sys.executable, "-c", PREAMBLE + code, str(path)]
