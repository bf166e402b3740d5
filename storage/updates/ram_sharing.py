"""Watches how far the owner of shared RAM is, for a process that reads it."""

from __future__ import annotations

from sedp.storage.ram.shared_ram import SharedRam
from sedp.storage.tables.versions import TableVersions

STALLED_LOOKS = 50  # in 1 s or more; an owner that shows nothing of what was written hangs, or died


class RamSharing:
    """Not safe for threads.

    Args:
        shared: this process's end.
        versions: whose rows are in it.
    """

    def __init__(self, shared: SharedRam, versions: TableVersions) -> None:
        self._shared = shared
        self._versions = versions
        self._shown = 0
        self._stalled = 0

    def follow(self, epoch: int) -> None:
        """Read the owner's rows once they are as new as this process's own view, and no more when
        he has long done nothing about newer ones.

        Args:
            epoch: of the newest update in this process's view.
        """
        shown = self._shared.epoch
        if shown >= epoch:
            for version in self._versions.all():
                version.attach_ram()
        self._stalled = self._stalled + 1 if shown < epoch and shown == self._shown else 0
        self._shown = shown
        if self._stalled >= STALLED_LOOKS:
            for version in self._versions.all():
                version.leave_ram()
