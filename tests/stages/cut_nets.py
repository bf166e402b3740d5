"""Small nets for the candidate cut's tests."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from sedp.stages.candidate_cut import CheapScore
from sedp.stages.cut_net import FEATURES, SHARES, CutNet


def some_net(
    *, seed: int | None = None, losses: float = 0.5, score: str = CheapScore("cheap").text
) -> CutNet:
    """Random weights by `seed`, else a net that foresees `losses` for whatever it is asked."""
    rng = np.random.default_rng(seed)
    scale = 0.0 if seed is None else 1.0
    widths = [len(FEATURES), 7, 5, 6, len(SHARES)]
    layers = list(pairwise(widths))
    weights = [rng.normal(0, scale, layer).astype(np.float32) for layer in layers]
    offsets = [rng.normal(0, scale, width).astype(np.float32) for _, width in layers]
    if seed is None:
        chance = np.clip(losses, 1e-30, 1 - 1e-6)
        offsets[-1][:] = np.log(chance / (1 - chance))
    mean = rng.normal(0, scale, len(FEATURES)).astype(np.float32)
    spread = rng.uniform(0.5, 2, len(FEATURES)).astype(np.float32)
    return CutNet(score, 10, mean, spread, tuple(weights), tuple(offsets))
