"""A protobuf message taken apart and put together around its raw tensors.

Tensors are nearly all of a message's bytes, and all else is the same from one call to the next.
So the tensors are cut out as they lie, without a copy, and the rest, the head, is a short byte
string that can be looked up among the recent ones before any message object is made. Heads and
counts are bounded before they are parsed: protobuf makes 40 bytes of memory from one byte sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sedp.errors import RequestError

RAW_INPUTS = 7  # field numbers of raw_input_contents and raw_output_contents
RAW_OUTPUTS = 6
HEAD_BYTES_MAX = 1 << 20
VARINT_BYTES_MAX = 10
_BYTES = 2  # wire types
_SIZES = {1: 8, 5: 4}  # of wire types with a fixed one


class Cut(NamedTuple):
    """A `ModelInferRequest` in two parts.

    Args:
        head: the message without its raw tensors.
        tensors: each entry of `raw_input_contents`.
    """

    head: bytes
    tensors: tuple[memoryview, ...]


def cut(message: bytes, fields_max: int) -> Cut:
    """Take the raw tensors out of a `ModelInferRequest`.

    Args:
        fields_max: most fields the message may have, each tensor being one.

    Raises:
        RequestError: 400 for bytes that are no message, 413 for too many fields or too long a head.
    """
    view = memoryview(message)
    kept: list[memoryview] = []
    tensors: list[memoryview] = []
    at = kept_from = fields = 0
    while at < len(message):
        fields += 1
        if fields > fields_max:
            raise RequestError(f"the message has over {fields_max} fields; send fewer", 413)
        start = at
        key, at = _varint(message, at)
        stop, at = _field_end(message, key & 7, at)
        if key == RAW_INPUTS << 3 | _BYTES:
            kept.append(view[kept_from:start])
            tensors.append(view[at:stop])
            kept_from = stop
        at = stop
    kept.append(view[kept_from:])
    head = b"".join(kept)
    if len(head) > HEAD_BYTES_MAX:
        raise RequestError(
            f"the message has {len(head)} bytes outside of raw_input_contents; at most "
            f"{HEAD_BYTES_MAX}: send tensors as raw_input_contents",
            413,
        )
    return Cut(head, tuple(tensors))


def join(head: bytes, tensors: Sequence[bytes]) -> bytes:
    """A `ModelInferResponse` from its head and the entries of `raw_output_contents`."""
    parts = [head]
    for tensor in tensors:
        parts.append(_RAW_OUTPUT_KEY + _write_varint(len(tensor)))
        parts.append(tensor)
    return b"".join(parts)


def nest(field: int, message: bytes) -> bytes:
    """A message with nothing but another one in a field."""
    return _write_varint(field << 3 | _BYTES) + _write_varint(len(message)) + message


def _field_end(message: bytes, wire_type: int, at: int) -> tuple[int, int]:
    """Where a field ends, and where its value starts."""
    if wire_type == _BYTES:
        size, at = _varint(message, at)
        stop = at + size
    elif wire_type == 0:
        _, stop = _varint(message, at)
    elif wire_type in _SIZES:
        stop = at + _SIZES[wire_type]
    else:
        raise _broken(at)
    if stop > len(message):
        raise _broken(at)
    return stop, at


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where the next thing starts."""
    number = shift = 0
    for place in range(at, min(at + VARINT_BYTES_MAX, len(message))):
        byte = message[place]
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place + 1
        shift += 7
    raise _broken(at)


def _write_varint(number: int) -> bytes:
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _broken(at: int) -> RequestError:
    return RequestError(f"the bytes are no ModelInferRequest: they break off or err at byte {at}")


_RAW_OUTPUT_KEY = _write_varint(RAW_OUTPUTS << 3 | _BYTES)
