"""The demo's wide requests, the net trained on them, and the command that trains another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sedp.cli.train_cut import command
from sedp.columns import Batch
from sedp.config.loading import load
from sedp.demo.cut_requests import REQUESTS_MAX, draw_wide_requests
from sedp.demo.cut_weights import SCORE, score_wide_requests
from sedp.demo.dataset import Dataset
from sedp.demo.features import Features
from sedp.demo.files import CUT_FILE, ONNX_FILE, STORE_FOLDER
from sedp.demo.impressions import select_weeks
from sedp.demo.model import Model
from sedp.demo.onnx_export import export_model
from sedp.demo.publish import collect_tables, publish_tables
from sedp.stages.cut_logs import find_cut
from sedp.stages.cut_net import CutNet
from tests.demo.grocer import PROMOTED

CONFIG = Path(__file__).parent.parent.parent / "configs" / "promo-rank-cut.yaml"


@pytest.fixture(scope="module")
def wide(impressions: Batch, dataset: Dataset) -> Batch:
    return draw_wide_requests(impressions, dataset.promotions)


def test_wide_requests_are_visits_of_the_test_weeks_with_all_that_was_bought(
    wide: Batch, impressions: Batch
) -> None:
    visits = select_weeks(impressions, 48, 53)
    assert wide.event_count == visits.event_count <= REQUESTS_MAX
    assert wide["ts_s"].tolist() == visits["ts_s"].tolist()
    for at in range(wide.event_count):
        rows = slice(*wide.splits[at : at + 2].tolist())
        own = slice(*visits.splits[at : at + 2].tolist())
        products, bought = wide["product_id"][rows], wide["label"][rows] == 1
        assert len(set(products.tolist())) == len(products) <= PROMOTED
        assert set(products[bought]) == set(visits["product_id"][own][visits["label"][own] == 1])
        assert set(products) >= set(visits["product_id"][own])


def test_the_config_ranks_by_the_score_that_the_net_is_trained_for() -> None:
    [pipeline] = load(CONFIG, {}).pipelines
    _, cut = find_cut(pipeline)
    assert cut.params.score.text == SCORE.text
    assert Path(cut.params.learned.weights).name == CUT_FILE


def test_the_net_is_judged_on_later_weeks(wide: Batch, features: Features, model: Model) -> None:
    recording, net = score_wide_requests(wide, features, model)
    assert net.report["requests"] == np.count_nonzero(wide["week"] >= 51) > 0
    assert len(recording["expected_score"]) == wide.row_count == len(recording["product_id"])
    assert net.score == SCORE.text


@pytest.mark.slow
def test_the_command_trains_weights_that_the_config_opens(
    tmp_path: Path,
    wide: Batch,
    features: Features,
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recording, own = score_wide_requests(wide, features, model)
    np.savez(tmp_path / "requests.npz", allow_pickle=False, **recording)
    (tmp_path / ONNX_FILE).write_bytes(export_model(model).SerializeToString())
    tables = collect_tables(features, model)
    publish_tables(tables, tmp_path / STORE_FOLDER, lambda share, note: None)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    options = ["--recording", str(tmp_path / "requests.npz"), "--held-out", "51-53"]
    result = CliRunner().invoke(command, [str(CONFIG), *options, "--weeks", "48-50"])
    assert result.exit_code == 0, result.output
    assert f"on {own.report['requests']} requests held out" in result.stdout
    net = CutNet.load(tmp_path / CUT_FILE)
    assert net.score == SCORE.text
    np.testing.assert_allclose(net.report["share_loss"], own.report["share_loss"], atol=1e-6)
    result = CliRunner().invoke(
        command,
        [str(CONFIG), *options, "--weeks", "48", "--fit-score", "--out", str(tmp_path / "x.npz")],
    )
    assert "  product_history: [" in result.stdout
    assert CutNet.load(tmp_path / "x.npz").score != SCORE.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weeks", "x"], "'x' is no range of weeks"),
        (["--weeks", "1", "--pipeline", "other"], "names 0 pipelines; choose of: promo-rank-cut"),
        (["--weeks", "1"], "not a readable recording"),
    ],
)
def test_wrong_options_say_the_mend(tmp_path: Path, options: list[str], message: str) -> None:
    file = tmp_path / "none.npz"
    file.write_bytes(b"")
    given = [str(CONFIG), "--recording", str(file), "--held-out", "2", *options]
    result = CliRunner().invoke(command, given)
    assert result.exit_code != 0
    assert message in result.output + str(result.exception)
