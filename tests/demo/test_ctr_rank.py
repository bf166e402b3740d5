"""The ctr-rank workload: its network in two forms, its requests, and what is served of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sedp.columns import Batch
from sedp.config.loading import load
from sedp.demo import ctr_rank
from sedp.demo.ctr_rank_model import (
    DENSE,
    DIM,
    ITEM_SLOTS,
    ITEM_WIDTH,
    USER_SLOTS,
    USER_WIDTH,
    draw_network,
    export_plain,
    export_split,
)
from sedp.demo.ctr_rank_requests import FIRST_ID, IDS_A_SLOT, draw_requests
from sedp.operator import Operator
from sedp.payload import Payload, answer
from sedp.simulator.recording import load_recording
from sedp.stage import Resources
from sedp.storage.store import ParameterStore

BUCKETS = 4_000  # a table for tests
CONFIG = Path(__file__).parents[2] / "configs" / "ctr-rank.yaml"


def run_model(model: Any, feed: dict[str, Any]) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(["scores"], feed)[0]


def test_both_forms_give_the_scores_of_double_precision() -> None:
    """Three requests of unequal size in one batch: each candidate gets its own user's part."""
    dice = np.random.default_rng(1)
    network = draw_network(dice)
    owners = np.repeat(np.arange(3), [4, 1, 2])
    user = dice.standard_normal((3, USER_SLOTS, DIM), np.float32)
    item = dice.standard_normal((7, ITEM_SLOTS, DIM), np.float32)
    dense = dice.standard_normal((7, DENSE), np.float32)
    sides = user.reshape(3, USER_WIDTH)[owners], item.reshape(7, ITEM_WIDTH)
    rows = np.concatenate([dense, *sides], axis=1)
    exact = network.score(rows.astype(np.float64))
    assert exact.std() > 0.05, "scores that are all alike would prove nothing"
    plain = run_model(export_plain(network), {"rows": rows})
    feed = {"dense": dense, "user_embedding": user, "item_embedding": item, "owners": owners}
    split = run_model(export_split(network), feed)
    np.testing.assert_allclose(plain, exact, atol=1e-5)
    np.testing.assert_allclose(split, exact, atol=1e-5)


def test_ids_are_skewed_and_spread_over_nine_and_ten_digits() -> None:
    requests = draw_requests(np.random.default_rng(2), 200, 50)
    ids = requests["item_ids"]
    assert ids.shape == (200 * 50, ITEM_SLOTS)
    assert ids.min() >= FIRST_ID
    assert ids.max() < 10**10
    assert len(np.unique(ids // 10**9)) == 10
    counts = np.sort(np.unique(ids, return_counts=True)[1])[::-1]
    shares = 1 / np.arange(1, IDS_A_SLOT + 1) ** 1.05
    assert counts[0] / ids.size == pytest.approx(shares[0] / shares.sum(), rel=0.1)
    assert counts[:1000].sum() / ids.size == pytest.approx(
        shares[:1000].sum() / shares.sum(), rel=0.05
    )


def test_the_same_seed_gives_the_same_requests() -> None:
    first, second = ctr_rank.make_requests(3, 5), ctr_rank.make_requests(3, 5)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["user_ids"], ctr_rank.make_requests(3, 6)["user_ids"])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ctr-rank")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ctr_rank, "BUCKETS", BUCKETS)
        patch.setattr(ctr_rank, "REQUESTS", 6)
        patch.setattr(ctr_rank, "make_requests", lambda: draw_requests(_dice(), 6, 20))
        ctr_rank.prepare(folder, lambda step, share, note: None)
    return folder


def _dice() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.mark.parametrize("together", [1, 6])
def test_the_shipped_pipeline_gives_the_recorded_scores(prepared: Path, together: int) -> None:
    """Request by request, and all in one batch: the user's part finds its own candidates."""
    config = prepared / "ctr-rank.yaml"
    config.write_text(CONFIG.read_text().replace("buckets: 2000000", f"buckets: {BUCKETS}"))
    [pipeline] = load(config, {"DATA_DIR": str(prepared)}).pipelines
    recording = load_recording(prepared / "recording.npz")
    requests = [
        Batch(
            {
                "user_ids": recording.columns["user_ids"][number : number + 1],
                "item_ids": recording.columns["item_ids"][number * 20 : number * 20 + 20],
                "dense": recording.columns["dense"][number * 20 : number * 20 + 20],
            },
            np.array([0, 20]),
        )
        for number in range(6)
    ]
    scores = []
    with ParameterStore.open(prepared / "store", ram_bytes=0) as store:
        for stage in pipeline.stages:
            stage.use.stage.open(Resources(prepared, 1, store))
        for start in range(0, 6, together):
            payloads = [Payload(one, len(pipeline.stages)) for one in requests[start:][:together]]
            for position, stage in enumerate(pipeline.stages):
                Operator(stage, position).run(payloads)
            scores += [answer(pipeline, payload)["scores"] for payload in payloads]
    np.testing.assert_allclose(np.concatenate(scores), recording.expected_score, atol=1e-5)


def test_what_is_there_is_kept(prepared: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in prepared.iterdir()}
    ctr_rank.prepare(prepared, lambda step, share, note: None)
    assert {path: path.stat().st_mtime_ns for path in prepared.iterdir()} == before
