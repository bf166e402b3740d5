"""How fast a stage gets through its rows: what a newcomer's wait is predicted from.

While all slots of a stage are taken, the time between two departures says what its rows really
cost, with concurrency, shared cores and whatever else there is; nothing of that need be known.
While slots are free a run says less: that its rows cost no more than if it were the only one at a
time, and no less than if all slots went as fast. What was known before is kept between these two,
so that the first burst after a calm is not taken for cheaper than the last one was.
"""

from __future__ import annotations

from sedp.engine.events import NEVER_NS

MEMORY = 32  # departures that count: gaps scatter by a half, the pace then by a tenth


class Pace:
    """Averages over the last departures of one stage.

    Attributes:
        row_ns: from departure to departure, a row, while all slots are taken; 0 before the first.
        batch_ns: of a run, from its start to its end.
    """

    __slots__ = ("_departed_ns", "_gap_ns", "_rows", "_saturated_ns", "batch_ns", "row_ns")

    def __init__(self) -> None:
        self.row_ns = 0.0
        self.batch_ns = 0.0
        self._gap_ns = 0.0
        self._rows = 0.0
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
        weight = 1 / MEMORY if self._rows else 1.0
        self._gap_ns += (gap_ns - self._gap_ns) * weight
        self._rows += (rows - self._rows) * weight
        self.row_ns = self._gap_ns / self._rows
        self.batch_ns += (service_ns - self.batch_ns) * weight
