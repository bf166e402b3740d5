"""Memory files are made on every kernel, and hold no programs where it can see to that."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

import pytest

from sedp.memory_file import NOEXEC_SEAL, make_memory_file


class Kernel:
    """One that takes a certain set of flags; it remembers what it was asked for."""

    def __init__(self, known: int, needed: int = 0, fault: int = 0) -> None:
        self._known, self._needed, self._fault = known, needed, fault
        self.asked: list[int] = []

    def create(self, name: str, flags: int) -> int:
        self.asked.append(flags)
        if self._fault:
            raise OSError(self._fault, name)
        if flags & ~self._known:
            raise OSError(errno.EINVAL, name)
        if flags & self._needed != self._needed:
            raise OSError(errno.EACCES, name)
        return 77


PLAIN = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING


def test_host_that_wants_files_without_programs_gets_one() -> None:
    host = Kernel(PLAIN | NOEXEC_SEAL, needed=NOEXEC_SEAL)  # vm.memfd_noexec=2
    assert make_memory_file("x", host.create) == 77
    assert host.asked == [PLAIN | NOEXEC_SEAL]


def test_kernel_that_does_not_know_them_makes_a_plain_one() -> None:
    old = Kernel(PLAIN)
    assert make_memory_file("x", old.create) == 77
    assert old.asked == [PLAIN | NOEXEC_SEAL, PLAIN]


@pytest.mark.parametrize("fault", [errno.EACCES, errno.EMFILE, errno.ENOMEM])
def test_other_refusals_are_told_at_once(fault: int) -> None:
    full = Kernel(PLAIN, fault=fault)
    with pytest.raises(OSError, match="x") as told:
        make_memory_file("x", full.create)
    assert (told.value.errno, len(full.asked)) == (fault, 1)


def test_real_one_is_closed_in_children_and_can_be_sealed() -> None:
    fd = make_memory_file("test")
    try:
        assert not os.get_inheritable(fd)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        os.ftruncate(fd, 1)
        try:
            os.close(os.memfd_create("asks", NOEXEC_SEAL))
        except OSError:
            return  # a kernel that has only the other kind
        assert not os.fstat(fd).st_mode & (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    finally:
        os.close(fd)
