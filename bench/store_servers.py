"""The store beside what else people keep embeddings in: Redis, and a table of SQLite.

The same rows and keys, on the same machine. Redis answers `MGET` over a unix socket, to its client
with the parser in C; it is left out where the server or the client is not installed (`apt-get
install redis-server`, `pip install redis hiredis`). SQLite is asked for a batch in one statement.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

from bench.figure import Figure, make_figure, measure_in_turn
from bench.store_batches import BATCH_KEYS, SKEWS, Effort, Ints, draw_batches, keys_per_s, median_us
from bench.store_built import Built, Floats, opened
from bench.store_threads import RESIDENT_BYTES

START_S_MAX = 10.0
_LOAD_ROWS = 10_000

Gather = Callable[[Ints], Floats]


def server_figures(built: Built, effort: Effort, dice: np.random.Generator) -> list[Figure]:
    """Keys a second of batches of 2,600."""
    figures = list[Figure]()
    with ExitStack() as running:
        others = dict[str, Gather]()
        redis = running.enter_context(_redis(built))
        if redis is not None:
            others["Redis MGET"] = redis
        others["SQLite"] = running.enter_context(_sqlite(built))
        for skew in SKEWS:
            ids = draw_batches(skew, len(built.keys), BATCH_KEYS[-1], dice)
            figures += _figures(built, skew, ids, others, effort)
    return figures


def _figures(
    built: Built, skew: str, ids: Ints, others: dict[str, Gather], effort: Effort
) -> list[Figure]:
    calls = {name: _check(built, gather, ids) for name, gather in others.items()}
    with opened(built.path, 0) as held:
        calls = {"LMDB": built.look_up(held.table, ids), **calls}
        measured = [median_us(call, len(ids), effort.seconds) for call in calls.values()]
        taken = dict(zip(calls, measure_in_turn(effort.rounds, *measured), strict=True))
    with opened(built.path, RESIDENT_BYTES) as held:
        call = built.look_up(held.table, ids)
        measured = [median_us(call, len(ids), effort.seconds)]
        taken = {"RAM, resident": measure_in_turn(effort.rounds, *measured)[0], **taken}
    anchor = next(iter(others))
    size = ids.shape[1]
    return [
        make_figure(
            f"beside others, {skew}, {size:,} keys: {name}",
            "keys/s",
            keys_per_s(us, size),
            anchor=None if name == anchor else anchor,
            anchor_rounds=keys_per_s(taken[anchor], size),
        )
        for name, us in taken.items()
    ]


def _check(built: Built, gather: Gather, ids: Ints) -> Callable[[int], object]:
    assert np.array_equal(gather(ids[0]), built.dense[ids[0]])
    return lambda at: gather(ids[at])


def _as_rows(rows: list[bytes]) -> Floats:
    joined = np.frombuffer(b"".join(rows), dtype=np.float32)
    return joined.reshape(len(rows), -1)


def _key_list(ids: Ints) -> list[bytes]:
    listed: list[bytes] = ids.view("V8").tolist()
    return listed


@contextmanager
def _redis(built: Built) -> Iterator[Gather | None]:
    program = shutil.which("redis-server")
    if program is None or importlib.util.find_spec("redis") is None:
        click.echo("redis-server or its client is not installed: Redis is left out", err=True)
        yield None
        return
    socket = built.folder / "redis.sock"
    command = [
        *(program, "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"),
        *("--dir", str(built.folder)),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            client = _connect(socket)
            _load_redis(client, built)
            yield lambda ids: _as_rows(client.mget(_key_list(ids)))
        finally:
            server.terminate()


def _connect(socket: Path) -> Any:
    redis = importlib.import_module("redis")
    client = redis.Redis(unix_socket_path=str(socket))
    stop = time.monotonic() + START_S_MAX
    while True:
        try:
            client.ping()
            return client
        except redis.ConnectionError:
            if time.monotonic() > stop:
                raise
            time.sleep(0.01)


def _load_redis(client: Any, built: Built) -> None:
    for start in range(0, len(built.dense), _LOAD_ROWS):
        rows = built.dense[start : start + _LOAD_ROWS]
        keys = _key_list(np.arange(start, start + len(rows)))
        values = rows.view(f"V{built.spec.row_bytes}").ravel().tolist()
        client.mset(dict(zip(keys, values, strict=True)))


@contextmanager
def _sqlite(built: Built) -> Iterator[Gather]:
    path = built.folder / "sqlite"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA cache_size = -1000000")  # KiB: all of the table
        database.execute("CREATE TABLE bench (key INTEGER PRIMARY KEY, row BLOB)")
        rows = built.dense.view(f"V{built.spec.row_bytes}").ravel().tolist()
        database.executemany("INSERT INTO bench VALUES (?, ?)", enumerate(rows))
        database.commit()
        query = "SELECT key, row FROM bench WHERE key IN (SELECT value FROM json_each(?))"

        def gather(ids: Ints) -> Floats:
            wanted = ids.tolist()
            held = dict(database.execute(query, (json.dumps(wanted),)))
            return _as_rows([held[key] for key in wanted])

        yield gather
