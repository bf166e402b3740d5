"""Makes again what the warm tier lacks, from the truth, while it is being served."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from sedp.storage.catalogue import Entry
from sedp.storage.lmdb_tier import LmdbTier
from sedp.storage.placement import Mover
from sedp.storage.warm_version import WarmVersion

if TYPE_CHECKING:
    from sedp.storage.opening import Writer

TRIES_MAX = 3

_log = logging.getLogger(__name__)


class Rebuilder:
    """Rebuilds versions one by one, in the mover's thread."""

    def __init__(self, writer: Writer, mover: Mover, refresh: Callable[[], None]) -> None:
        self._writer = writer
        self._mover = mover
        self._refresh = refresh

    def start(self) -> None:
        """Queue every version that the warm tier has not."""
        for version in self._writer.versions.all():
            if version.warm is None:
                self._mover.run(partial(self._rebuild, version.entry))

    def _rebuild(self, entry: Entry) -> None:
        with self._writer.importing:
            if entry not in self._writer.versions.catalogue.entries:
                return
            loader, truth = self._writer.loader, self._writer.versions.version(entry).truth

            def is_closing() -> bool:
                return self._mover.is_closing

            for _ in range(TRIES_MAX):
                since = self._writer.warm.last_logged()
                rebuilt = loader.rebuild(entry, truth, is_closing)
                if rebuilt is None or self._attach(entry, rebuilt, since):
                    return
        _log.warning(
            "%s changes faster than LMDB can be filled with it; open the store again "
            "when there are fewer updates",
            entry.name,
        )

    def _attach(self, entry: Entry, rebuilt: WarmVersion, since: int) -> bool:
        """Serve the version from the warm tier, with what was updated while it was filled."""
        writer = self._writer
        version = writer.versions.version(entry)
        tier = LmdbTier(writer.warm, entry, rebuilt.shape)
        with writer.committer.publishing:
            changes = writer.warm.logged_since(since)
            if changes.has_gap:
                return False
            keys = changes.keys.get(entry.name, np.empty(0, np.uint64))
            with writer.warm.updating() as buckets:
                buckets.publish(entry.name, rebuilt)
                tier.merge(buckets, *version.truth.read_records(keys), None)
                buckets.log({})
            self._refresh()
            version.attach_warm(tier)
        return True
