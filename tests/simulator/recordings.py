"""Small recordings for tests of the replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.simulator.fake_daemon import score_of


def recorded_arrays(count: int = 40, seed: int = 0) -> dict[str, Any]:
    """Arrays of a recording whose labels and expected scores fit the fake daemon's answers."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, count)
    splits = np.concatenate([[0], np.cumsum(sizes)])
    household_id = rng.integers(1, 1000, count)
    product_id = rng.integers(1, 10**12, splits[-1])
    score = score_of(np.repeat(household_id, sizes), product_id)
    return {
        "ts_s": np.sort(rng.integers(0, 100, count)),
        "splits": splits,
        "household_id": household_id,
        "store_id": rng.integers(1, 9, count).astype(np.int32),
        "week": np.repeat([47, 48, 49, 50], count // 4),
        "product_id": product_id,
        "label": (rng.random(splits[-1]) < score).astype(np.int8),
        "expected_score": score,
    }


def save(folder: Path, arrays: dict[str, Any]) -> Path:
    path = folder / "recording.npz"
    np.savez(path, **arrays)
    return path
