"""What a parser under attack is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

Parse = Callable[[bytes], None]


class Parser(msgspec.Struct, frozen=True):
    """A parser and where to begin.

    Args:
        make: given a folder of its own for files.
        seeds: input that it takes, to be changed.
    """

    make: Callable[[Path], Parse]
    seeds: tuple[bytes, ...]
