"""Names of the admission controllers, as a config says them."""

from __future__ import annotations

from collections.abc import Callable

from sedp.engine.admission import Admission
from sedp.errors import ConfigError
from sedp.manager.admission.aimd import Aimd
from sedp.manager.admission.breakwater import Breakwater
from sedp.manager.admission.codel import Codel
from sedp.manager.admission.concurrency_limit import ConcurrencyLimit
from sedp.manager.admission.dagor import Dagor
from sedp.manager.admission.gradient2 import Gradient2
from sedp.manager.admission.predicted_wait import PredictedWait
from sedp.manager.admission.seda import Seda
from sedp.manager.admission.vegas import Vegas

ADMISSIONS: dict[str, Callable[[int, int], Admission | None]] = {
    "counters": lambda target_ns, levels: None,
    "predicted_wait": PredictedWait,
    "seda": Seda,
    "aimd": lambda target_ns, levels: ConcurrencyLimit(Aimd(target_ns)),
    "vegas": lambda target_ns, levels: ConcurrencyLimit(Vegas()),
    "gradient2": lambda target_ns, levels: ConcurrencyLimit(Gradient2()),
    "codel": lambda target_ns, levels: Codel(),
    "dagor": lambda target_ns, levels: Dagor(levels),
    "breakwater": lambda target_ns, levels: Breakwater(target_ns),
}
NEED_TARGET = frozenset(("predicted_wait", "seda", "breakwater"))
ISOLATES = "predicted_wait"  # tenants, if asked to


def make_admission(
    name: str, target_ns: int, levels: int, *, isolates: bool = False
) -> Admission | None:
    """A fresh controller for one pipeline; `None` is the engine's counters alone.

    Args:
        name: one of `ADMISSIONS`.
        target_ns: the pipeline's latency target; 0 where it has none.
        levels: of priority, ≥ 1.
        isolates: whether a greedy tenant must not move the others' latency; see `PredictedWait`.

    Raises:
        ConfigError: an unknown name, a controller that needs a target and gets none, or one that
            cannot isolate and should.
    """
    make = ADMISSIONS.get(name)
    if make is None:
        raise ConfigError(f"admission {name!r} is not known; it is one of {', '.join(ADMISSIONS)}")
    if target_ns <= 0 and name in NEED_TARGET:
        raise ConfigError(
            f"admission {name!r} needs a latency target, and there is none; "
            "set slo: {p99: …}, or admission: counters"
        )
    if not isolates:
        return make(target_ns, levels)
    if name != ISOLATES:
        raise ConfigError(
            f"admission {name!r} cannot isolate tenants; {ISOLATES} can, or leave out "
            "slo.isolate_tenants"
        )
    return PredictedWait(target_ns, levels, isolates=True)
