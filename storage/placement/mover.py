"""What moves up behind the look-ups: rows that only RocksDB had, into RAM or into LMDB.

One thread works through a queue of bounded length; what finds it full is dropped and counted, for
the next look-up of the key offers it again. A row enters LMDB over a free slot, else over the row
of its bucket that was asked for least of late, if that is less than its own: both are judged by a
sketch of the accesses that RAM did not answer, which forgets. Rows are read from the truth inside
the transaction that writes them, so an older row can never overtake an online update.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from sedp.errors import SedpError, StoreError
from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.lmdb.tier import Judge
from sedp.storage.placement.sketch import COUNT_MAX, Sketch
from sedp.storage.placement.wishes import Wish, WishBook
from sedp.storage.tier import Keys, Mask

if TYPE_CHECKING:
    from sedp.storage.tables.version import TableVersion

QUEUE_TASKS = 256
WANTED_MIN = 2  # times asked for before a row is moved up, at least
STRANGE_MAX = 1 << 12  # keys that a whole version lacks in LMDB, offered once each
SKETCH_KEYS_MAX = 1 << 24  # 128 MiB at most; of more rows the counts blur
_PATIENCE_S = 60.0
REFRESH_TASKS = 16  # between two snapshots when there is no pause
PROMOTED_TOGETHER = 256  # keys, unless a second has passed
STEP_KEYS = 512  # a transaction: it copies at most so many buckets

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MoveStatistics:
    """Counts in keys since the store was opened.

    Args:
        filled: brought into RAM behind an answer.
        promoted: written to LMDB.
        demoted: put out of LMDB to make room; RocksDB has them.
        refused: less asked for than all rows of their bucket.
        dropped: found the queue full.
        failed: a disk failed on the way.
    """

    filled: int = 0
    promoted: int = 0
    demoted: int = 0
    refused: int = 0
    dropped: int = 0
    failed: int = 0


class Heat:
    """What RAM did not answer of one version: which rows LMDB should have.

    Args:
        rows: of the version; 0 where LMDB has them all, and nothing need be known.
    """

    def __init__(self, rows: int) -> None:
        self._sketch = Sketch(min(rows, SKETCH_KEYS_MAX)) if rows else None
        self._strange = set[int]()
        self._lock = threading.Lock()
        self._bar = WANTED_MIN

    def note(self, keys: Keys) -> None:
        """Count these keys; or not, while another thread counts: a sample will do."""
        if self._sketch is not None and self._lock.acquire(blocking=False):
            try:
                self._sketch.count_many(keys)
            finally:
                self._lock.release()

    def is_wanted(self, keys: Keys) -> Mask:
        """Which keys were asked for often enough of late to get a place.

        If LMDB should have all, those that it lacks for the first time: a bit of a key has flipped
        there, or the bucket is full.
        """
        if self._sketch is None:
            return self._are_strange(keys)
        wanted: Mask = self._sketch.estimate_many(keys) >= self._bar
        return wanted

    def _are_strange(self, keys: Keys) -> Mask:
        with self._lock:
            fresh = [key not in self._strange for key in keys.tolist()]
            if len(self._strange) < STRANGE_MAX:
                self._strange.update(keys.tolist())
                return np.array(fresh, dtype=np.bool_)
            return np.zeros(len(keys), dtype=np.bool_)

    def adapt(self, promoted: int, refused: int) -> None:
        """Ask for more when most rows offered found better ones in their place; else for less."""
        step = 1 if refused > promoted else -1
        self._bar = min(max(self._bar + step, WANTED_MIN), COUNT_MAX)

    @property
    def judge(self) -> Judge | None:
        """How much keys were asked for of late; None if that does not matter."""
        return None if self._sketch is None else self._sketch.estimate_many


class Mover:
    """Moves rows up between tiers, in a thread of its own.

    Args:
        warm: the warm tier, or None where this process may not write to it.
        epoch: of the last online update.
        refresh: makes what was promoted visible.
        book: where a process that may not write there leaves word for the one that may.
    """

    def __init__(
        self,
        warm: LmdbDatabase | None,
        epoch: Callable[[], int],
        refresh: Callable[[], None],
        book: WishBook | None = None,
    ) -> None:
        self._warm = warm
        self._book = book
        self._epoch = epoch
        self._refresh = refresh
        self._tasks: queue.Queue[tuple[Callable[[], None], int] | None] = queue.Queue(QUEUE_TASKS)
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(MoveStatistics.__dataclass_fields__, 0)
        self._waiting: dict[TableVersion, list[Keys]] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sedp-mover", daemon=True)
        self._thread.start()

    def note(self, version: TableVersion, keys: Keys) -> None:
        """RAM did not answer these keys."""
        version.heat.note(keys)
        if self._book is not None and version.heat.judge is not None:
            self._book.note(version.entry.name, keys)

    def promote(self, version: TableVersion, keys: Keys) -> None:
        """Put rows into LMDB, later: some hundred at a time, for a commit has its price."""
        if self._warm is None:
            if self._book is not None:
                self._book.want(version.entry.name, keys)
            return
        with self._lock:
            waiting = self._waiting.setdefault(version, [])
            waiting.append(keys)
            if sum(map(len, waiting)) < PROMOTED_TOGETHER:
                return
        self.send_waiting()

    def grant(self, wishes: Iterable[Wish], versions: Iterable[TableVersion]) -> None:
        """What readers found wanting in LMDB counts as found here."""
        named = {version.entry.name: version for version in versions}
        for wish in wishes:
            if wish.name in named:
                named[wish.name].heat.note(wish.asked)
                self.promote(named[wish.name], wish.wanted)

    def send_waiting(self) -> None:
        """Promote what waits for company."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for version, parts in waiting.items():
            keys = np.unique(np.concatenate(parts))
            self._submit(partial(self._promote, version, keys), len(keys))

    def fill(self, version: TableVersion, keys: Keys) -> None:
        """Bring rows of distinct keys into RAM, later."""
        self._submit(partial(self._fill, version, keys), len(keys))

    def warm(self, version: TableVersion, keys: Keys) -> None:
        """Put rows into LMDB as though they were asked for now, in this order."""
        for start in range(0, len(keys), STEP_KEYS):
            step = np.unique(keys[start : start + STEP_KEYS])
            version.heat.note(step)
            self.run(partial(self._promote, version, step))

    def run(self, task: Callable[[], None]) -> None:
        """Do something else in the same thread, after what is queued.

        Raises:
            StoreError: too much is queued.
        """
        try:
            self._tasks.put((task, 0), timeout=_PATIENCE_S)
        except queue.Full:
            raise StoreError(
                f"{QUEUE_TASKS} moves between tiers are waiting, which is the limit; try again"
            ) from None

    def _submit(self, task: Callable[[], None], count: int) -> None:
        try:
            self._tasks.put_nowait((task, count))
        except queue.Full:
            self._add(dropped=count)

    def _run(self) -> None:
        done = 0
        while (item := self._tasks.get()) is not None:
            task, count = item
            try:
                task()
                done += 1
                if self._tasks.empty() or done % REFRESH_TASKS == 0:
                    self._refresh()
            except SedpError as err:
                self._add(failed=count)
                _log.warning("%d rows were not moved up: %s", count, err)
            except Exception:  # a defect; without this thread whoever waits for it would hang
                self._add(failed=count)
                _log.exception("%d rows were not moved up", count)
            finally:
                self._tasks.task_done()
        self._tasks.task_done()

    def _fill(self, version: TableVersion, keys: Keys) -> None:
        version.fetch(keys)
        self._add(filled=len(keys))

    def _promote(self, version: TableVersion, keys: Keys) -> None:
        assert self._warm is not None
        warm = version.warm
        if warm is None:
            return
        for start in range(0, len(keys), STEP_KEYS):
            with self._warm.updating() as writer:
                step, records = version.truth.read_records(keys[start : start + STEP_KEYS])
                merged = warm.merge(writer, step, records, version.heat.judge)
                if merged.evicted:
                    writer.raise_floor(self._epoch())
            self._add(promoted=merged.added + merged.evicted, demoted=merged.evicted)
            self._add(refused=merged.refused)
            version.heat.adapt(merged.added + merged.evicted, merged.refused)

    def _add(self, **counts: int) -> None:
        with self._lock:
            for name, count in counts.items():
                self._counts[name] += count

    def statistics(self) -> MoveStatistics:
        """A frozen snapshot."""
        with self._lock:
            return MoveStatistics(**self._counts)

    def settle(self) -> None:
        """Wait until all that is to be moved has been."""
        self.send_waiting()
        self._tasks.join()

    @property
    def is_closing(self) -> bool:
        """Long tasks end early then."""
        return self._closing.is_set()

    def close(self) -> None:
        """End the task under way, drop the others."""
        self._closing.set()
        while True:
            try:
                self._tasks.get_nowait()
                self._tasks.task_done()
            except queue.Empty:
                break
        self._tasks.put(None)
        self._thread.join()
