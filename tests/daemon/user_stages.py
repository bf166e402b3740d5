"""Stages as a user would write them; also copied beside a config file and found from there."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sedp.columns import Array, Batch, ColumnSpec, Level
from sedp.stage import Stage

FLOATS = ColumnSpec("FP32", Level.ITEM)


class Double(Stage):
    """y = 2x."""

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {"x": FLOATS}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {"y": FLOATS}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        return {"y": batch["x"] * np.float32(2)}


class Gate(Double):
    """Waits inside `process` until it is let through; `open_wide` lets everybody."""

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.is_closed = False
        self.was_closed_while_running = False
        self._running = 0
        self._opened = threading.Event()

    def examples(self, inputs: Mapping[str, ColumnSpec]) -> Sequence[Batch]:
        return ()  # nobody would open the gate for it

    def process(self, batch: Batch) -> Mapping[str, Array]:
        self._running += 1
        self._opened.wait()
        self._running -= 1
        return super().process(batch)

    def open_wide(self) -> None:
        self._opened.set()

    def close(self) -> None:
        self.is_closed = True
        self.was_closed_while_running = self._running > 0


class Fail(Double):
    """Raises, with words that no caller may see."""

    def examples(self, inputs: Mapping[str, ColumnSpec]) -> Sequence[Batch]:
        return ()

    def process(self, batch: Batch) -> Mapping[str, Array]:
        raise ValueError("secret: /etc/model.bin")


class Textual(Stage):
    """Gives strings back as they came."""

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {"t": ColumnSpec("BYTES", Level.ITEM), "u": ColumnSpec("BYTES", Level.REQUEST)}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {"t2": inputs["t"], "u2": inputs["u"]}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        return {"t2": batch["t"].copy(), "u2": batch["u"].copy()}


class Sloppy(Textual):
    """Answers with `str` where bytes are due, which no check of types finds."""

    def process(self, batch: Batch) -> Mapping[str, Array]:
        sloppy = np.array(["secret"] * batch.row_count, object)
        return {"t2": sloppy, "u2": batch["u"]}
