"""The audit log: nothing is changed without a record, and no record is changed unseen."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sedp.daemon.access.audit import AuditLog
from sedp.daemon.access.audit_chain import START, BrokenChain, Chain
from sedp.errors import ConfigError, RequestError

from .audit_log import OPERATOR, check, details, write


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


def test_a_record_says_who_did_what_when_and_how_it_ended(file: Path) -> None:
    log = AuditLog(file, lambda: 1_795_339_701.25)
    log.record(OPERATOR, "store.rollback", "table user to version 3", "done")
    assert json.loads(file.read_text()) == {
        "time": "2026-11-22T09:28:21.250+00:00",
        "caller": "0123abcd",
        "tenant": "ops",
        "action": "store.rollback",
        "detail": "table user to version 3",
        "outcome": "done",
        "prev": START,
    }
    assert file.stat().st_mode & 0o777 == 0o600


def test_without_a_path_nothing_is_written(tmp_path: Path) -> None:
    AuditLog(None).record(OPERATOR, "reload", "", "done")
    assert os.listdir(tmp_path) == []


def test_the_chain_goes_on_after_a_restart(file: Path) -> None:
    write(file, "a", "b")
    write(file, "c")
    assert details(file) == ["a", "b", "c"]
    assert (check(file).records, check(file).torn) == (3, 0)


@pytest.mark.parametrize("is_second", [True, False])
def test_a_line_that_a_crash_cut_short_is_marked_and_the_chain_goes_on(
    is_second: bool, file: Path
) -> None:
    write(file, "a", "b")
    whole = file.read_bytes()
    first = whole.index(b"\n") + 1
    ends = range(first + 1, len(whole), 5) if is_second else [*range(1, first, 5), first - 1]
    for end in ends:
        file.write_bytes(whole[:end])
        write(file, "c")
        chain = check(file)
        assert chain.torn == 1
        assert details(file)[-1] == "c"


def test_a_crash_while_a_torn_line_is_marked_is_survived(file: Path) -> None:
    write(file, "a", "b")
    torn = file.read_bytes()[:-7]
    file.write_bytes(torn)
    write(file)
    marked = file.read_bytes()
    for end in [*range(len(torn) + 1, len(marked), 7), len(marked) - 1]:
        file.write_bytes(marked[:end])
        write(file, "c")
        assert check(file).torn in (1, 2)  # 2: of the marker only its line end is missing
        assert details(file) == ["a", "c"]


KILLED = """
import os, sys
from pathlib import Path
from sedp.daemon.access.audit import AuditLog
from sedp.daemon.access.caller import ANYBODY
log = AuditLog(Path(sys.argv[1]))
for number in range(10**9):
    log.record(ANYBODY, "reload", str(number), "done")
    os.write(1, b"%d\\n" % number)
"""


def test_every_record_that_was_confirmed_is_there_after_kill_9(file: Path) -> None:
    for turn in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(file)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        for _ in range(20 + turn):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        confirmed = 20 + turn + len(process.stdout.read().splitlines())
        process.wait()
        process.stdout.close()
        before = len(details(file))
        assert check(file).records >= confirmed
        assert details(file)[-1] in (str(confirmed - 1), str(confirmed))
        write(file, "restarted")
        assert len(details(file)) == before + 1
    assert check(file).torn <= 3


def test_two_processes_cannot_write_one_file(file: Path) -> None:
    first = AuditLog(file)
    with pytest.raises(ConfigError, match="another process writes it"):
        AuditLog(file)
    first.close()
    AuditLog(file).close()


@pytest.mark.parametrize("text", ["something else\n", "x", "\n", '{"a": 1}\n' * 3, "y" * 99_999])
def test_a_file_of_another_kind_is_left_alone(text: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match="is no audit log"):
        AuditLog(file)
    assert file.read_text() == text


def test_a_folder_that_is_not_there_or_a_link_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="name a file to write"):
        AuditLog(file.parent / "none" / "audit.log")
    file.symlink_to("elsewhere")
    with pytest.raises(ConfigError, match="name a file to write"):
        AuditLog(file)


def test_a_full_disk_refuses_the_change_and_leaves_no_half_record(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk takes the first 50 bytes of a record and then no more."""
    log = AuditLog(file)
    log.record(OPERATOR, "reload", "a", "done")
    real_write, left = os.write, [50]

    def write_some(fd: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real_write(fd, data[: left[0]])
        left[0] -= written
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_some)
        for _ in range(3):
            with pytest.raises(RequestError, match="nothing is changed") as refused:
                log.record(OPERATOR, "reload", "b", "done")
            assert refused.value.status == 507
            assert str(file) not in str(refused.value)
    log.record(OPERATOR, "reload", "c", "done")
    assert details(file) == ["a", "c"]
    assert check(file) == Chain(2, 0, START, check(file).head)


def test_a_failing_sync_refuses_the_change(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog(file)

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(RequestError):
            log.record(OPERATOR, "reload", "a", "done")
    log.record(OPERATOR, "reload", "b", "done")
    assert details(file) == ["b"]
    assert check(file).records == 1


def test_after_a_rename_a_new_file_goes_on_where_the_old_one_ended(file: Path) -> None:
    log, old = AuditLog(file), file.with_suffix(".1")
    log.record(OPERATOR, "reload", "a", "done")
    file.rename(old)
    log.record(OPERATOR, "reload", "b", "done")
    assert details(file) == ["b"]
    assert check(file, after=check(old).head).records == 2
    assert check(file).first == check(old).head
    file.rename(file.with_suffix(".2"))
    file.touch()
    log.record(OPERATOR, "reload", "c", "done")
    assert check(file).first == check(file.with_suffix(".2")).head


def test_after_copying_and_truncating_the_chain_goes_on(file: Path) -> None:
    log, old = AuditLog(file), file.with_suffix(".1")
    log.record(OPERATOR, "reload", "a", "done")
    old.write_bytes(file.read_bytes())
    os.truncate(file, 0)
    log.record(OPERATOR, "reload", "b", "done")
    assert check(file, after=check(old).head).records == 2


def test_records_cut_off_while_the_daemon_runs_are_missed(file: Path) -> None:
    log = AuditLog(file)
    for detail in "abc":
        log.record(OPERATOR, "reload", detail, "done")
    os.truncate(file, file.read_bytes().index(b"\n") + 1)
    log.record(OPERATOR, "reload", "d", "done")
    with pytest.raises(BrokenChain, match=r"^line 2: line 1 was changed, added or taken out"):
        check(file)


async def test_a_change_is_on_disk_before_it_is_begun_and_again_when_it_has_ended(
    file: Path,
) -> None:
    log = AuditLog(file)

    def outcomes() -> list[str]:
        return [json.loads(line)["outcome"] for line in file.read_text().splitlines()]

    async with log.around(OPERATOR, "reload", "x"):
        assert outcomes() == ["begun"]
    assert outcomes() == ["begun", "done"]
    with pytest.raises(ConfigError):
        async with log.around(OPERATOR, "reload", "x"):
            raise ConfigError("no such file")
    assert outcomes()[2:] == ["begun", "failed: no such file"]
    waiting = asyncio.Event()

    async def change() -> None:
        async with log.around(OPERATOR, "reload", "x"):
            waiting.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(change())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert outcomes()[4:] == ["begun", "failed: CancelledError"]


async def test_no_change_is_begun_without_a_record(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, begun = AuditLog(file), False

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(RequestError):
        async with log.around(OPERATOR, "reload", "x"):
            begun = True
    assert not begun
