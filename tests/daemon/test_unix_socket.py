"""Who gets in by a Unix socket: neither the file nor the guard lets another user pass."""

from __future__ import annotations

import errno
import os
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from sedp.config.addresses import Address
from sedp.daemon.access.guard import Guard
from sedp.daemon.access.peer import Peer
from sedp.daemon.doors import bind
from sedp.errors import RequestError

NOBODY_UID = 65_534


def connect_as(uid: int, path: str) -> int:
    """A process of another user that connects and waits to be hung up on; its id."""
    with warnings.catch_warnings(action="ignore"):  # of threads, none of which it needs
        process = os.fork()
    if process:
        return process
    try:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(path)
            caller.recv(1)
    except OSError as err:
        os._exit(err.errno or 255)
    os._exit(0)


def exit_code(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@pytest.fixture
def address() -> Iterator[Address]:
    """In a folder that every user can enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Address(path=f"{folder}/s")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_does_not_get_in(address: Address) -> None:
    """Neither through the file's mode, nor, where that was opened, past the guard."""
    path = address.path
    with bind(address, "daemon.listen") as listening:
        listening.listen()
        listening.settimeout(10)
        assert exit_code(connect_as(NOBODY_UID, path)) == errno.EACCES
        os.chmod(path, 0o666)
        stranger = connect_as(NOBODY_UID, path)
        accepted, _ = listening.accept()
        raw = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        accepted.close()
        assert exit_code(stranger) == 0
    assert int.from_bytes(raw[4:8], sys.byteorder) == NOBODY_UID
    with pytest.raises(RequestError) as unknown:
        Guard().identify({}, Peer(uid=NOBODY_UID))
    assert unknown.value.status == 401
