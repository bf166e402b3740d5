"""How a daemon of two workers ends: asked to, told to, killed, hung, or before it has begun."""

from __future__ import annotations

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3

from .load import Load
from .tree import BODY, children_of, is_alive, launched, served, wait_for, write_config

NOT_READY = b'{"live":true,"ready":false}'
pytestmark = pytest.mark.slow

HANG = BODY.replace(b"1.0", b"13.0")


def is_taken(port: int) -> bool:
    """Whether somebody holds the port: taken without SO_REUSEADDR, which a listener refuses."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def test_sigterm_answers_what_is_in_flight_in_all_workers(tmp_path: Path) -> None:
    config = write_config(tmp_path, "Gate", executor="thread")
    with served(config) as tree, ThreadPoolExecutor() as threads:
        shut = tmp_path / "shut"
        shut.touch()
        inside = [threads.submit(tree.infer) for _ in range(4)]
        wait_for((tmp_path / "entered").exists)
        wait_for(lambda: tree.status()["pipelines"][0]["in_flight"] == 4)
        tree.process.send_signal(signal.SIGTERM)
        wait_for(lambda: tree.ask(f"{tree.data}/v2/health/ready")[0] == 503)
        assert tree.ask(f"{tree.data}/v2/health/live")[0] == 200
        assert tree.ask(f"{tree.admin}/healthz") == (200, NOT_READY)
        assert tree.infer() == 503
        shut.unlink()
        assert [call.result() for call in inside] == [200] * 4
        assert tree.finish() == (0, "")
        assert not is_taken(tree.data_port)


def test_a_second_signal_ends_all_at_once(tmp_path: Path) -> None:
    config = write_config(tmp_path, "Gate", executor="thread")
    with served(config) as tree, ThreadPoolExecutor() as threads:
        workers = tree.pids()
        (tmp_path / "shut").touch()
        inside = threads.submit(tree.infer)
        wait_for((tmp_path / "entered").exists)
        tree.process.send_signal(signal.SIGTERM)
        wait_for(lambda: tree.ask(f"{tree.admin}/healthz") == (200, NOT_READY))
        assert tree.stop(signal.SIGINT)[0] == 130
        assert isinstance(inside.exception(), urllib3.exceptions.HTTPError)
        wait_for(lambda: not any(map(is_alive, workers)))


def test_what_does_not_end_in_time_is_cut_off_and_said(tmp_path: Path) -> None:
    config = write_config(tmp_path, "Gate", executor="thread", drain="50ms")
    with served(config) as tree, ThreadPoolExecutor() as threads:
        (tmp_path / "shut").touch()
        inside = threads.submit(tree.infer)
        wait_for((tmp_path / "entered").exists)
        code, errors = tree.stop()
        assert code == 1
        assert "1 events were cut off after 0.05 s; raise daemon.drain" in errors
        assert inside.exception() is not None


def test_no_worker_outlives_its_supervisor(tmp_path: Path) -> None:
    """Planted: a worker that does not end with its channel keeps the port, and is seen here."""
    with served(write_config(tmp_path)) as tree:
        workers = tree.pids()
        with Load(tree.data_port, keeping=4, fresh=0) as load:
            wait_for(lambda: load.answered > 50)
            os.kill(tree.process.pid, signal.SIGKILL)
            wait_for(lambda: load.failed > 0)
        wait_for(lambda: not any(map(is_alive, workers)))
        assert not is_taken(tree.data_port)


def test_a_worker_that_hangs_outlives_its_supervisor_not_for_long(tmp_path: Path) -> None:
    config = write_config(tmp_path, "Hang", drain="0s")
    with served(config) as tree, ThreadPoolExecutor() as threads:
        workers = tree.pids()
        hanging = threads.submit(tree.infer, HANG)
        wait_for(lambda: any((tmp_path / str(pid)).exists() for pid in workers))
        os.kill(tree.process.pid, signal.SIGKILL)
        wait_for(lambda: not any(map(is_alive, workers)))
        assert hanging.exception() is not None


def test_a_worker_that_hangs_is_replaced_and_shows_where(tmp_path: Path) -> None:
    with served(write_config(tmp_path, "Hang")) as tree, ThreadPoolExecutor() as threads:
        hanging = threads.submit(tree.infer, HANG)
        workers = tree.pids()
        wait_for(lambda: any((tmp_path / str(pid)).exists() for pid in workers))
        wait_for(lambda: sum(worker["stalls"] for worker in tree.workers()) == 1)
        assert {tree.infer() for _ in range(5)} == {200}
        assert hanging.exception() is not None
        wait_for(lambda: len(tree.pids()) == 2)
        code, errors = tree.stop()
    assert code == 0, errors
    assert "hangs; ending it" in errors
    assert "in process" in errors  # of the stage: the stack of the loop's thread


@pytest.mark.parametrize(
    ("stage", "code", "reason"),
    [
        ("NotThere", 2, "NotThere"),
        ("Broken", 1, "pipeline 'double', stage 's' failed to open: OSError('no model')"),
    ],
)
def test_why_it_cannot_start_is_said_once(
    tmp_path: Path, stage: str, code: int, reason: str
) -> None:
    with launched(write_config(tmp_path, stage)) as tree:
        ended, errors = tree.finish()
    assert ended == code
    assert sum(line.startswith("sedp: ") for line in errors.splitlines()) == 1
    assert errors.splitlines()[-1].startswith("sedp: ")
    assert reason in errors
    assert errors.count("Traceback") <= 1


def test_workers_that_die_without_a_word_are_given_up(tmp_path: Path) -> None:
    with launched(write_config(tmp_path, "Crash")) as tree:
        code, errors = tree.finish()
    assert code == 1
    assert "was ended by SIGKILL before it was ready" in errors.splitlines()[-1]


def test_a_port_in_use_is_found_before_any_worker_starts(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config.write_text(
            config.read_text().replace("admin: 127.0.0.1:0", f"admin: 127.0.0.1:{port}")
        )
        with launched(config) as tree:
            code, errors = tree.finish()
    assert code == 2
    assert len(errors.splitlines()) == 1
    assert f"daemon.admin: cannot listen on 127.0.0.1:{port}" in errors


def test_a_signal_before_it_serves_ends_all_workers(tmp_path: Path) -> None:
    config = write_config(tmp_path, "Gate")
    (tmp_path / "mine.py").write_text(
        (tmp_path / "mine.py")
        .read_text()
        .replace("def process", "open = process\n\n    def process")
    )
    with launched(config) as tree:
        wait_for(lambda: len(children_of(tree.process.pid)) == 2)
        workers = children_of(tree.process.pid)
        code, _ = tree.stop()
        assert code == 143
        wait_for(lambda: not any(map(is_alive, workers)))


def test_one_worker_is_the_process_itself(tmp_path: Path) -> None:
    with served(write_config(tmp_path), "--workers", "1") as tree:
        assert children_of(tree.process.pid) == []
        assert tree.pids() == [tree.process.pid]
        assert tree.change("/admin/restart")[0] == 409
        write_config(tmp_path, deadline="5s")
        tree.process.send_signal(signal.SIGHUP)
        wait_for(lambda: tree.status()["pipelines"][0]["deadline_seconds"] == 5)
        tree.process.send_signal(signal.SIGUSR2)
        code, errors = tree.stop()
    assert code == 0
    assert "reload: pipelines.double.deadline: 30s → 5s" in errors
