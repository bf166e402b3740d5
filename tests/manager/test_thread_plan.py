"""Thread counts never crowd the cores."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.errors import ConfigError
from sedp.manager.thread_plan import plan_threads


@given(
    cores=st.integers(1, 256),
    workers=st.integers(1, 64),
    concurrencies=st.lists(st.integers(1, 64), max_size=10),
)
def test_runs_and_their_threads_fit_the_workers_cores(
    cores: int, workers: int, concurrencies: list[int]
) -> None:
    plan = plan_threads(cores, workers, concurrencies)
    own = max(1, cores // workers)
    assert plan.engine == max(1, sum(concurrencies))
    assert plan.numba == plan.blas == plan.onnx_intra_op >= 1
    assert min(plan.engine, own) * plan.numba <= own


@pytest.mark.parametrize(
    ("cores", "workers", "concurrencies", "in_run"),
    [(2, 1, (2,), 1), (2, 1, (1,), 2), (8, 1, (1,), 7), (16, 2, (2, 1), 2), (1, 4, (8,), 1)],
)
def test_spare_cores_go_into_runs(
    cores: int, workers: int, concurrencies: tuple[int, ...], in_run: int
) -> None:
    assert plan_threads(cores, workers, concurrencies).onnx_intra_op == in_run


def test_every_runtime_is_told() -> None:
    environment = plan_threads(8, 2, (1,)).environment()
    assert set(environment) == {
        "NUMBA_NUM_THREADS",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
    }
    assert set(environment.values()) == {"3"}


@pytest.mark.parametrize("wrong", [(0, 1, ()), (1, 0, ()), (1, 1, (0,))])
def test_nothing_to_share_is_refused(wrong: tuple[int, int, tuple[int, ...]]) -> None:
    with pytest.raises(ConfigError, match="must be ≥ 1"):
        plan_threads(*wrong)
