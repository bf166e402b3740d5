"""The checksum of a record: a multilinear hash of its words, keyed by table version and key.

Every word is multiplied by an odd constant of its place in a block of 64 bytes and the products are
added up modulo 2⁶⁴, which a processor does for eight words at once; blocks are chained. An odd
factor loses nothing, so one changed word always changes the sum; the upper half of the mixed sum
is kept, and other damage slips through with a chance of 2⁻³² (Lemire and Kaser: Strongly
universal string hashing is fast, 2014).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sedp.kernel import inlined
from sedp.storage.rows.intrinsics import load_half, load_word
from sedp.storage.rows.keys import FIRST, GOLDEN, SECOND

_MASK = (1 << 64) - 1
BLOCK_WORDS = 8


def _multiplier(place: int) -> int:
    """The SplitMix64 sequence, made odd."""
    word = (place + 1) * int(GOLDEN) & _MASK
    word = (word ^ (word >> 30)) * int(FIRST) & _MASK
    word = (word ^ (word >> 27)) * int(SECOND) & _MASK
    return (word ^ (word >> 31)) | 1


MULTIPLIERS = np.array([_multiplier(place) for place in range(BLOCK_WORDS)], dtype=np.uint64)
PRIME = np.uint64(0x9E3779B185EBCA87)


@intrinsic  # type: ignore[untyped-decorator]
def _block_sum(typing_context: Any, address: Any) -> Any:
    """The sum of eight words, each times its multiplier."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(ir.IntType(64), BLOCK_WORDS)
        words = builder.load(builder.inttoptr(args[0], vector.as_pointer()))
        words.align = 1
        products = builder.mul(words, ir.Constant(vector, [int(word) for word in MULTIPLIERS]))
        name = f"llvm.vector.reduce.add.v{BLOCK_WORDS}i64"
        if name not in builder.module.globals:
            ir.Function(builder.module, ir.FunctionType(ir.IntType(64), [vector]), name)
        return builder.call(builder.module.globals[name], [products])

    return types.uint64(types.uintp), generate


@inlined
def checksum(seed: np.uint64, key: np.uint64, address: np.uint64, count: int) -> np.uint32:
    """Of `count` bytes, a multiple of 4, at `address`."""
    state = (seed ^ key) * PRIME
    blocks = count // (8 * BLOCK_WORDS)
    for _ in range(blocks):
        state = (state ^ (state >> np.uint64(32))) * PRIME + _block_sum(address)
        address += np.uint64(8 * BLOCK_WORDS)
    state = (state ^ (state >> np.uint64(32))) * PRIME
    words = count % (8 * BLOCK_WORDS) // 8
    for place in range(words):
        state += load_word(address + np.uint64(8 * place)) * MULTIPLIERS[place]
    if count % 8:
        state += np.uint64(load_half(address + np.uint64(8 * words))) * MULTIPLIERS[words]
    state = (state ^ (state >> np.uint64(32))) * PRIME
    return np.uint32(state >> np.uint64(32))
