"""A table version: its description, and the look-up that walks the tiers for it.

    RAM → keys known to have no row → LMDB → RocksDB → the default row

A table whose rows are all in RAM is *resident*: what RAM has not gets the default row at once. Else
only RocksDB, the truth, may say that a key has no row: in LMDB a flipped bit of a key would hide
one. Such keys are then remembered in a RAM tier of their own, where they cost no row's place.
Rows found below RAM enter RAM. A version never changes, so nothing in RAM is ever stale.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.errors import StoreError
from sedp.storage.budget import NOTHING, Share
from sedp.storage.ram_tier import CACHE_REACH, RESIDENT_REACH, RamTier
from sedp.storage.tier import ColdTier, Keys, Mask, Rows, Tier, TierStatistics

DIM_MAX = 4096
DTYPES = ("float32", "int32", "int64")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TableSpec:
    """What a table holds.

    Args:
        name: 1 to 64 of `a-z 0-9 _ -`, starting with a letter or digit.
        dim: numbers in a row, 1..4096.
        dtype: "float32", "int32" or "int64".
        default: the row of a key that has none; `()` is zeros.
        version: 1, 2, …; given by the store on import, 0 before.
        columns: names of the numbers of a row; `()` when they have none.

    Raises:
        StoreError: one of these is out of bounds; the message says the mend.
    """

    name: str
    dim: int
    dtype: str
    default: tuple[float | int, ...] = ()
    version: int = 0
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", self.name) is None:
            raise StoreError(
                f"table name {self.name!r} must be 1 to 64 of a-z, 0-9, _ and -, "
                "and start with a letter or digit"
            )
        if not 1 <= self.dim <= DIM_MAX:
            raise StoreError(f"table {self.name!r}: dim {self.dim} must be 1..{DIM_MAX}")
        if self.dtype not in DTYPES:
            raise StoreError(
                f"table {self.name!r}: dtype {self.dtype!r} is not one of {', '.join(DTYPES)}"
            )
        for what, values in (("default", self.default), ("columns", self.columns)):
            if len(values) not in (0, self.dim):
                raise StoreError(
                    f"table {self.name!r}: {what} has {len(values)} values; give dim={self.dim} "
                    "of them, or none"
                )
        if len(set(self.columns)) < len(self.columns):
            raise StoreError(f"table {self.name!r}: columns repeat a name; name each one once")
        for value in self.default:
            if not self._can_hold(value):
                raise StoreError(
                    f"table {self.name!r}: default {value} is no {self.dtype}; use a number of "
                    "that type, or make the table of another"
                )

    def _can_hold(self, value: float | int) -> bool:
        if self.dtype == "float32":
            return not math.isfinite(value) or abs(value) <= float(np.finfo(np.float32).max)
        bounds = np.iinfo(self.dtype)
        return bounds.min <= value <= bounds.max and value == int(value)

    @property
    def row_dtype(self) -> np.dtype[Any]:
        """The dtype of one number of a row."""
        return np.dtype(self.dtype)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row without its trailer; a multiple of 4."""
        return self.dim * self.row_dtype.itemsize

    @property
    def default_row(self) -> NDArray[Any]:
        """dtype[dim]."""
        return np.array(self.default or (0,) * self.dim, dtype=self.row_dtype)


@dataclass(frozen=True, slots=True)
class TableStatistics:
    """Counts of one table version since the store was opened.

    Args:
        rows: rows the version has.
        lookups: keys looked up.
        defaults: keys answered with the default row.
        tiers: in the order they are asked.
        resident: all rows are in RAM, and no tier below it is asked.
    """

    spec: TableSpec
    rows: int
    lookups: int
    defaults: int
    tiers: tuple[TierStatistics, ...]
    resident: bool


