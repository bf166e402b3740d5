"""Files without a name, in memory, for processes to share.

Hosts may allow only such as never hold a program (`vm.memfd_noexec=2`), and kernels before 6.3 do
not know how to ask for one; so it is asked for first, and done without where it is not known.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

NOEXEC_SEAL = 0x8  # of Linux since 6.3; Python has no name for it yet

Create = Callable[[str, int], int]


def make_memory_file(name: str, create: Create = os.memfd_create) -> int:
    """Descriptor of an empty one, which may be sealed; children get it only when it is passed.

    Args:
        name: for people who look at the process.
        create: asks the kernel.

    Raises:
        OSError: the host allows none, or there is no memory or descriptor for it.
    """
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return create(name, flags | NOEXEC_SEAL)
    except OSError as err:
        if err.errno != errno.EINVAL:
            raise
        return create(name, flags)
