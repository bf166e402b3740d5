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
    assert plan_threads(8, 2, (1,)).additions({}) == {
        "NUMBA_NUM_THREADS": "3",
        "OMP_NUM_THREADS": "3",
        "OPENBLAS_NUM_THREADS": "3",
        "MKL_NUM_THREADS": "3",
    }


def test_what_the_operator_has_set_stays() -> None:
    plan = plan_threads(8, 2, (1,))
    own = {"NUMBA_NUM_THREADS": "5", "MKL_NUM_THREADS": "4"}
    assert plan.additions(own) == {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3"}
    assert plan.additions({"OMP_NUM_THREADS": "2"}) == {"NUMBA_NUM_THREADS": "3"}


@pytest.mark.parametrize(
    ("environment", "numba", "blas"),
    [
        ({}, 3, 3),
        ({"NUMBA_NUM_THREADS": "5"}, 5, 3),
        ({"OMP_NUM_THREADS": "2"}, 3, 2),
        ({"OMP_NUM_THREADS": "2,1"}, 3, 2),
        ({"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "4"}, 3, 4),
        ({"OMP_NUM_THREADS": "all", "NUMBA_NUM_THREADS": ""}, 3, 3),
    ],
)
def test_variables_are_in_force(environment: dict[str, str], numba: int, blas: int) -> None:
    counts = plan_threads(8, 2, (1,)).counts(environment)
    assert counts == {
        "engine": 1,
        "numba": numba,
        "blas": blas,
        "onnx_intra_op": 3,
        "onnx_inter_op": 1,
    }


@pytest.mark.parametrize("wrong", [(0, 1, ()), (1, 0, ()), (1, 1, (0,))])
def test_nothing_to_share_is_refused(wrong: tuple[int, int, tuple[int, ...]]) -> None:
    with pytest.raises(ConfigError, match="must be ≥ 1"):
        plan_threads(*wrong)
