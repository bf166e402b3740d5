"""A RAM tier whose memory is shared, and one that follows it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sedp.storage.ram.kernels import RESIDENT_REACH
from sedp.storage.ram.shared_ram import SharedRam
from sedp.storage.ram.tier import RamTier
from tests.storage.tables import Keys

SEED = (1 << 64) - 5


@contextmanager
def memory() -> Iterator[int]:
    """Descriptor of an empty file without a name."""
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        yield fd
    finally:
        os.close(fd)


def owning(shared: SharedRam, row_bytes: int, sets: int) -> RamTier:
    """A whole tier that is kept for others."""
    make = partial(shared.make, SEED)
    return RamTier("ram", row_bytes, sets, RESIDENT_REACH, make_region=make)


def following(shared: SharedRam, row_bytes: int, rows: int) -> RamTier:
    """One that answers from it."""
    tier, region = RamTier("ram", row_bytes), shared.find(SEED)
    assert region is not None
    tier.attach(region, rows, shared.readers)
    return tier


def answer(
    tier: RamTier, keys: Keys, row_bytes: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], bool]:
    """Rows, missing mask, and whether that is final; the arrays hold rubbish before."""
    rows, missing = np.full((len(keys), row_bytes), 77, np.uint8), np.zeros(len(keys), np.bool_)
    count, is_final = tier.answer(keys, rows, missing)
    assert count == np.count_nonzero(missing)
    return rows, missing, is_final
