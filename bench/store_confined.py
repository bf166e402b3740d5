"""Look-ups in a process that may use little memory: run as a program, it answers with JSON.

No batch comes twice, for a pool of them would end up in RAM; and they are drawn without a table of
shares, which takes more memory than this process has.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.store_batches import BATCH_KEYS, ZIPF
from bench.store_rows import make_keys, make_rows
from sedp.storage.store import ParameterStore


@dataclass(frozen=True, slots=True)
class Task:
    """What to do.

    Args:
        store: its folder, with one table of ids 0..rows-1.
        warm_s: how long to look up before it counts.
    """

    store: str
    rows: int
    ram_bytes: int
    seed: int
    warm_s: float
    measure_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Args:
        rss_bytes: memory of the process, mapped file pages included.
        anonymous_bytes: of it, what is no file.
        served: share of the keys that RAM, then LMDB answered.
    """

    p50_us: float
    p99_us: float
    rss_bytes: int
    anonymous_bytes: int
    served: tuple[float, float]


def look_up(task: Task) -> Outcome:
    """Time look-ups, one batch at a time."""
    dice = np.random.default_rng(task.seed)
    with ParameterStore.open(Path(task.store), ram_bytes=task.ram_bytes, read_only=True) as store:
        (spec,) = store.tables()
        table = store.table(spec.name)
        out = np.empty((BATCH_KEYS[-1], spec.dim), dtype=np.float32)
        missing = np.empty(BATCH_KEYS[-1], dtype=np.bool_)

        def run(seconds: float) -> list[int]:
            taken, stop = list[int](), time.perf_counter() + seconds
            while not taken or time.perf_counter() < stop:
                keys = make_keys(_draw(task.rows, dice))
                started_ns = time.perf_counter_ns()
                table.lookup(keys, out, missing)
                taken.append(time.perf_counter_ns() - started_ns)
            assert np.array_equal(out, make_rows(keys, spec.dim)), "the store gave other rows"
            return taken

        run(task.warm_s)
        before = _hits(store)
        taken = run(task.measure_s)
        ram, lmdb = (after - at for after, at in zip(_hits(store), before, strict=True))
        status = _status_bytes()
    keys = len(taken) * BATCH_KEYS[-1]
    p50, p99 = np.percentile(taken, [50, 99]) / 1e3
    rss, anonymous = status["VmRSS"], status["RssAnon"]
    return Outcome(float(p50), float(p99), rss, anonymous, (ram / keys, lmdb / keys))


def _draw(rows: int, dice: np.random.Generator) -> NDArray[np.int64]:
    """Ids of a batch by Zipf 1.05, the most frequent first; only the first few are rarer than that.

    What is drawn is a real number whose density falls as the shares do, rounded down.
    """
    power = 1 - ZIPF
    span = (rows + 1) ** power - 1
    drawn = (span * dice.random(BATCH_KEYS[-1]) + 1) ** (1 / power)
    ids: NDArray[np.int64] = np.minimum(drawn.astype(np.int64), rows) - 1
    return ids


def _hits(store: ParameterStore) -> tuple[int, int]:
    (table,) = store.statistics().tables
    hits = {tier.tier: tier.hits for tier in table.tiers}
    return hits["ram"], hits["lmdb"]


def _status_bytes() -> dict[str, int]:
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): int(kib) * 1024 for name, kib, _ in fields}


def main(task: str) -> None:
    """Do the task, given as JSON."""
    outcome = look_up(msgspec.json.decode(task, type=Task))
    sys.stdout.buffer.write(msgspec.json.encode(outcome))


if __name__ == "__main__":
    main(*sys.argv[1:])
