"""How deep a JSON text is nested, known before anything is built from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sedp.errors import RequestError
from sedp.kernel import kernel

DEPTH_MAX = 16
QUOTE, NINE, BACKSLASH = ord('"'), ord("9"), ord("\\")
OPEN_OBJECT, CLOSE_OBJECT = ord("{"), ord("}")
CASE_BIT = 32  # makes braces of brackets


def check_depth(text: bytes) -> None:
    """Refuse what is nested deeper than `DEPTH_MAX` levels.

    Raises:
        RequestError: 400.
    """
    bytes_ = np.frombuffer(text, np.uint8)
    if count_openings(bytes_) > DEPTH_MAX and is_deeper(bytes_, DEPTH_MAX):
        raise RequestError(f"the request's JSON is nested too deep; {DEPTH_MAX} levels suffice")


@kernel("int64(Array(uint8, 1, 'C', readonly=True))")
def count_openings(text: NDArray[np.uint8]) -> int:
    """Brackets and braces that open, those in strings included; never less than the depth.

    Many times as fast as looking for strings; flat requests need no more.
    """
    count = 0
    for byte in text:
        count += (byte | CASE_BIT) == OPEN_OBJECT
    return count


@kernel("boolean(Array(uint8, 1, 'C', readonly=True), int64)")
def is_deeper(text: NDArray[np.uint8], depth_max: int) -> bool:
    """Whether lists and objects, outside of strings, are ever open more than `depth_max` deep.

    What is no JSON gets some answer; its parser refuses it in any case.
    """
    depth = 0
    in_string = False
    at = 0
    while at < len(text):
        byte = text[at]
        if in_string:
            if byte == BACKSLASH:
                at += 1
            elif byte == QUOTE:
                in_string = False
        elif byte == QUOTE:
            in_string = True
        elif byte > NINE:
            folded = byte | CASE_BIT
            depth += int(folded == OPEN_OBJECT) - int(folded == CLOSE_OBJECT)
            if depth > depth_max:
                return True
        at += 1
    return False
