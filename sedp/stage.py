"""The stage port: what an author writes, and all that the engine knows of it.

A stage is a pure transformation of columns. It never sees sockets, clocks or other stages; what
it needs from outside (the parameter store, a thread budget) it is handed in `Resources`.

Life: `__init__(params)` → `requires` / `provides` (types are checked, nothing is opened) →
`open(resources)` → `examples(inputs)`, each processed once → `process(batch)` many times, in any
thread, several at once when the plan's concurrency says so → `close()`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array, Batch, ColumnSpec, zero_batch


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of a stage's own YAML section; a stage without settings uses it as it is."""


class TableSpec(Protocol):
    """What a stage may ask about a table: `dim` elements of `dtype` a row."""

    @property
    def dim(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    @property
    def version(self) -> int: ...


class Table(Protocol):
    """One table of parameters or features; each look-up is answered by one version of it."""

    @property
    def spec(self) -> TableSpec: ...

    def lookup(self, keys: NDArray[np.uint64], out: Array, missing: NDArray[np.bool_]) -> int:
        """Fill `out` (dtype[n, dim], C order) for `keys` (uint64[n]).

        Unknown keys get the table's default row and a mark in `missing` (bool[n]). Thread-safe.

        Returns:
            How many keys are unknown.
        """

    def lookup_bags(
        self,
        keys: NDArray[np.uint64],
        offsets: NDArray[np.int64],
        out: Array,
        mode: Literal["sum", "mean"],
    ) -> int:
        """Fill `out` (float32[b, dim], C order) with the sum or mean of each bag's rows.

        Bag `i` is `keys[offsets[i]:offsets[i + 1]]` (offsets int64[b + 1]); an empty one gives
        zeros, unknown keys count with the table's default row. Thread-safe.

        Returns:
            How many keys are unknown.
        """


class Store(Protocol):
    """Where stages find tables; `sedp.storage` is the one that ships."""

    @property
    def publications(self) -> int:
        """Another number once any table has another current version; cheap, from any thread."""

    def table(self, name: str, version: int | None = None) -> Table:
        """The current version of a table, or the one asked for.

        Raises:
            StoreError: there is no such table or version.
        """


@dataclass(frozen=True, slots=True)
class Resources:
    """What the composition root lends to every stage.

    Args:
        base_path: folder of the config file; relative paths in params start here.
        threads: cores one run of a stage may use, from cpuset and CFS quota; ≥ 1.
        store: the parameter store, or `None` when the config has no `store` section.
    """

    base_path: Path
    threads: int = 1
    store: Store | None = None


class Stage(ABC):
    """One kind of work on a batch. Subclass it, name it in YAML, and it serves."""

    Params: ClassVar[type[msgspec.Struct]] = Params

    def __init__(self, params: Any) -> None:
        """Keep the decoded `Params`; open nothing.

        Raises:
            ValueError: a setting that its type alone cannot refuse; the message says the mend.
        """
        self.params = params

    @property
    @abstractmethod
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        """Columns read, by name, with the type demanded; `None` accepts any type."""

    @abstractmethod
    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        """Columns written, given the actual types of those in `requires`.

        Raises:
            ValueError: the inputs do not fit together; the message says the mend.
        """

    @property
    def narrows(self) -> str | None:
        """Name of a provided BOOL item column: later stages see only rows where it is true.

        That holds until a stage that `widens`, or the answer, where zeros stand for the others.
        Stages in between may be given batches without a row.
        """
        return None

    @property
    def widens(self) -> bool:
        """Whether this stage and those after it see again what the last narrowing left out."""
        return False

    @property
    def degrades(self) -> str | None:
        """Name of a provided BOOL request column: an answer is marked degraded where it is true."""
        return None

    def open(self, resources: Resources) -> None:  # noqa: B027 - optional hook
        """Load models and tables. Called once, before the first batch, off the serving path.

        Raises:
            SedpError: something named in params is not there or does not fit.
        """

    def examples(self, inputs: Mapping[str, ColumnSpec]) -> Sequence[Batch]:
        """Small batches to be processed once before any request is served, after `open`.

        They bring in what a first run costs: compiled code, memory, pages of files. A stage that
        fails on one is not served. Override it where zeros make no sense; `()` runs nothing.

        Args:
            inputs: the actual types of the columns in `requires`.
        """
        return zero_batch(inputs, (1,)), zero_batch(inputs, (1, 2, 3))

    @abstractmethod
    def process(self, batch: Batch) -> Mapping[str, Array]:
        """Compute exactly the columns of `provides`.

        Request-level results have `batch.event_count` rows, item-level ones `batch.row_count`, in
        the batch's order. Must be a pure function of the batch: the engine may run it again on
        part of the batch to find which event makes it fail. The arrays belong to the engine
        afterwards; never write into the batch's own.
        """

    def feedback(self, users: NDArray[Any], now_ns: int) -> None:  # noqa: B027 - optional hook
        """These users have just acted: what is remembered of them is out of date.

        Called from any thread, at any time after `open`.

        Args:
            users: int64[n] or uint64[n], as the request's own column has them.
            now_ns: on the clock of `engine.now_ns`.
        """

    def statistics(self) -> object:
        """What the stage counts of its own, as a dataclass of numbers; `None` for nothing."""
        return None

    def close(self) -> None:  # noqa: B027 - optional hook
        """Release what `open` took."""
