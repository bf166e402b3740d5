"""A stage of the bench: when a score was made, to be kept by a cache beside the score itself."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from sedp.columns import Array, Batch, ColumnSpec, Level
from sedp.stage import Stage

NOW = "engine.now_ns"
UNIT_NS = 100_000
UNITS = 1 << 24  # before it begins anew, after 28 minutes; FP32 counts so far without rounding


class Stamp(Stage):
    """Writes the moment of its run, in units of a tenth of a millisecond, to every candidate."""

    class Params(msgspec.Struct, frozen=True):
        item: str
        output: str = "made"

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return dict.fromkeys([self.params.item, NOW])

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {self.params.output: ColumnSpec("FP32", Level.ITEM)}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        units = batch[NOW] // UNIT_NS % UNITS
        return {self.params.output: np.repeat(units.astype(np.float32), np.diff(batch.splits))}


def age_s(due_ns: int, made: Array) -> Array:
    """float64[n], seconds from a stamp until `due_ns`; negative where it came after it."""
    units = (due_ns // UNIT_NS - made.astype(np.int64)) % UNITS
    ages: Array = np.where(units < UNITS // 2, units, units - UNITS) * (UNIT_NS / 1e9)
    return ages
