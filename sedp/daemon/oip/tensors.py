"""Tensor data as it travels, JSON values or raw little-endian bytes, to numpy and back.

Pure. Whatever the bytes are, reading them gives an array of exactly the wanted datatype and
element count, or a `RequestError` that names the tensor. Nothing is guessed: no float becomes an
int, no bool a number, no NaN or infinity gets in. Element counts are compared before anything is
built, so a lying header costs no memory.

Arrays are private, aligned and writable copies, never views of the body: views may be unaligned
and are read-only, and numba would compile every kernel once more for each such kind of array.
Calls into numpy are few: between two requests its code falls out of the caches, and a call then
costs several times what it costs in a loop.
"""

from __future__ import annotations

import functools
import re
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from sedp.columns import DTYPES, Array
from sedp.daemon.oip.json_numbers import read_floats, read_integers
from sedp.errors import RequestError
from sedp.kernel import kernel

assert sys.byteorder == "little", "the wire is little-endian and arrays are sent as they lie"

BYTES_PREFIX = struct.Struct("<I")  # length in front of each BYTES element
_OPENING = re.compile(rb"[\s\[]*")
_FLAT = re.compile(rb"\s*\[\s*[^\s\[]")

JSON_KINDS: dict[str, type] = {
    name: {"b": bool, "u": int, "i": int, "f": float, "O": str}[dtype.kind]
    for name, dtype in DTYPES.items()
    if name != "FP16"  # the protocol gives it no JSON form
}


def read_json(
    name: str, datatype: str, shape: Sequence[int], count: int, raw: msgspec.Raw
) -> Array:
    """JSON `data` of a tensor, flat or nested like `shape`, as a flat array.

    Args:
        name: the tensor's, for messages.
        datatype: a key of `DTYPES`.
        shape: as the caller wrote it; `count` is its product.
        raw: the JSON text of `data`.

    Raises:
        RequestError: wrong type, nesting or count, a value out of range, or not finite.
    """
    kind = JSON_KINDS.get(datatype)
    if kind is None:
        raise RequestError(f"tensor {name!r}: {datatype} has no JSON form; send it as binary data")
    array = _read_numbers(datatype, shape, count, raw) if kind in (int, float) else None
    if array is None:
        array = _read_values(name, datatype, kind, shape, count, bytes(raw))
    if kind is float and not _FINITE_CHECKS[datatype](array):
        raise _not_finite(name, array)
    return array


def _read_numbers(
    datatype: str, shape: Sequence[int], count: int, raw: msgspec.Raw
) -> Array | None:
    """The usual case: numbers in plain lists."""
    text = np.frombuffer(raw, np.uint8)
    read = read_floats if datatype.startswith("FP") else read_integers
    is_flat = len(shape) == 1 or _FLAT.match(raw) is not None
    return read(text, (count,) if is_flat else shape, DTYPES[datatype])


def _read_values(
    name: str, datatype: str, kind: type, shape: Sequence[int], count: int, raw: bytes
) -> Array:
    """Whatever JSON says, or why it may not."""
    _check_json_count(name, kind, count, raw)
    depth = _OPENING.match(raw)[0].count(b"[")  # type: ignore[index] # it also matches nothing
    if depth not in (1, len(shape)):
        raise RequestError(
            f"tensor {name!r}: data is nested {depth} deep; send one flat list or nest it like "
            f"its shape {list(shape)}"
        )
    try:
        values = _list_decoder(kind, depth).decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as err:
        raise RequestError(f"tensor {name!r} of {datatype}: data: {err}") from err
    array = _array(name, datatype, values)
    if array.shape != (count,) and array.shape != tuple(shape):
        raise _count_error(name, array.size, shape)
    return array.reshape(-1)


def read_binary(name: str, datatype: str, count: int, body: bytes, start: int, size: int) -> Array:
    """A tensor's raw bytes, `body[start : start + size]`, as a flat array of `count` elements.

    Raises:
        RequestError: too few or too many bytes, a BOOL that is neither 0 nor 1, NaN or infinity.
    """
    if datatype == "BYTES":
        return _read_byte_strings(name, count, body[start : start + size])
    dtype = DTYPES[datatype]
    if size != count * dtype.itemsize:
        raise RequestError(
            f"tensor {name!r}: {count} elements of {datatype} take {count * dtype.itemsize} "
            f"bytes, but {size} were sent"
        )
    array = np.frombuffer(bytearray(body[start : start + size]), dtype)
    check = _FINITE_CHECKS.get(datatype)
    if check is not None:
        if not check(array):
            raise _not_finite(name, array)
    elif datatype == "BOOL" and array.view(np.uint8).max(initial=0) > 1:
        raise RequestError(f"tensor {name!r}: BOOL elements must be bytes 0 or 1")
    return array


