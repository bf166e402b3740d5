"""Stages of the operated daemon, copied beside its config.

`Leaky` and `Keeper` are the planted faults of the controls.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sedp.columns import Array, Batch, ColumnSpec, Level
from sedp.stage import Stage

FLOATS = ColumnSpec("FP32", Level.ITEM)
WIDE = 4096
LEAK_BYTES = 100
KEPT_BYTES = 2 << 20
GATE_POLL_S = 0.001
kept: list[bytes] = []


class Double(Stage):
    """y = 2x."""

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {"x": FLOATS}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {"y": FLOATS}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        return {"y": batch["x"] * np.float32(2)}


class Wide(Double):
    """Answers 16 KiB for each value."""

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {"y": ColumnSpec("FP32", Level.ITEM, (WIDE,))}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        return {"y": np.repeat(batch["x"][:, None], WIDE, axis=1)}


class Gate(Double):
    """Waits inside `process` while a file named `shut` lies beside the config."""

    def open(self, resources: Any) -> None:
        self._shut: Path = resources.base_path / "shut"

    def process(self, batch: Batch) -> Mapping[str, Array]:
        while self._shut.exists():
            time.sleep(GATE_POLL_S)
        return super().process(batch)


class Census(Double):
    """How many tasks the event loop has; must run in it."""

    def examples(self, inputs: Mapping[str, ColumnSpec]) -> Sequence[Batch]:
        return ()  # warm-up has no loop to count in

    def process(self, batch: Batch) -> Mapping[str, Array]:
        return {"y": np.full(batch.row_count, len(asyncio.all_tasks()), np.float32)}


class Leaky(Double):
    """Keeps `LEAK_BYTES` of every request for ever."""

    def process(self, batch: Batch) -> Mapping[str, Array]:
        kept.extend(bytes(LEAK_BYTES) for _ in range(batch.event_count))
        return super().process(batch)


class Keeper(Double):
    """Keeps `KEPT_BYTES` each time it is opened."""

    def open(self, resources: Any) -> None:
        kept.append(b"\1" * KEPT_BYTES)
