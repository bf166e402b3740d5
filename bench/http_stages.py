"""Stages of bench `http`: one that does nothing, and one that never ends."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from sedp.columns import Array, Batch, ColumnSpec, Level
from sedp.stage import Stage

FLOATS = ColumnSpec("FP32", Level.ITEM)
HELD = 7.0


class PassOn(Stage):
    """Hands its column on as it is."""

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {"x": FLOATS}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {"y": FLOATS}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        return {"y": batch["x"]}


class Hold(PassOn):
    """Keeps a batch that holds `HELD` until the process ends, so that its pipeline stays full."""

    def process(self, batch: Batch) -> Mapping[str, Array]:
        if HELD in batch["x"]:
            threading.Event().wait()
        return super().process(batch)
