"""How the numeric loops are compiled: when their module is imported, kept on disk, without the GIL.

The types are written down rather than inferred at the first call, so that no request ever waits
for the compiler, and an array that does not fit is refused instead of compiled for anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(signature: str) -> Callable[[Function], Function]:
    """Compile a loop over arrays for exactly this numba signature.

    Arrays that are only read are `Array(uint64, 1, 'C', readonly=True)`: writable ones fit too.
    """
    compiled: Callable[[Function], Function] = numba.njit(signature, nogil=True, cache=True)
    return compiled


def inlined(function: Function) -> Function:
    """Compile a scalar helper of kernels, for whatever types they call it with."""
    compiled: Function = numba.njit(function, nogil=True, cache=True)
    return compiled