class Table:
    """One version of a table, ready for look-ups from any thread; made by `ParameterStore.table`.

    Args:
        spec: its description.
        rows: how many rows it has.
        cold: the tiers below RAM in the order they are asked, the truth last.
    """

    def __init__(self, spec: TableSpec, rows: int, cold: Sequence[ColdTier]) -> None:
        self.spec = spec
        self._rows = rows
        self._cold = tuple(cold)
        self.share = NOTHING
        self._ram = RamTier("ram", spec.row_bytes)
        self._absent = RamTier("absent", 0)
        self._default = spec.default_row
        self._default_bytes = self._default.view(np.uint8)
        self._lock = threading.Lock()
        self._defaults = 0
        self._retired = ""

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
        self._check_arrays(keys, out, missing)
        if self._retired:
            raise StoreError(self._retired)
        rows = out.view(np.uint8)
        count, is_final = self._ram.answer(keys, rows, missing)
        if count and is_final:
            np.copyto(out, self._default, where=missing[:, np.newaxis])
        elif count:
            count = self._look_below(keys, rows, missing)
        if count:
            with self._lock:
                self._defaults += count
        return count

    def _look_below(self, keys: Keys, rows: Rows, missing: Mask) -> int:
        """Answer the keys missing in RAM; returns how many have no row, which `missing` tells."""
        positions = np.flatnonzero(missing)
        unknown, places = np.unique(keys[positions], return_inverse=True)
        found = np.empty((len(unknown), self.spec.row_bytes), dtype=np.uint8)
        absent = self._fetch(unknown, found)
        rows[positions] = found[places]
        missing[positions] = absent[places]
        return int(np.count_nonzero(missing))

    def _check_arrays(self, keys: Keys, out: NDArray[Any], missing: Mask) -> None:
        for name, array, dtype, shape in (
            ("keys", keys, np.dtype(np.uint64), (len(keys),)),
            ("out", out, self.spec.row_dtype, (len(keys), self.spec.dim)),
            ("missing", missing, np.dtype(np.bool_), (len(keys),)),
        ):
            flags = array.flags
            if array.dtype != dtype or array.shape != shape or not flags.c_contiguous:
                raise ValueError(
                    f"table {self.spec.name!r}: {name} is {array.dtype}{list(array.shape)}; it "
                    f"must be {dtype}{list(shape)}, C-contiguous"
                )
            if not flags.aligned or not (flags.writeable or array is keys):
                raise ValueError(
                    f"table {self.spec.name!r}: {name} is unaligned or read-only; pass a copy"
                )

    def _fetch(self, keys: Keys, rows: Rows) -> Mask:
        """Rows (or the default) of distinct keys that are not in RAM; returns which are absent."""
        unsure = np.empty(len(keys), dtype=np.bool_)
        self._absent.get_many(keys, rows[:, :0], unsure)
        rows[~unsure] = self._default_bytes
        absent = ~unsure
        pending = np.flatnonzero(unsure)
        for tier in self._cold:
            if pending.size == 0:
                break
            pending = self._promote(tier, keys, rows, pending)
        absent[pending] = True
        rows[pending] = self._default_bytes
        self._absent.put_many(keys[pending], np.empty((pending.size, 0), dtype=np.uint8))
        return absent

    def _promote(
        self, tier: Tier, keys: Keys, rows: Rows, pending: NDArray[np.intp]
    ) -> NDArray[np.intp]:
        """Take what `tier` has of the pending keys, also into RAM; returns those still pending."""
        wanted = keys[pending]
        answer = np.empty((len(wanted), self.spec.row_bytes), dtype=np.uint8)
        missing = np.empty(len(wanted), dtype=np.bool_)
        tier.get_many(wanted, answer, missing)
        held = ~missing
        rows[pending[held]] = answer[held]
        self._ram.put_many(wanted[held], answer[held])
        return pending[missing]

    def resize(self, share: Share) -> None:
        """Set how much RAM keeps; what changes in size starts empty.

        With a whole share all rows are loaded, and the table is resident when this returns, unless
        rows are damaged. Look-ups go on meanwhile.
        """
        self._ram.resize(share.row_sets, RESIDENT_REACH if share.is_whole else CACHE_REACH)
        self._absent.resize(share.absent_sets)
        self.share = share
        if share.is_whole and not self._ram.is_resident:
            self._load()

    def _load(self) -> None:
        """Take all rows into RAM; from the next tier too where one lacks some."""
        for tier in self._cold:
            for keys, rows in tier.scan():
                self._ram.put_many(keys, rows)
            if self._ram.settle(self._rows):
                return
        _log.warning(
            "table %r version %d: RAM got %d of its %d rows, so look-ups go on to disk; "
            "`sedp store verify` tells what is damaged",
            self.spec.name,
            self.spec.version,
            self._ram.statistics().rows,
            self._rows,
        )

    def retire(self, reason: str) -> None:
        """Refuse look-ups from now on, with this message, and give back the memory."""
        self._retired = reason
        self.resize(NOTHING)

    def statistics(self) -> TableStatistics:
        """A frozen snapshot."""
        tiers = tuple(tier.statistics() for tier in (self._ram, self._absent, *self._cold))
        return TableStatistics(
            self.spec, self._rows, tiers[0].lookups, self._defaults, tiers, self._ram.is_resident
        )
