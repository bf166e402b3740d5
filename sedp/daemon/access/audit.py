"""The audit log: who changed what, and how it ended.

A change is written down and on disk before it is begun, and again when it has ended. So there is
no change without a record, even if the process is killed between the two; and when the record
cannot be written, as on a full disk, the change is refused.

One process writes a file. Others may rename it or cut it to nothing to rotate it: the next record
begins the new file with a marker, and the chain goes on through both.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

from sedp.daemon.access.audit_chain import (
    BEGINNING,
    RECORD_BYTES_MAX,
    ROTATED,
    START,
    TORN,
    Record,
    read_line,
    seal,
    write_line,
)
from sedp.daemon.access.caller import ANYBODY, Caller
from sedp.errors import ConfigError, RequestError

log = logging.getLogger(__name__)


class AuditLog:
    """A file that records are added to; without a path, nothing is written.

    Args:
        path: made with mode 0600 when it is not there.
        now_s: Unix time.

    Raises:
        ConfigError: it cannot be written, another process writes it, or it is no audit log.
    """

    def __init__(self, path: Path | None, now_s: Callable[[], float] = time.time) -> None:
        self.path = path
        self._now_s = now_s
        self._lock = threading.Lock()
        self._fd = -1
        self._bytes = 0  # of the file, as we left it
        self._head = START
        if path is None:
            return
        try:
            self._open(path)
        except BlockingIOError as err:
            raise ConfigError(f"daemon.audit_log: {path}: another process writes it") from err
        except OSError as err:
            mend = "name a file to write"
            raise ConfigError(f"daemon.audit_log: {path}: {err.strerror}; {mend}") from err

    def record(self, caller: Caller, action: str, detail: str, outcome: str) -> None:
        """Add one record; when this returns, it is on disk.

        Args:
            action: as "store.update"; `detail`: on what; neither ever holds a secret.

        Raises:
            RequestError: 507, it could not be written.
        """
        if self.path is None:
            return
        with self._lock:
            try:
                self._follow_rotation(self.path)
                self._add(caller, action, detail, outcome)
            except (OSError, ConfigError) as err:
                self._give_up()
                log.error("the audit log %s cannot be written: %s", self.path, err)
                text = "the audit log cannot be written, so nothing is changed; try again later"
                raise RequestError(text, 507) from err

    @contextlib.asynccontextmanager
    async def around(self, caller: Caller, action: str, detail: str) -> AsyncIterator[None]:
        """Record that a change begins, and how it ended; in a thread, as disks can be slow.

        Raises:
            RequestError: 507, and the block is not entered.
        """
        await asyncio.to_thread(self.record, caller, action, detail, "begun")
        outcome = "done"
        try:
            yield
        except BaseException as err:
            outcome = f"failed: {err}" if str(err) else f"failed: {type(err).__name__}"
            raise
        finally:
            with contextlib.suppress(RequestError):  # the change has its record, and has happened
                await asyncio.shield(
                    asyncio.to_thread(self.record, caller, action, detail, outcome)
                )

    def close(self) -> None:
        with self._lock:
            self._give_up()

    def _open(self, path: Path) -> None:
        """Take the file, find the end of its chain, mark a line that a crash cut short."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(path, flags, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._bytes = os.fstat(self._fd).st_size
            if self._bytes == 0:
                _sync_folder(path.parent)
            else:
                self._read_end(path)
        except BaseException:
            self._give_up()
            raise

    def _read_end(self, path: Path) -> None:
        start = max(0, self._bytes - 2 * RECORD_BYTES_MAX)
        *lines, rest = os.pread(self._fd, self._bytes - start, start).split(b"\n")
        if not rest and read_line(lines[-1]) is not None:
            self._head = seal(lines[-1])
            return
        torn = rest or lines.pop()  # the latter if the crash came when a torn line was marked
        is_after_record = bool(lines) and read_line(lines[-1]) is not None
        is_beginning = bool(torn) and torn[: len(BEGINNING)] == BEGINNING[: len(torn)]
        if not is_after_record and not is_beginning:
            raise ConfigError(f"daemon.audit_log: {path} is no audit log; name another file")
        self._head = seal(torn)
        text = f"{len(torn)} bytes of a record that was not finished"
        self._add(ANYBODY, TORN, text, "done", before=b"\n" if rest else b"")

    def _follow_rotation(self, path: Path) -> None:
        """Go on in a new file when the old one was renamed, and from its start when it was cut."""
        is_cut = False
        if self._fd >= 0:
            own = os.fstat(self._fd)
            is_ours = _is_at(path, own)
            is_cut = is_ours and own.st_size < self._bytes
            if is_ours and not is_cut:
                return
        head = self._head
        self._give_up()
        self._open(path)
        if is_cut or (self._bytes == 0 and head != START):  # cut, but not to nothing: it shows
            self._head = head
            self._add(ANYBODY, ROTATED, "the file before ends with the line of this prev", "done")

    def _add(
        self, caller: Caller, action: str, detail: str, outcome: str, *, before: bytes = b""
    ) -> None:
        moment = datetime.fromtimestamp(self._now_s(), UTC).isoformat(timespec="milliseconds")
        line = write_line(
            Record(moment, caller.key_id, caller.tenant, action, detail, outcome, self._head)
        )
        self._write(before + line + b"\n")
        self._head = seal(line)

    def _write(self, data: bytes) -> None:
        """All of `data` on disk, or none of it in the file."""
        try:
            written = os.write(self._fd, data)
            if written < len(data):  # the disk is full, and the next write would say so
                written += os.write(self._fd, data[written:])
            os.fsync(self._fd)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._bytes)
            raise
        self._bytes += written

    def _give_up(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def _is_at(path: Path, own: os.stat_result) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, own)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
