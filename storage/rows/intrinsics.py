"""Processor instructions that numba has no word for, as functions for the kernels.

Addresses are taken as they come: the caller answers for the bounds. The loads, stores and fences
keep both the compiler and the processor from moving memory accesses over them, in the sense of the
C++ memory model; on x86 they cost no more than plain ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sedp.kernel import inlined

_BYTE, _WORD, _FLAG = ir.IntType(8), ir.IntType(64), ir.IntType(32)
_POINTER = _BYTE.as_pointer()
_LINE = ir.VectorType(_WORD, 8)
_LINE_BYTES = 64
_GROUP = ir.VectorType(_BYTE, 16)


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing_context: Any, address: Any) -> Any:
    """Ask for the cache line at an address; harmless whatever the address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_POINTER, _FLAG, _FLAG, _FLAG])
        function = builder.module.declare_intrinsic("llvm.prefetch", (_POINTER,), kind)
        read, everywhere, data = _FLAG(0), _FLAG(3), _FLAG(1)
        builder.call(function, [builder.inttoptr(args[0], _POINTER), read, everywhere, data])
        return context.get_dummy_value()

    return types.void(types.uintp), generate


@intrinsic  # type: ignore[untyped-decorator]
def copy_bytes(typing_context: Any, target: Any, source: Any, count: Any) -> Any:
    """`memcpy` between two addresses."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_POINTER, _POINTER, _WORD, ir.IntType(1)])
        name, pointers = "llvm.memcpy", (_POINTER, _POINTER, _WORD)
        function = builder.module.declare_intrinsic(name, pointers, kind)
        ends = [builder.inttoptr(arg, _POINTER) for arg in args[:2]]
        builder.call(function, [*ends, args[2], ir.IntType(1)(0)])
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.uintp), generate


@intrinsic  # type: ignore[untyped-decorator]
def copy_line(typing_context: Any, target: Any, source: Any) -> Any:
    """Copy 64 bytes between two addresses, aligned or not: one or two vector moves."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to, start = (builder.inttoptr(arg, _LINE.as_pointer()) for arg in args)
        builder.store(builder.load(start, align=1), to, align=1)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp), generate


@intrinsic  # type: ignore[untyped-decorator]
def place_of(typing_context: Any, line: Any, word: Any) -> Any:
    """The first of the seven words at `line` (on a 64-byte boundary) that is `word`; 7 for none.

    One vector comparison: a loop over the seven takes three times as long.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = builder.load(builder.inttoptr(args[0], _LINE.as_pointer()), align=_LINE_BYTES)
        wanted = builder.insert_element(ir.Constant(_LINE, ir.Undefined), args[1], _FLAG(0))
        everywhere = ir.Constant(ir.VectorType(_FLAG, 8), [0] * 8)
        wanted = builder.shuffle_vector(wanted, wanted, everywhere)
        equal = builder.bitcast(builder.icmp_unsigned("==", words, wanted), _BYTE)
        stop = _BYTE(1 << 7)
        place = builder.cttz(builder.or_(equal, stop), ir.IntType(1)(1))
        return builder.zext(place, _WORD)

    return types.int64(types.uintp, types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def load_acquire(typing_context: Any, address: Any) -> Any:
    """The uint64 at an address; no later access happens before."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source = builder.inttoptr(args[0], _WORD.as_pointer())
        return builder.load_atomic(source, "acquire", 8)

    return types.uint64(types.uintp), generate


@intrinsic  # type: ignore[untyped-decorator]
def store_release(typing_context: Any, address: Any, word: Any) -> Any:
    """Write the uint64 at an address; no earlier access happens after."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = builder.inttoptr(args[0], _WORD.as_pointer())
        builder.store_atomic(args[1], target, "release", 8)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def load_byte(typing_context: Any, address: Any) -> Any:
    """The byte at an address that other threads may write."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source = builder.inttoptr(args[0], _POINTER)
        return builder.zext(builder.load_atomic(source, "monotonic", 1), _WORD)

    return types.int64(types.uintp), generate


@intrinsic  # type: ignore[untyped-decorator]
def store_byte(typing_context: Any, address: Any, byte: Any) -> Any:
    """Write the byte at an address, and none beside it."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = builder.inttoptr(args[0], _POINTER)
        builder.store_atomic(builder.trunc(args[1], _BYTE), target, "monotonic", 1)
        return context.get_dummy_value()

    return types.void(types.uintp, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def fence_loads(typing_context: Any) -> Any:
    """What was loaded before is not loaded after."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("acquire")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic  # type: ignore[untyped-decorator]
def fence_stores(typing_context: Any) -> Any:
    """What is stored after is not stored before."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("release")
        return context.get_dummy_value()

    return types.void(), generate


def _load(builder: Any, address: Any, bits: int) -> Any:
    return builder.load(builder.inttoptr(address, ir.IntType(bits).as_pointer()), align=1)


@intrinsic  # type: ignore[untyped-decorator]
def load_word(typing_context: Any, address: Any) -> Any:
    """The little-endian uint64 at any address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _load(builder, args[0], 64)

    return types.uint64(types.uintp), generate


@intrinsic  # type: ignore[untyped-decorator]
def load_half(typing_context: Any, address: Any) -> Any:
    """The little-endian uint32 at any address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _load(builder, args[0], 32)

    return types.uint32(types.uintp), generate


@intrinsic  # type: ignore[untyped-decorator]
def load_short(typing_context: Any, address: Any) -> Any:
    """The little-endian uint16 at any address, as an int64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.zext(_load(builder, args[0], 16), _WORD)

    return types.int64(types.uintp), generate


@intrinsic  # type: ignore[untyped-decorator]
def equal_bytes(typing_context: Any, address: Any, wanted: Any) -> Any:
    """Bit i is set where byte i of the 16 at an address is `wanted`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source = builder.inttoptr(args[0], _GROUP.as_pointer())
        byte = builder.trunc(args[1], _BYTE)
        bytes_wanted = builder.insert_element(ir.Constant(_GROUP, ir.Undefined), byte, _FLAG(0))
        everywhere = ir.Constant(ir.VectorType(_FLAG, _GROUP.count), [0] * _GROUP.count)
        bytes_wanted = builder.shuffle_vector(bytes_wanted, bytes_wanted, everywhere)
        equal = builder.icmp_unsigned("==", builder.load(source, align=1), bytes_wanted)
        return builder.zext(builder.bitcast(equal, ir.IntType(_GROUP.count)), _WORD)

    return types.uint64(types.uintp, types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def lowest_bit(typing_context: Any, word: Any) -> Any:
    """Number of the lowest bit that is set in a word other than zero."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.IntType(1)(1))

    return types.int64(types.uint64), generate


@inlined
def as_index(number: Any) -> int:
    """A signed one; numba makes floats of signed and unsigned integers that meet."""
    index: Any = np.int64(number)
    return index  # type: ignore[no-any-return]


@inlined
def copy_row(target: np.uint64, source: np.uint64, row_bytes: int) -> None:
    """By whole lines, the last one up to the end: `memcpy` takes a call as long as two of them."""
    if row_bytes < _LINE_BYTES:
        copy_bytes(target, source, np.uint64(row_bytes))
        return
    last = np.uint64(row_bytes - _LINE_BYTES)
    done = np.uint64(0)
    while done < last:
        copy_line(target + done, source + done)
        done += np.uint64(_LINE_BYTES)
    copy_line(target + last, source + last)
