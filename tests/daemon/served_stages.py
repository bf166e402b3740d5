"""A stage for config files of tests: what it does follows from its params and files beside them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np

from sedp.columns import Array, Batch, ColumnSpec, Level
from sedp.errors import ConfigError
from sedp.stage import Resources, Stage

PATIENCE_S = 20.0  # a test that fails must not hang
FLOATS = ColumnSpec("FP32", Level.ITEM)


class Scale(Stage):
    """y = factor · x, the factor from the params, or from a file that is read when it is opened."""

    open_now: ClassVar[list[Scale]] = []

    class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        """`at` and `door` name files beside the config that `process` and `open` wait for."""

        factor: float = 2.0
        file: str = ""
        at: str = ""
        door: str = ""

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return {"x": FLOATS}

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {"y": FLOATS}

    def open(self, resources: Resources) -> None:
        self.folder = resources.base_path
        self.factor = np.float32(self.params.factor)
        if self.params.file:
            try:
                self.factor = np.float32(Path(self.folder / self.params.file).read_text())
            except (OSError, ValueError) as err:
                raise ConfigError(f"model {self.params.file} cannot be loaded: {err}") from err
        self._wait(self.params.door)
        self.open_now.append(self)

    def examples(self, inputs: Mapping[str, ColumnSpec]) -> Sequence[Batch]:
        return () if self.params.at else super().examples(inputs)

    def process(self, batch: Batch) -> Mapping[str, Array]:
        assert self in self.open_now, "process of a closed stage"
        self._wait(self.params.at)
        result = batch["x"] * self.factor
        if not np.isfinite(self.factor):
            raise ValueError(f"factor {self.factor} in {threading.current_thread().name}")
        return {"y": result}

    def _wait(self, name: str) -> None:
        """Say that it has begun, and wait to be let on."""
        if name:
            (self.folder / f"{name}.begun").touch()
            until = time.monotonic() + PATIENCE_S
            while not (self.folder / f"{name}.go").exists() and time.monotonic() < until:
                time.sleep(0.002)

    def close(self) -> None:
        self.open_now.remove(self)
