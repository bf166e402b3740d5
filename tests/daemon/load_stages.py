"""Stages for tests of what is done under load."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array, Batch, ColumnSpec, Level
from sedp.stage import Resources, Stage

FLOATS = ColumnSpec("FP32", Level.ITEM)
PATIENCE_S = 20.0  # a test that fails must not hang
REST_S = 0.004


class Bonus(Stage):
    """z = y + 1, once the file `bonus.go` is beside the config; fails while `bonus.fail` is."""

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {"y": FLOATS}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {"z": FLOATS}

    def open(self, resources: Resources) -> None:
        self._go: Path = resources.base_path / "bonus.go"
        self._fail: Path = resources.base_path / "bonus.fail"

    def examples(self, inputs: Mapping[str, ColumnSpec]) -> Sequence[Batch]:
        return ()

    def process(self, batch: Batch) -> Mapping[str, Array]:
        until = time.monotonic() + PATIENCE_S
        while not self._go.exists() and time.monotonic() < until:
            time.sleep(0.002)
        if self._fail.exists():
            raise ValueError("bonus.fail is there")
        return {"z": batch["y"] + np.float32(1)}


class Told(msgspec.Struct, frozen=True):
    """Nothing to set."""


class Keeper(Bonus):
    """Keeps no answer, but hears of users who have acted."""

    Params: ClassVar[type[msgspec.Struct]] = Told
    heard: ClassVar[list[int]] = []

    def process(self, batch: Batch) -> Mapping[str, Array]:
        return {"z": batch["y"] + np.float32(1)}

    def feedback(self, users: NDArray[Any], now_ns: int) -> None:
        assert users.dtype == np.uint64
        assert now_ns > 0
        self.heard.extend(int(user) for user in users)


class Resting(Keeper):
    """z = y + 1 after a while that no core is used in; notes the threads it ran in."""

    ran_in: ClassVar[list[str]] = []
    rest_s: ClassVar[float] = REST_S

    def process(self, batch: Batch) -> Mapping[str, Array]:
        self.ran_in.append(threading.current_thread().name)
        time.sleep(self.rest_s)
        return super().process(batch)
