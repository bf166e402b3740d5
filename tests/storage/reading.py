"""A process that reads beside the writer, and says whether it sees what it should."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from sedp.storage.tables.table import Table
from tests.storage.processes import PREAMBLE, ROOT
from tests.storage.tables import look_up, make_rows, some_keys

SPEC = TableSpec("user", 4, "float32")
KEYS = some_keys(3000)

READER = """
import json
spec, keys = TableSpec("user", 4, "float32"), some_keys(3000)
with ParameterStore.open(path, ram_bytes=int(sys.argv[2]), read_only=True) as store:
    table = store.table("user")
    print("open", flush=True)
    for line in sys.stdin:
        count, version, other = json.loads(line)
        store.refresh()
        rows, missing = look_up(table, keys)
        expected = make_rows(spec, keys, other)
        expected[:count] = make_rows(spec, keys[:count], version)
        print("right" if (rows == expected).all() and not missing.any() else "wrong", flush=True)
"""


class Reader:
    """Another process; `sees` asks it to refresh and look everything up."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self._sink, self._source = process, process.stdin, process.stdout
        assert self._source.readline() == "open\n"

    def end(self) -> None:
        self._sink.close()
        assert self.process.wait(30) == 0

    def sees(self, count: int, version: int, other: int = 1) -> bool:
        """Whether the first rows are of one version and the others of another."""
        print(f"[{count}, {version}, {other}]", file=self._sink, flush=True)
        return self._source.readline() == "right\n"


@contextmanager
def reading(path: Path, ram_bytes: int) -> Iterator[Reader]:
    command = [sys.executable, "-c", PREAMBLE + READER, str(path), str(ram_bytes)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        reader = Reader(process)
        yield reader
        reader.end()


def fill(store: ParameterStore, version: int = 1) -> None:
    store.import_table(SPEC, [(KEYS, make_rows(SPEC, KEYS, version))])


def update(store: ParameterStore, count: int, version: int) -> None:
    keys = KEYS[:count]
    store.update("user", keys, make_rows(SPEC, keys, version), durability="async")


def check_rows(table: Table, count: int, version: int) -> None:
    """The first rows are of `version`, the others as imported."""
    rows, missing = look_up(table, KEYS)
    expected = make_rows(SPEC, KEYS, 1)
    expected[:count] = make_rows(SPEC, KEYS[:count], version)
    assert (rows == expected).all()
    assert not missing.any()
