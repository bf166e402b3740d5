"""How the numeric loops are compiled: when their module is imported, kept on disk, without the GIL.

The types are written down rather than inferred at the first call, so that no request ever waits
for the compiler, and an array that does not fit is refused instead of compiled for anew.

Numba notices a change of the file that a kernel is in, not of those that its helpers are in. So a
folder's compiled code is thrown away when any of its files has changed, or of the store's, whose
helpers kernels of all floors are made of.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

_OWN = Path(__file__).resolve()
_STORE = (_OWN.parent / "storage").resolve()
_seen: set[Path] = set()  # folders that hold no stale code


def kernel(signature: str) -> Callable[[Function], Function]:
    """Compile a loop over arrays for exactly this numba signature.

    Arrays that are only read are `Array(uint64, 1, 'C', readonly=True)`: writable ones fit too.
    """

    def compile_function(function: Function) -> Function:
        _forget_stale(Path(function.__code__.co_filename).parent)
        compiled: Function = numba.njit(signature, nogil=True, cache=True)(function)
        return compiled

    return compile_function


def inlined(function: Function) -> Function:
    """Compile a scalar helper of kernels, for whatever types they call it with."""
    compiled: Function = numba.njit(function, nogil=True, cache=True)
    return compiled


def _forget_stale(folder: Path) -> None:
    """Remove a folder's compiled code if it was made from other files; once a process."""
    if folder in _seen:
        return
    _seen.add(folder)
    files = sorted({_OWN, *_STORE.rglob("*.py"), *folder.resolve().glob("*.py")})
    state = "\n".join(
        f"{f.parent.name}/{f.name} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files
    )
    kept, stamp = folder / "__pycache__", folder / "__pycache__" / "kernels.stamp"
    with contextlib.suppress(OSError):  # where nothing can be written, nothing was kept here
        if not stamp.exists() or stamp.read_text() != state:
            for index in kept.glob("*.nbi"):
                index.unlink(missing_ok=True)
            kept.mkdir(exist_ok=True)
            stamp.write_text(state)
