"""Addresses as the config file writes them: of a TCP socket, or of a Unix socket."""

from __future__ import annotations

import ipaddress
import re

import msgspec

from sedp.units import TextForm

UNIX = "unix:"
PATH_BYTES_MAX = 107  # Linux: sun_path has 108, with a zero at the end
_HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+"


class Address(msgspec.Struct, frozen=True):
    """Where to listen: a path, or else host and port.

    Args:
        host: a name or an IP, without brackets; "" with a path.
        port: 0 takes any free one; 0 with a path.
        path: absolute, of a Unix socket; "" for TCP.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return UNIX + self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine's processes can connect."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a name; who knows what it will mean
            return False


def parse_address(text: str) -> Address:
    """`127.0.0.1:8000`, `[::1]:8000`, `host.example:8000` or `unix:/run/sedp/data.sock`.

    Raises:
        ValueError: not of that form; the message says the mend.
    """
    if text.startswith(UNIX):
        return _parse_path(text.removeprefix(UNIX))
    match = re.fullmatch(rf"({_HOST}):([0-9]{{1,5}})", text, re.ASCII)
    if match is None or int(match[2]) > 65_535:
        raise ValueError(
            f"{text!r} is no address; write host:port like 127.0.0.1:8000, or unix:/path"
        )
    return Address(match[1].strip("[]"), int(match[2]))


def _parse_path(path: str) -> Address:
    if not path.startswith("/") or path.endswith("/") or not path.isprintable():
        raise ValueError(
            f"{path!r} is no socket's path; write an absolute one, unix:/run/sedp.sock"
        )
    if len(path.encode()) > PATH_BYTES_MAX:
        raise ValueError(f"{path!r} is too long; the system takes {PATH_BYTES_MAX} bytes")
    return Address(path=path)


ADDRESS = TextForm(
    "address",
    "an address like 127.0.0.1:8000 or unix:/run/sedp.sock",
    rf"^(unix:/.*[^/]|({_HOST}):[0-9]{{1,5}})$",
    parse_address,
    str,
    Address,
)
