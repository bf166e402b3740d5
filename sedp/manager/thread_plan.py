"""One count of threads for every runtime of a process, within the cores that it may use.

Left alone each runtime takes all cores of the machine: four workers with numba, a BLAS and
onnxruntime then run a dozen threads a core, and take turns instead of working. Here the cores of a
worker are shared out between the runs that may be under way at once; what numba or a BLAS does
happens inside such a run.

Invariant: `runs_max × in_run` is at most the worker's cores, or one thread each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from sedp.errors import ConfigError

NUMBA_VARIABLE = "NUMBA_NUM_THREADS"
SHARED_VARIABLE = "OMP_NUM_THREADS"
BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", SHARED_VARIABLE)  # as they count
LOOP_CORES = 1  # the event loop parses and answers; with two cores or less it shares them


@dataclass(frozen=True, slots=True)
class ThreadPlan:
    """Thread counts of one worker process.

    Args:
        engine: threads of the engine's own pool: one for every run that may be under way.
        numba, blas, onnx_intra_op: inside one run.
        onnx_inter_op: 1, since a graph of stages is parallel already.

    Tuning may change how many runs there are, but not the threads of a runtime that is loaded: so
    a plan is made for the most runs that tuning may come to, and holds for fewer.
    """

    engine: int
    numba: int
    blas: int
    onnx_intra_op: int
    onnx_inter_op: int = 1

    def additions(self, environment: Mapping[str, str]) -> Mapping[str, str]:
        """Variables to be set before the first import of a runtime, which reads them then.

        Those that the operator has set stay; one for all kinds of BLAS is not overruled by others.
        """
        blas = (SHARED_VARIABLE,) if SHARED_VARIABLE in environment else BLAS_VARIABLES
        wanted = {NUMBA_VARIABLE: self.numba, **dict.fromkeys(blas, self.blas)}
        return {name: str(n) for name, n in wanted.items() if name not in environment}

    def in_force(self, environment: Mapping[str, str]) -> ThreadPlan:
        """What runtimes make of it under these variables."""
        numba = _count(environment.get(NUMBA_VARIABLE)) or self.numba
        blas = next(filter(None, (_count(environment.get(v)) for v in BLAS_VARIABLES)), self.blas)
        return replace(self, numba=numba, blas=blas)

    def counts(self, environment: Mapping[str, str]) -> Mapping[str, int]:
        """As in force under these variables, by runtime."""
        return asdict(self.in_force(environment))


def plan_threads(cores: int, workers: int, concurrencies: Sequence[int]) -> ThreadPlan:
    """The counts for each of some equal workers.

    Args:
        cores: that all workers together may use, ≥ 1, as `sedp.cores.usable_cores` counts them.
        workers: processes, ≥ 1.
        concurrencies: of all stages that run in threads, each ≥ 1; may be empty.

    Raises:
        ConfigError: no cores, workers or slots.
    """
    for thing, value in [("cores", cores), ("workers", workers), *_named(concurrencies)]:
        if value < 1:
            raise ConfigError(f"thread plan: {thing} {value} must be ≥ 1; give each at least one")
    own = max(1, cores // workers)
    engine = max(1, sum(concurrencies))
    at_once = min(engine, own)  # more runs than cores take turns, and need no second thread
    spare = own - LOOP_CORES if own > 2 * LOOP_CORES else own
    in_run = max(1, spare // at_once)
    return ThreadPlan(engine, in_run, in_run, in_run)


def _named(concurrencies: Sequence[int]) -> list[tuple[str, int]]:
    return [("concurrency", concurrency) for concurrency in concurrencies]


def _count(text: str | None) -> int:
    """As OpenMP's list of counts begins; 0 for none, and what is none is told by the runtime."""
    first = (text or "").split(",")[0].strip()
    return int(first) if first.isdecimal() else 0