def write_json(name: str, datatype: str, array: Array) -> Array | list[str]:
    """What orjson should write for an output: a flat contiguous array, or a list of strings.

    Raises:
        RequestError: 406 for values that JSON cannot carry; binary data can.
    """
    if datatype == "BYTES":
        try:
            return [value.decode() for value in array.reshape(-1)]
        except UnicodeDecodeError as err:
            raise _unwritable(name, "is not UTF-8 text") from err
    flat = np.ascontiguousarray(array).reshape(-1)
    check = _FINITE_CHECKS.get(datatype)
    if check is not None and not check(flat if flat.flags.aligned else flat.copy()):
        raise _unwritable(name, "holds NaN or infinity")
    return flat


def write_binary(datatype: str, array: Array) -> bytes:
    """The raw bytes of an output: row-major, little-endian, no padding."""
    if datatype == "BYTES":
        return b"".join(BYTES_PREFIX.pack(len(value)) + value for value in array.reshape(-1))
    return array.tobytes()


def _check_json_count(name: str, kind: type, count: int, raw: bytes) -> None:
    """Refuse surplus elements before they become Python objects.

    Numbers hold no commas, so commas count elements however they are nested. Strings may hold
    anything but a bare quote; escaped quotes are taken off, which never counts too many.
    """
    quotes = raw.count(b'"') - raw.count(b'\\"') if kind is str else 0
    likely = quotes // 2 if kind is str else raw.count(b",") + 1
    if likely > count:
        raise RequestError(
            f"tensor {name!r}: data holds {likely} elements, but its shape has {count}"
        )


@functools.lru_cache(maxsize=64)
def _list_decoder(kind: type, depth: int) -> msgspec.json.Decoder[Any]:
    wanted: Any = kind
    for _ in range(depth):
        wanted = list[wanted]
    return msgspec.json.Decoder(wanted)


def _array(name: str, datatype: str, values: list[Any]) -> Array:
    if datatype == "BYTES":
        return _byte_strings(name, values)
    dtype = DTYPES[datatype]
    try:
        with np.errstate(over="ignore"):  # FP32 overflow becomes infinity, refused below
            array = np.array(values, dtype)
    except OverflowError as err:
        raise RequestError(f"tensor {name!r} of {datatype}: data: {err}") from err
    except ValueError as err:
        raise _ragged(name) from err
    return array


def _byte_strings(name: str, values: list[Any]) -> Array:
    try:
        nested = np.array(values, np.dtype("T"))  # variable-length strings: finds ragged nesting
    except ValueError as err:
        raise _ragged(name) from err
    array = np.empty(nested.size, np.object_)
    array[:] = [value.encode() for value in nested.reshape(-1)]
    return array.reshape(nested.shape)


def _read_byte_strings(name: str, count: int, raw: bytes) -> Array:
    values = []
    at = 0
    for index in range(count):
        start = at + BYTES_PREFIX.size
        at = start + BYTES_PREFIX.unpack_from(raw, at)[0] if start <= len(raw) else start
        if at > len(raw):
            raise RequestError(
                f"tensor {name!r}: BYTES element {index} of {count} ends at byte {at}, but "
                f"{len(raw)} were sent; each element needs its length in 4 bytes in front"
            )
        values.append(raw[start:at])
    if at != len(raw):
        raise RequestError(
            f"tensor {name!r}: {count} BYTES elements take {at} bytes, but {len(raw)} were sent"
        )
    array = np.empty(count, np.object_)
    array[:] = values
    return array


def _not_finite(name: str, array: Array) -> RequestError:
    place = np.flatnonzero(~np.isfinite(array))[0]
    return RequestError(
        f"tensor {name!r}: element {place} is NaN or infinite (or too large for its "
        "datatype); send finite numbers"
    )


def _are_finite(values: Array) -> bool:
    return bool(np.isfinite(values).all())


def _check_each(values: Array) -> bool:
    finite = True
    for value in values:
        finite &= np.isfinite(value)
    return finite


# Of flat, aligned arrays; by compiled code where it can be, as numpy takes several calls.
_FINITE_CHECKS: dict[str, Callable[[Array], bool]] = {
    "FP16": _are_finite,
    "FP32": kernel("boolean(Array(float32, 1, 'C', readonly=True))")(_check_each),
    "FP64": kernel("boolean(Array(float64, 1, 'C', readonly=True))")(_check_each),
}


def _count_error(name: str, have: int, shape: Sequence[int]) -> RequestError:
    return RequestError(f"tensor {name!r}: data holds {have} elements, its shape is {list(shape)}")


def _ragged(name: str) -> RequestError:
    return RequestError(f"tensor {name!r}: data has rows of different lengths; fill them up")


def _unwritable(name: str, reason: str) -> RequestError:
    return RequestError(
        f"output {name!r} {reason}, which JSON cannot carry; ask for it as binary data "
        '({"binary_data": true} in its parameters)',
        status=406,
    )
