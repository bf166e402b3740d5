"""The demo's candidate cut: a recording of wide requests, and the net trained on half of it.

The cheap score reads two of the history tables and has its weights here and in
configs/promo-rank-cut.yaml; `sedp train-cut --fit-score` found them on weeks 48 to 50. The net
learns from these weeks too, and is judged on weeks 51 to 53.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array, Batch
from sedp.demo.dataset import Columns
from sedp.demo.features import Features, attach, read_history
from sedp.demo.impressions import item_columns
from sedp.demo.keyed_rows import KeyedRows
from sedp.demo.model import Model
from sedp.demo.publish import FROZEN_WEEK
from sedp.demo.slots import HISTORY_TABLES, HOUSEHOLD_FEATURES, PRODUCT_FEATURES
from sedp.stages.candidate_cut import CheapScore
from sedp.stages.cut_net import CutNet
from sedp.stages.cut_training import ScoredRequests, judge_cut, train_cut

FIRST_HELD_OUT_WEEK = 51
SENT = ("ts_s", "household_id", "store_id", "week", "product_id", "label")

SCORE = CheapScore(
    linear={
        "product_history": [0.405, 0.107, -0.142, 0.204, -0.0951],
        "household_product": [-3.99, 2.95, 2.62],
    }
)


def score_wide_requests(
    wide: Batch, features: Features, model: Model
) -> tuple[dict[str, Array], CutNet]:
    """The arrays of a recording, see `sedp.demo.recording`, and the net trained on it."""
    columns = attach(item_columns(wide), HOUSEHOLD_FEATURES, features.households)
    columns = attach(columns, PRODUCT_FEATURES, features.products)
    histories = features.freeze_history(FROZEN_WEEK)
    full = model.score(columns, read_history(histories, columns))
    cheap = SCORE.of(_score_columns(histories, columns))
    held_out = wide["week"] >= FIRST_HELD_OUT_WEEK
    net = train_cut(SCORE.text, _only(~held_out, wide, cheap, full))
    net = judge_cut(net, _only(held_out, wide, cheap, full), rows_min=net.top)
    recording = {
        "splits": wide.splits,
        **{name: wide[name] for name in SENT},
        "expected_score": full,
    }
    return recording, net


def _score_columns(histories: dict[str, KeyedRows], columns: Columns) -> Columns:
    return {
        table.name: histories[table.name].find(table.keys(columns))
        for table in HISTORY_TABLES
        if table.name in SCORE.linear
    }


def _only(
    wanted: NDArray[np.bool_], wide: Batch, cheap: NDArray[np.float32], full: NDArray[np.float32]
) -> ScoredRequests:
    rows = wanted[wide.owners]
    ends = np.cumsum(np.diff(wide.splits)[wanted])
    return ScoredRequests(cheap[rows], full[rows], np.concatenate([[0], ends]).astype(np.int64))
