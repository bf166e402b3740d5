"""Stages of the attacked daemon, copied beside its config: they give back what they get.

`Brittle` is the planted fault of the controls: it is how a stage must not be.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import ClassVar

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


class Brittle(Double):
    """Fails, blocks, hoards or dies, by the first value."""

    def __init__(self, params: None) -> None:
        super().__init__(params)
        self._hoard: list[bytearray] = []

    def process(self, batch: Batch) -> Mapping[str, Array]:
        match int(batch["x"][0]):
            case 500:
                raise ValueError("secret")
            case 501:
                time.sleep(0.3)
            case 502:
                self._hoard.append(bytearray(os.urandom(1 << 20)))
            case 503:
                os._exit(3)
        return super().process(batch)


class Same(Stage):
    """Each column as it came, under its name with a 2 behind it."""

    wanted: ClassVar[Mapping[str, ColumnSpec]]

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        return self.wanted

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        return {f"{name}2": spec for name, spec in self.wanted.items()}

    def process(self, batch: Batch) -> Mapping[str, Array]:
        return {f"{name}2": batch[name].copy() for name in self.wanted}


class SameNumbers(Same):
    """Numbers of several types."""

    wanted: ClassVar = {
        "flag": ColumnSpec("BOOL", Level.ITEM),
        "key": ColumnSpec("INT64", Level.ITEM),
        "pair": ColumnSpec("FP64", Level.ITEM, (2,)),
        "big": ColumnSpec("UINT64", Level.REQUEST),
    }


class SameStrings(Same):
    """Byte strings."""

    wanted: ClassVar = {
        "t": ColumnSpec("BYTES", Level.ITEM),
        "u": ColumnSpec("BYTES", Level.REQUEST),
    }


class SameHalves(Same):
    """A type without a JSON form."""

    wanted: ClassVar = {"h": ColumnSpec("FP16", Level.ITEM, (4,))}
