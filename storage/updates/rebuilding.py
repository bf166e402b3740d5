"""Makes again what the warm tier lacks, from the truth, while it is being served."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sedp.errors import StoreError
from sedp.storage.catalogue import Entry
from sedp.storage.lmdb.tier import LmdbTier
from sedp.storage.lmdb.update_log import ALL_KEYS
from sedp.storage.lmdb.warm_version import WarmVersion
from sedp.storage.placement.mover import Mover

if TYPE_CHECKING:
    from sedp.storage.updates.writer import Writer

TRIES_MAX = 3

_log = logging.getLogger(__name__)


class Rebuilder:
    """Rebuilds versions one by one, in the mover's thread."""

    def __init__(self, writer: Writer, mover: Mover, refresh: Callable[[], None]) -> None:
        self._writer = writer
        self._mover = mover
        self._refresh = refresh
        self._lock = threading.Lock()
        self._begun = set[Entry]()  # under way, or in vain
        self._said = ""

    def start(self) -> None:
        """Queue every version that the warm tier has not; those that failed for want of disk too.

        Raises:
            StoreError: too much is queued.
        """
        for version in self._writer.versions.all():
            if version.warm is None and self._begin(version.entry):
                try:
                    self._mover.run(partial(self._try, version.entry))
                except StoreError:
                    self._end(version.entry)
                    raise

    def _begin(self, entry: Entry) -> bool:
        with self._lock:
            is_new = entry not in self._begun
            self._begun.add(entry)
            return is_new

    def _end(self, entry: Entry) -> None:
        with self._lock:
            self._begun.discard(entry)

    def _try(self, entry: Entry) -> None:
        try:
            is_over = self._rebuild(entry)
        except StoreError as err:
            is_over = True
            if str(err) != self._said:
                _log.warning("%s is not made anew in LMDB yet: %s", entry.name, err)
            self._said = str(err)
        if is_over:
            self._end(entry)

    def _rebuild(self, entry: Entry) -> bool:
        """Whether it may be begun again, should the warm tier lack it again."""
        with self._writer.importing:
            if entry not in self._writer.versions.catalogue.entries:
                return True
            loader, truth = self._writer.loader, self._writer.versions.version(entry).truth

            def is_closing() -> bool:
                return self._mover.is_closing

            for _ in range(TRIES_MAX):
                since = self._writer.warm.last_logged()
                rebuilt = loader.rebuild(entry, truth, is_closing)
                if rebuilt is None:
                    return False
                if self._attach(entry, rebuilt, since):
                    return True
        _log.warning(
            "%s changes faster than LMDB can be filled with it; open the store again "
            "when there are fewer updates",
            entry.name,
        )
        return False

    def _attach(self, entry: Entry, rebuilt: WarmVersion, since: int) -> bool:
        """Serve the version from the warm tier, with what was updated while it was filled."""
        writer = self._writer
        version = writer.versions.version(entry)
        tier = LmdbTier(writer.warm, entry, rebuilt.shape)
        with writer.committer.publishing:
            changes = writer.warm.logged_since(since)
            keys = changes.keys.get(entry.name)
            if changes.has_gap or keys is ALL_KEYS:
                return False
            with writer.warm.updating() as buckets:
                buckets.publish(entry.name, rebuilt)
                if keys is not None:
                    tier.merge(buckets, *version.truth.read_records(keys), None)
                buckets.log({})
            self._refresh()
            version.attach_warm(tier)
        return True
