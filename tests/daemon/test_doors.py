"""Taking addresses: what is free is taken, what is not is named with its key."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import closing
from pathlib import Path

import pytest

from sedp.config.addresses import Address
from sedp.config.daemon_settings import DaemonSettings
from sedp.daemon.doors import Doors, bind, spell
from sedp.errors import ConfigError

FREE = Address("127.0.0.1", 0)


def test_taken_doors_are_not_listened_on_yet() -> None:
    with closing(Doors.open(DaemonSettings(listen=FREE, admin=FREE, grpc=FREE))) as doors:
        for door in (doors.data, doors.admin, doors.grpc):
            assert door is not None
            host, port = spell(door).split(":")
            with socket.socket() as caller, pytest.raises(ConnectionRefusedError):
                caller.connect((host, int(port)))


def test_all_doors_are_given_back_when_one_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = Address(*other.getsockname())
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            free = Address(*probe.getsockname())
        with pytest.raises(ConfigError, match=r"daemon.admin: cannot listen on .* another port"):
            Doors.open(DaemonSettings(listen=free, admin=taken))
        bind(free, "k").close()


def test_port_of_grpc_can_be_taken_once_more_by_its_server() -> None:
    with closing(Doors.open(DaemonSettings(listen=FREE, admin=FREE, grpc=FREE))) as doors:
        assert doors.grpc is not None
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            server.bind(doors.grpc.getsockname())


def test_unix_socket_is_for_user_and_group_and_goes_when_closed(tmp_path: Path) -> None:
    path = tmp_path / "data.sock"
    with closing(Doors.open(DaemonSettings(listen=Address(path=str(path)), admin=FREE))) as doors:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert spell(doors.data) == f"unix:{path}"
    assert not path.exists()


def test_deserted_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "data.sock"
    bind(Address(path=str(path)), "k").close()
    assert path.exists()
    bind(Address(path=str(path)), "k").close()


def test_unix_socket_of_a_living_process_is_not_replaced(tmp_path: Path) -> None:
    address = Address(path=str(tmp_path / "data.sock"))
    with bind(address, "k") as living:
        living.listen()
        with pytest.raises(ConfigError, match="Address already in use; stop the process"):
            bind(address, "k")


def test_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="Address already in use"):
        bind(Address(path=str(path)), "k")
    assert path.read_text() == "precious"


def test_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"daemon.listen: .*set a path in a folder"):
        bind(Address(path=os.fspath(tmp_path / "none" / "s")), "daemon.listen")


@pytest.mark.parametrize("host", ["host.invalid", "203.0.113.1"])
def test_address_that_is_not_ours_is_told(host: str) -> None:
    with pytest.raises(ConfigError, match=r"daemon.listen: "):
        bind(Address(host, 0), "daemon.listen")
