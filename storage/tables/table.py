"""A table as its readers hold it: it follows the current version, or stays with one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.storage.rocksdb.opening import DroppedError
from sedp.storage.rows.bags import Pooling
from sedp.storage.table_spec import TableSpec
from sedp.storage.tables.statistics import TableStatistics
from sedp.storage.tables.version import RetiredError, TableVersion
from sedp.storage.tier import Keys, Mask


class Table:
    """Look-ups from any thread; made by `ParameterStore.table`.

    Every look-up is answered by one version as a whole. A version published, or gone back to,
    answers from the next look-up on.
    """

    def __init__(self, version: TableVersion) -> None:
        self._version = version

    @property
    def spec(self) -> TableSpec:
        """Of the version that answers now."""
        return self._version.spec

    def follow(self, version: TableVersion) -> None:
        """Answer from this version from now on."""
        self._version = version

    def lookup(self, keys: Keys, out: NDArray[Any], missing: Mask) -> int:
        """Write the row of every key to `out`; keys without one get the default row.

        Args:
            keys: uint64[n], C-contiguous; repeats allowed.
            out: dtype[n, dim], C-contiguous.
            missing: bool[n], written in full: True where the default row was written.

        Returns:
            How many are missing, 0..n.

        Raises:
            ValueError: an array has another dtype, shape or layout.
            StoreError: this version was dropped, or the store is closed.
            CorruptionError: the truth itself is damaged at one of these keys.
        """
        while True:
            version = self._version
            try:
                return version.lookup(keys, out, missing)
            except (RetiredError, DroppedError):  # in the midst of the look-up, perhaps
                if version is self._version:
                    raise

    def lookup_bags(
        self, keys: Keys, offsets: NDArray[np.int64], out: NDArray[np.float32], mode: Pooling
    ) -> int:
        """Write the sum or mean of the rows of each bag of keys; of a float32 table.

        Args:
            keys: uint64[m]; one without a row counts with the default row.
            offsets: int64[b + 1], ascending, 0..m; bag `i` is `keys[offsets[i]:offsets[i + 1]]`.
            out: float32[b, dim]; an empty bag gives zeros.
            mode: "sum" or "mean".

        Returns:
            How many keys are missing, 0..m.

        Raises:
            ValueError, StoreError, CorruptionError: as `lookup`.
        """
        while True:
            version = self._version
            try:
                return version.lookup_bags(keys, offsets, out, mode)
            except (RetiredError, DroppedError):
                if version is self._version:
                    raise

    def statistics(self) -> TableStatistics:
        """A frozen snapshot of the version that answers now."""
        return self._version.statistics()
