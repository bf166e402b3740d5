"""Powers of ten as the two halves of a 128-bit integer, for turning decimals into floats.

Source: D. Lemire, "Number parsing at a gigabyte per second", 2021, section 5: the leading 128 bits
of 5**q; those of negative powers are rounded up, so that a product is never too small.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EXPONENT_MAX = 60  # either way; scores and features do not need more
HALF = 1 << 64


def leading_bits(exponent: int) -> int:
    """The 128 leading bits of 5**exponent, the first of them 1."""
    if exponent >= 0:
        power: int = 5**exponent
        surplus = power.bit_length() - 128
        return power >> surplus if surplus > 0 else power << -surplus
    root: int = 5**-exponent
    return (1 << (root.bit_length() + 127)) // root + 1


def table() -> NDArray[np.uint64]:
    """uint64[2 * EXPONENT_MAX + 1, 2]: upper and lower half of the bits for each exponent."""
    exponents = range(-EXPONENT_MAX, EXPONENT_MAX + 1)
    return np.array([divmod(leading_bits(exponent), HALF) for exponent in exponents], np.uint64)
