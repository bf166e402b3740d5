"""One count of threads for every runtime of a process, within the cores that it may use.

Left alone each runtime takes all cores of the machine: four workers with numba, a BLAS and
onnxruntime then run a dozen threads a core, and take turns instead of working. Here the cores of a
worker are shared out between the runs that may be under way at once; what numba or a BLAS does
happens inside such a run.

Invariant: `runs_max × in_run` is at most the worker's cores, or one thread each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sedp.errors import ConfigError

LOOP_CORES = 1  # the event loop parses and answers; with two cores or less it shares them


@dataclass(frozen=True, slots=True)
class ThreadPlan:
    """Thread counts of one worker process.

    Args:
        engine: threads of the engine's own pool: one for every run that may be under way.
        numba, blas, onnx_intra_op: inside one run.
        onnx_inter_op: 1, since a graph of stages is parallel already.
    """

    engine: int
    numba: int
    blas: int
    onnx_intra_op: int
    onnx_inter_op: int = 1

    def environment(self) -> Mapping[str, str]:
        """Variables that runtimes read when they are loaded: set before the first import."""
        blas = str(self.blas)
        return {
            "NUMBA_NUM_THREADS": str(self.numba),
            "OMP_NUM_THREADS": blas,
            "OPENBLAS_NUM_THREADS": blas,
            "MKL_NUM_THREADS": blas,
        }


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
