"""The store as the supervisor has it: looked through before workers open it, written if it is to
be, and its rows kept in RAM for all of them.

The RAM is filled once the workers serve. Until then, a second or so, they read LMDB: a start takes
no longer for a large table.
"""

from __future__ import annotations

import msgspec

from sedp.config.settings import StoreSettings
from sedp.daemon.parameter_store import open_served
from sedp.storage.ram.shared_ram import SharedRam
from sedp.storage.store import ParameterStore


class StoreKeeper:
    """Not safe for threads; each step may take seconds.

    Args:
        settings: `None` when there is no store, and nothing to do.
        ram_fd: of memory that workers inherit.
        workers: how many share the budget of RAM.

    Its `store` may be closed: of one that is not written workers have their own.
    """

    def __init__(self, settings: StoreSettings | None, ram_fd: int, workers: int) -> None:
        self._settings = settings
        has_ram = settings is not None and settings.ram > 0
        self._ram = SharedRam.own(ram_fd, workers) if has_ram else None
        self.may_write = settings is not None and settings.mode == "write"
        self.store: ParameterStore | None = None

    def prepare(self) -> None:
        """Make sure that the store is whole and has all its copies, before many open it.

        Raises:
            StoreError, ConfigError: see `open_served`.
        """
        if self._settings is None:
            return
        if self.may_write:
            self.store = self._open(self._settings, self._ram, checks=True)
        else:
            self.store = self._open(self._settings, None, checks=True)
            self.store.close()

    def fill_ram(self) -> None:
        """Begin to load tables that fit into RAM, and keep them as new as the store.

        Raises:
            StoreError, ConfigError: see `open_served`.
        """
        if self._settings is not None and self._ram is not None and not self.may_write:
            self.store = self._open(self._settings, self._ram, checks=False)

    def close(self) -> None:
        """Workers find no rows in RAM afterwards."""
        if self.store is not None:
            self.store.close()

    def _open(
        self, settings: StoreSettings, ram: SharedRam | None, *, checks: bool
    ) -> ParameterStore:
        """For a process that answers no look-ups, so that there are none to record."""
        ram_bytes = 0 if ram is None else settings.ram
        own = msgspec.structs.replace(settings, ram=ram_bytes, access_log=False)
        store = open_served(own, checks, ram).store
        assert store is not None
        return store
