"""Addresses as the config file writes them."""

from __future__ import annotations

import ipaddress
import re

import msgspec

from sedp.config.units import TextForm


class Address(msgspec.Struct, frozen=True):
    """A TCP address to listen on; `host` is `localhost` or a loopback IP, without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`127.0.0.1:8000`, `localhost:8000` or `[::1]:8000`; port 0 takes any free one.

    Raises:
        ValueError: not of that form, or an address that other machines can reach.
    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65_535:
        raise ValueError(f"{text!r} is no address; write host:port like 127.0.0.1:8000")
    host = match[1] or match[2]
    if host != "localhost" and not _is_loopback(host):
        raise ValueError(
            f"{text!r} can be reached from other machines, and there is no authentication yet; "
            f"write 127.0.0.1:{match[3]} and put a proxy that checks callers in front"
        )
    return Address(host, int(match[3]))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


ADDRESS = TextForm(
    "address",
    "an address like 127.0.0.1:8000",
    r"^(localhost|127\.[0-9.]+|\[::1\]):[0-9]{1,5}$",
    parse_address,
    str,
    Address,
)
