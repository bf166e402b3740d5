"""Online updates: rows that change while they are served.

One thread commits what has gathered since its last commit, as a group: first into RocksDB, synced
if one of the group asks for it, within the LMDB transaction that shows it to every process; then
the rows in this process's RAM are replaced. Whoever waits for a receipt is answered after that, so
his next look-up sees his rows. An update that was sent twice under one id is applied once.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal

from sedp.errors import StoreError
from sedp.storage.table_spec import TableSpec
from sedp.storage.ticker import Ticker
from sedp.storage.tier import Keys, Rows

Durability = Literal["none", "async", "sync"]
DURABILITIES = ("none", "async", "sync")
QUEUE_UPDATES = 1024
GROUP_ROWS = 20_000  # a commit, unless one update alone has more
UPDATE_ROWS_MAX = 100_000
FLUSH_S = 0.5  # between two syncs for "async"; at most 1 s is lost in a power cut

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of an update.

    Args:
        epoch: number of the group it was committed in; 0 if it is only queued.
        durability: what it had when this was given: "none" is queued, "async" survives a crash of
            the process and within a second a power cut, "sync" is on disk.
        is_repeat: its id was committed before, and it was not applied again.
    """

    epoch: int
    durability: Durability
    is_repeat: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    """Rows to write.

    Args:
        spec: of the table as the sender knew it; its current version gets them.
        keys: uint64[n], distinct.
        rows: uint8[n, row_bytes] as stored.
        durability: when the receipt is given.
        id: of the sender's choice, to send it again safely; "" for none.
    """

    spec: TableSpec
    keys: Keys
    rows: Rows
    durability: Durability
    id: str = ""

    @property
    def known_as(self) -> str:
        """What it is remembered as: its id among those of its table; "" for nothing."""
        return f"{self.spec.name}\0{self.id}" if self.id else ""


Waiting = tuple[Update, "Future[Receipt]"]
Commit = Callable[[Sequence[Update], bool], Sequence[Receipt | StoreError]]


class UpdateWriter:
    """Groups updates for `commit`, which applies or refuses each, in order, and syncs if told to.

    Args:
        flush: syncs all that was committed without.
    """

    def __init__(self, commit: Commit, flush: Callable[[], None]) -> None:
        self._commit = commit
        self._flush = flush
        self._queue: queue.Queue[Waiting | None] = queue.Queue(QUEUE_UPDATES)
        self._closing = threading.Lock()
        self._is_closed = False
        self._is_unsynced = False
        self._thread = threading.Thread(target=self._run, name="sedp-updates", daemon=True)
        self._thread.start()
        self._flusher = Ticker("sedp-flush", lambda: FLUSH_S, self._flush_unsynced)

    def submit(self, update: Update) -> Future[Receipt]:
        """Queue an update; the future is its receipt.

        Raises:
            StoreError: the queue is full, or closed.
        """
        waiting: Waiting = update, Future()
        with self._closing:  # nothing is queued after the end
            if self._is_closed:
                raise StoreError("the store is closed; open it again to update it")
            try:
                self._queue.put_nowait(waiting)
            except queue.Full:
                raise StoreError(
                    f"{QUEUE_UPDATES} updates are waiting, which is the limit; send again later, "
                    "or send more rows in one update"
                ) from None
        if update.durability == "none":
            queued: Future[Receipt] = Future()
            queued.set_result(Receipt(0, "none"))
            return queued
        return waiting[1]

    def _run(self) -> None:
        is_last = False
        while not is_last:
            group, is_last = self._next_group()
            if group:
                self._answer(group)

    def _next_group(self) -> tuple[list[Waiting], bool]:
        """What is there, waiting for the first; and whether it is the last."""
        item = self._queue.get()
        group, rows = list[Waiting](), 0
        while item is not None:
            group.append(item)
            rows += len(item[0].keys)
            if rows >= GROUP_ROWS:
                return group, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _answer(self, group: list[Waiting]) -> None:
        updates = [update for update, _ in group]
        syncs = any(update.durability == "sync" for update in updates)
        try:
            receipts = self._commit(updates, syncs)
        except Exception as err:  # whatever it is belongs to those who wait, and they must not hang
            lost = sum(update.durability == "none" for update in updates)
            if lost:
                _log.error("%d updates received as none are lost: %s", lost, err)
            for _, future in group:
                future.set_exception(err)
            return
        self._is_unsynced = not syncs
        for (_, future), receipt in zip(group, receipts, strict=True):
            if isinstance(receipt, Receipt):
                future.set_result(receipt)
            else:
                future.set_exception(receipt)

    def _flush_unsynced(self) -> None:
        if not self._is_unsynced:
            return
        self._is_unsynced = False  # before, as the next group may commit meanwhile
        try:
            self._flush()
        except StoreError as err:  # and the next update is told, if it cannot be written either
            _log.error("updates received as async may not survive a power cut: %s", err)

    def close(self) -> None:
        """Commit and sync what is queued, then refuse more."""
        with self._closing:
            if not self._is_closed:
                self._is_closed = True
                self._queue.put(None)
        self._thread.join()
        self._flusher.close()
        self._flush_unsynced()
