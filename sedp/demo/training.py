"""Training of the promo-rank model, and what is known of it before it serves.

Judged the way it serves: the validation weeks read history frozen at their eve, and so do the test
weeks. Only the validation weeks were looked at while choosing the model's form and settings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from sedp.demo.factorization_machine import TrainingSettings, fit
from sedp.demo.features import Features, read_history
from sedp.demo.impressions import TEST_WEEKS, TRAIN_WEEKS, VALID_WEEKS
from sedp.demo.model import Model
from sedp.simulator.quality import auc, logloss

Tell = Callable[[float, str], None]  # share done in 0..1, what is being done

FIT_SHARE = (0.2, 0.95)  # where fitting starts and ends in the time that training takes


def train(
    features: Features, tell: Tell, settings: TrainingSettings | None = None
) -> tuple[Model, dict[str, Any]]:
    """Train on `TRAIN_WEEKS`, judge on the other weeks.

    Returns:
        The model and a report that can be written as JSON: `quality` by part (`rows`,
        `base_rate`, `auc`, `logloss`), `seconds` of each phase, `settings`.
    """
    settings = settings or TrainingSettings()
    started = time.perf_counter()
    tell(0.0, "counting history")
    columns = features.columns(*TRAIN_WEEKS)
    history = features.history_as_of(columns, TRAIN_WEEKS[1])
    counted = time.perf_counter()

    def tell_part(done: int, total: int, loss: float) -> None:
        low, high = FIT_SHARE
        tell(low + (high - low) * done / total, f"log-loss {loss:.3f}")

    model = fit(columns, history, columns["label"], settings, tell_part)
    fitted = time.perf_counter()
    tell(FIT_SHARE[1], "judging")
    quality = {
        "valid": judge(model, features, VALID_WEEKS),
        "test": judge(model, features, TEST_WEEKS),
    }
    report = {
        "quality": quality,
        "train_rows": len(history),
        "embedding_rows": len(model.embedding.keys),
        "seconds": {
            "history": counted - started,
            "fit": fitted - counted,
            "judge": time.perf_counter() - fitted,
        },
        "settings": asdict(settings),
    }
    return model, report


def judge(model: Model, features: Features, weeks: tuple[int, int]) -> Mapping[str, float]:
    """Quality on these weeks with all history frozen at their eve."""
    columns = features.columns(*weeks)
    label = columns["label"]
    scores = model.score(columns, read_history(features.freeze_history(weeks[0] - 1), columns))
    return {
        "rows": len(label),
        "base_rate": float(label.mean()),
        "auc": auc(label, scores),
        "logloss": logloss(label, scores),
    }
