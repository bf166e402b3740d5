"""The recording that the demo replays: validation and test weeks, one request a visit.

Columns to send: `household_id`, `store_id`, `week` (int64[r]) and `product_id` (int64[rows]).
`label` is 1 where the household bought the product. `expected_score` is what training's own
arithmetic makes of the published tables: a daemon must give the same within rounding.

Judge quality on weeks 48 and later. The published tables are frozen at the end of week 47, so for
weeks 43 to 47 they know the answer; those requests are there to warm up and to load.
"""

from __future__ import annotations

import numpy as np

from sedp.columns import Array, Batch
from sedp.demo.features import Features, read_history
from sedp.demo.impressions import TEST_WEEKS, VALID_WEEKS, select_weeks
from sedp.demo.model import Model
from sedp.demo.publish import FROZEN_WEEK

COLUMNS = ("ts_s", "household_id", "store_id", "week", "product_id", "label")


def record_requests(impressions: Batch, features: Features, model: Model) -> dict[str, Array]:
    """The arrays of the recording, by name, for `numpy.savez`."""
    weeks = VALID_WEEKS[0], TEST_WEEKS[1]
    requests = select_weeks(impressions, *weeks)
    columns = features.columns(*weeks)
    history = read_history(features.freeze_history(FROZEN_WEEK), columns)
    return {
        "splits": requests.splits.astype(np.int64),
        **{name: requests[name] for name in COLUMNS},
        "expected_score": model.score(columns, history),
    }
