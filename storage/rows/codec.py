"""Row formats: how the numbers of a float32 row are stored, and how they come back.

    float32   dim × 4 bytes
    float16   dim × 2 bytes, padded up to 4
    int8      dim bytes, padded up to 4 | scale, float32

Tiers move stored rows as opaque bytes; only the last step before the caller decodes them, at about
the speed of copying the float32 rows. A number of an int8 row is its code times the row's scale,
which is the row's largest magnitude / 127. float16 keeps NaN, infinities and subnormals.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.kernel import kernel
from sedp.storage.tier import Rows

RowFormat = Literal["float32", "float16", "int8"]
ROW_FORMATS: tuple[RowFormat, ...] = get_args(RowFormat)

Floats = NDArray[np.float32]

_CODES: dict[RowFormat, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.uint16),  # numba has no float16 on the CPU
    "int8": np.dtype(np.int8),
}
_SCALE_BYTES = 4
_CODE_MAX = 127
_FLOAT16_MAX = float(np.finfo(np.float16).max)
_SCALE_MIN = np.finfo(np.float32).tiny  # a subnormal scale would be off by up to a half
_SCALE_MAX = np.nextafter(np.finfo(np.float32).max / np.float32(127), np.float32(0))  # × 127 holds


def stored_bytes(row_format: RowFormat, dim: int) -> int:
    """Bytes of a stored row of `dim` numbers; a multiple of 4."""
    padded = -(-dim * _CODES[row_format].itemsize // 4) * 4
    return padded + _SCALE_BYTES if row_format == "int8" else padded


def encode_rows(rows: Floats, row_format: RowFormat) -> Rows:
    """uint8[n, stored_bytes] of float32[n, dim].

    Raises:
        StoreError: a number that the format cannot hold: in float16 a finite one beyond ±65504, in
            int8 one that is not finite.
    """
    if row_format == "int8":
        return _encode_int8(rows)
    if row_format == "float16":
        _refuse(rows, (np.abs(rows) > _FLOAT16_MAX) & np.isfinite(rows), "float16 ends at ±65504")
    stored = np.zeros((len(rows), stored_bytes(row_format, rows.shape[1])), dtype=np.uint8)
    stored.view(row_format)[:, : rows.shape[1]] = rows
    return stored


def _encode_int8(rows: Floats) -> Rows:
    _refuse(rows, ~np.isfinite(rows), "int8 rows hold finite numbers only")
    scales = np.abs(rows).max(axis=1, initial=0) / np.float32(_CODE_MAX)
    scales = np.where(scales < _SCALE_MIN, np.float32(0), np.minimum(scales, _SCALE_MAX))
    steps = np.divide(rows, scales[:, np.newaxis], where=scales[:, np.newaxis] > 0, out=rows * 0)
    stored = np.zeros((len(rows), stored_bytes("int8", rows.shape[1])), dtype=np.uint8)
    stored.view(np.int8)[:, : rows.shape[1]] = np.rint(steps)
    stored.view(np.float32)[:, -1] = scales
    return stored


def _refuse(rows: Floats, is_bad: NDArray[np.bool_], limit: str) -> None:
    if is_bad.any():
        row, element = np.argwhere(is_bad)[0].tolist()
        raise StoreError(
            f"row {row} holds {rows[row, element]} as element {element}, but {limit}; clip it, or "
            "store the rows as float32"
        )


def decode_rows(stored: Rows, row_format: RowFormat, out: Floats) -> None:
    """Write the numbers of stored rows.

    Args:
        stored: uint8[n, stored_bytes], C-contiguous and aligned to 4 bytes.
        out: float32[n, dim], C-contiguous.

    Raises:
        TypeError: an array has another dtype or layout.
    """
    assert stored.shape == (len(out), stored_bytes(row_format, out.shape[1])), "rows of another dim"
    codes, words = as_codes(stored, row_format), stored.view(np.float32)
    if codes.shape == out.shape:  # no padding and no scale between rows: one long row is faster
        codes, out = codes.reshape(1, -1), out.reshape(1, -1)
    _DECODERS[row_format](codes, words, row_format == "int8", out)


def as_codes(stored: Rows, row_format: RowFormat) -> NDArray[Any]:
    """The stored rows seen as what kernels give to `number`, padding and scale included."""
    return stored.view(_CODES[row_format])


def _widen(half: int) -> np.float32:
    """The float32 of the bits of a float16, without arithmetic on subnormals (some code that
    shares the thread may have told the CPU to take them for zeros)."""
    word = np.uint32(half)
    sign = np.uint32(np.uint32(word & np.uint32(0x8000)) << np.uint32(16))
    magnitude = np.uint32(word & np.uint32(0x7FFF))
    bias = np.uint32((127 - 15) << 23)  # between the exponents of the two
    normal = np.uint32(np.uint32(magnitude << np.uint32(13)) + bias)
    normal = np.uint32(normal + bias) if magnitude >= np.uint32(0x7C00) else normal
    small = np.float32(np.float32(np.int32(magnitude)) * np.float32(2.0**-24))
    bits = normal if magnitude >= np.uint32(0x400) else _bitcast(small)
    return _bitcast(np.uint32(bits | sign))  # type: ignore[no-any-return]


@intrinsic  # type: ignore[untyped-decorator]
def _bitcast(typing_context: Any, value: Any) -> Any:
    """The bits of a uint32 as float32, or the other way round."""
    to = types.uint32 if value is types.float32 else types.float32

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(to))

    return to(value), generate


@intrinsic  # type: ignore[untyped-decorator]
def number(typing_context: Any, code: Any) -> Any:
    """The float32 that a code stands for, before it is scaled; loops over it vectorise.

    LLVM widens halves in hardware where there is F16C; elsewhere it would call a function that
    numba does not have, and end the process.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if code is types.float32:
            return args[0]
        if code is types.int8:
            return builder.sitofp(args[0], ir.FloatType())
        _triple, _cpu, features = context.codegen().magic_tuple()
        if "+f16c" in features:
            return builder.fpext(builder.bitcast(args[0], ir.HalfType()), ir.FloatType())
        return context.compile_internal(builder, _widen, signature, args)

    return types.float32(code), generate


def _decode(codes: NDArray[Any], words: Floats, is_scaled: bool, out: Floats) -> None:
    last = words.shape[1] - 1
    for i in range(out.shape[0]):
        scale = words[i, last] if is_scaled else np.float32(1)
        for j in range(out.shape[1]):
            out[i, j] = number(codes[i, j]) * scale


def compiled_for_formats(function: Any, signature: str) -> dict[RowFormat, Any]:
    """A kernel for each format from one loop; `{code}` in the signature is the dtype of codes."""
    return {
        name: kernel(signature.format(code=code.name))(function) for name, code in _CODES.items()
    }


_DECODERS = compiled_for_formats(
    _decode,
    "void(Array({code}, 2, 'C', readonly=True), Array(float32, 2, 'C', readonly=True), boolean,"
    " float32[:, ::1])",
)
