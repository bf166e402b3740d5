"""How fast a stage gets through its rows: what a newcomer's wait is predicted from.

While all slots of a stage are taken, the time between two departures says what its rows really
cost, with concurrency, shared cores and whatever else there is; nothing of that need be known.
While slots are free a run says less: that its rows cost no more than if it were the only one at a
time, and no less than if all slots went as fast. What was known before is kept between these two,
so that the first burst after a calm is not taken for cheaper than the last one was.

Runs of different sizes tell, besides, which part of a run's time does not grow with its rows: by
that a row costs less in the larger batches that a backlog makes. As long as sizes are about the
same nobody knows, and all of the time is taken to grow.
"""

from __future__ import annotations

from sedp.engine.events import NEVER_NS

MEMORY = 32  # departures that count: gaps scatter by a half, the pace then by a tenth
ALIKE = 0.1  # sizes that differ by less, as a part of their mean, tell little


class Pace:
    """Averages over the last departures of one stage.

    Attributes:
        row_ns: from departure to departure, a row, while all slots are taken; 0 before the first.
        batch_ns: of a run, from its start to its end.
        batch_rows: of a run.
        fixed: the part of `batch_ns` that does not grow with rows, 0 to 1.
    """

    __slots__ = (
        "_departed_ns", "_gap_ns", "_saturated_ns", "_spread", "_together",
        "batch_ns", "batch_rows", "fixed", "row_ns",
    )  # fmt: skip

    def __init__(self) -> None:
        self.row_ns = 0.0
        self.batch_ns = 0.0
        self.batch_rows = 0.0
        self.fixed = 0.0
        self._gap_ns = 0.0
        self._spread = 0.0  # of rows, squared
        self._together = 0.0  # how rows and times scatter together
        self._departed_ns = 0
        self._saturated_ns = NEVER_NS  # since when all slots are taken

    def saturated(self, now_ns: int) -> None:
        """A run took the last free slot."""
        if self._saturated_ns == NEVER_NS:
            self._saturated_ns = now_ns

    def departed(self, now_ns: int, started_ns: int, rows: int, slots: int) -> None:
        """A run ended.

        Args:
            slots: that there are; where some were free, a run's time is shared among all of them
                at best.
        """
        service_ns = now_ns - started_ns
        if self._saturated_ns < NEVER_NS:
            gap_ns = float(now_ns - max(self._departed_ns, self._saturated_ns))
        else:
            gap_ns = min(max(self.row_ns * rows, service_ns / slots), float(service_ns))
        self._departed_ns = now_ns
        self._saturated_ns = NEVER_NS
        weight = 1 / MEMORY if self.batch_rows else 1.0
        self._gap_ns += (gap_ns - self._gap_ns) * weight
        more_rows, more_ns = rows - self.batch_rows, service_ns - self.batch_ns
        self.batch_rows += more_rows * weight
        self.batch_ns += more_ns * weight
        self.row_ns = self._gap_ns / self.batch_rows
        rest = 1.0 - weight
        self._spread = (self._spread + more_rows * more_rows * weight) * rest
        self._together = (self._together + more_rows * more_ns * weight) * rest
        self.fixed = self._fixed()

    def row_ns_in(self, batch_rows: float) -> float:
        """As `row_ns`, in batches of so many rows, if that is more than usual."""
        if not self.fixed or batch_rows <= self.batch_rows:
            return self.row_ns
        return self.row_ns * (1.0 - self.fixed + self.fixed * self.batch_rows / batch_rows)

    def _fixed(self) -> float:
        if not self.batch_ns:
            return 0.0
        doubt = (ALIKE * self.batch_rows) ** 2
        grows = self._together * self.batch_rows / self.batch_ns  # against all of it growing
        return min(max((self._spread - grows) / (self._spread + doubt), 0.0), 1.0)
