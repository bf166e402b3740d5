"""How a reader follows the writer, which is another process.

What was committed to LMDB is seen with its next snapshot, and its log tells which rows to take up
into RAM. While LMDB lacks something, or is not there, RocksDB answers, and it is RocksDB that tells
which rows changed.
"""

from __future__ import annotations

import logging

from sedp.storage.catalogue import Catalogue
from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.lmdb.tier import LmdbTier
from sedp.storage.rocksdb.database import RocksDatabase
from sedp.storage.tables.versions import TableVersions
from sedp.storage.updates.lag import CompleteMark
from sedp.storage.updates.recovery import changes_since, read_epoch

FOLLOW_S = 0.02  # between two looks at what the writer has committed, while it commits
QUIET_S = 0.05  # … and once it has not for a while: a thread that wakes has its price
QUIET_LOOKS = 50  # looks that saw nothing new

_log = logging.getLogger(__name__)


class Follower:
    """Brings the versions of a reader up to date; not safe for threads.

    Args:
        warm: the warm tier, or None if there is none.
        mark: says whether it may be trusted.
    """

    def __init__(
        self,
        truth: RocksDatabase,
        warm: LmdbDatabase | None,
        mark: CompleteMark,
        versions: TableVersions,
    ) -> None:
        self._truth = truth
        self._warm = warm
        self._mark = mark
        self._versions = versions
        truth.catch_up()  # the log of the warm tier, opened later, may have told of it already
        self._epoch = read_epoch(truth)  # of the truth as it is shown
        self._followed = self._epoch  # RAM has what the truth told up to here
        self.trusts_warm = True
        self._lacks_catalogue = False  # was told of another, and could not read it
        self._quiet_looks = 0
        self._epoch_looked_at = -1
        if warm is not None:
            self._trust_warm(mark.is_there)
            self._know_truth(warm.floor)

    @property
    def epoch(self) -> int:
        """Up to which updates are known, at least."""
        return max(self._epoch, 0 if self._warm is None else self._warm.epoch())

    @property
    def epoch_seen(self) -> int:
        """Of the newest update that a look-up below RAM can meet."""
        return max(self._epoch, 0 if self._warm is None else self._warm.epoch_seen)

    @property
    def epoch_applied(self) -> int:
        """Up to which updates all are in RAM."""
        return max(self._followed, 0 if self._warm is None else self._warm.epoch_seen)

    def pause_s(self) -> float:
        """Seconds until the next refresh; asked for once between two."""
        epoch = self.epoch_seen
        self._quiet_looks = self._quiet_looks + 1 if epoch == self._epoch_looked_at else 0
        self._epoch_looked_at = epoch
        return FOLLOW_S if self._quiet_looks < QUIET_LOOKS else QUIET_S

    def refresh(self) -> None:
        """See what was committed.

        Raises:
            SedpError: it cannot be read; what is shown is of one moment, or older.
        """
        if self._warm is None:
            self._follow_truth()
            return
        if self._warm.is_gone:
            self._start_anew(self._warm)
        is_complete = self._mark.is_there  # looked at before what it speaks of
        if not is_complete:
            self._trust_warm(False)
        changes = self._warm.refresh(self._know_truth)
        self._lacks_catalogue |= changes.catalogue
        try:
            if self._lacks_catalogue or not self.trusts_warm:
                self._adopt_catalogue()  # RocksDB, if it answers, must be as new as these changes
        finally:
            self._versions.apply(changes)
        if not is_complete:
            self._follow_truth()
        elif not self.trusts_warm:
            self._trust_warm(True)

    def _trust_warm(self, trusts: bool) -> None:
        """Ask the warm tier, or not."""
        if not trusts:
            self._truth.catch_up()
            self._epoch = read_epoch(self._truth)
        if trusts != self.trusts_warm:
            if trusts:
                _log.info("LMDB has all updates again")
            else:
                _log.warning("LMDB lacks updates; RocksDB answers instead, which takes longer")
            self.trusts_warm = trusts
            for version in self._versions.all():
                version.bypass_warm(not trusts)

    def _start_anew(self, warm: LmdbDatabase) -> None:
        """The file was deleted or cut short: serve without it, then from another.

        Raises:
            StoreError: there is no other yet.
        """
        for version in self._versions.all():
            version.detach_warm()
        self._follow_truth()
        warm.start_anew()
        self._lacks_catalogue = True
        self._adopt_catalogue()

    def _know_truth(self, floor: int) -> None:
        """Rows changed up to this epoch are found in the truth from now on."""
        if floor > self._epoch:
            self._truth.catch_up()
            self._epoch = read_epoch(self._truth)

    def _adopt_catalogue(self) -> None:
        self._truth.catch_up()
        self._epoch = read_epoch(self._truth)
        self._versions.adopt(Catalogue.decode(self._truth.read_catalogue()))
        self._truth.forget_dropped()
        if self._warm is not None:
            self._attach_warm(self._warm)
        self._versions.divide_ram()
        self._lacks_catalogue = False

    def _attach_warm(self, warm: LmdbDatabase) -> None:
        """The writer may have made a version's part of the warm tier anew, or taken it out."""
        held = warm.versions()
        for version in self._versions.all():
            found = held.get(version.entry.name)
            if found is None:
                version.detach_warm()
            elif version.warm is None or version.warm.shape != found.shape:
                version.attach_warm(LmdbTier(warm, version.entry, found.shape))

    def _follow_truth(self) -> None:
        """Have the truth tell which rows changed."""
        self._adopt_catalogue()
        known = 0 if self._warm is None else self._warm.epoch()
        changes = changes_since(self._truth, max(self._followed, known))
        self._followed = self._epoch
        self._versions.apply(changes)
