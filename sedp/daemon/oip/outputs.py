"""What a request asks for, and what is the same in all answers to it.

Requests that ask for the same share one `WantedOutputs`; what an answer says beside its values
follows from it and from the number of candidates, and is kept there as a `Frame`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Self

import msgspec

from sedp.columns import TensorSpec


class WantedOutput(msgspec.Struct, frozen=True):
    """An output the caller asks for, and in which form."""

    name: str
    tensor: TensorSpec
    binary: bool


class Frame(NamedTuple):
    """An answer's JSON without its values, for one number of candidates.

    Args:
        opening: before the outputs.
        outputs: of each, up to its values.
        whole: all of it, when nothing is to be filled in; else empty.
    """

    opening: bytes
    outputs: tuple[bytes, ...]
    whole: bytes


class WantedOutputs(tuple[WantedOutput, ...]):
    """What one request asks for; requests that ask for the same often share it.

    Args:
        frames: by number of candidates; the writer's.
    """

    frames: dict[int, Frame]

    def __new__(cls, outputs: Iterable[WantedOutput]) -> Self:
        made = super().__new__(cls, outputs)
        made.frames = {}
        return made
