"""The main job whole, on the small grocer's data: prepare, serve, ask, replay, stop, rerun."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3
from click.testing import CliRunner

from sedp.cli.replay import command as replay
from sedp.cli.rerun import command as rerun
from sedp.demo import download
from sedp.demo.download import sha256_of
from sedp.demo.files import RECORDING_FILE, WHEEL_FILE
from sedp.demo.prepare import run_steps
from tests.demo.grocer import write_wheel

ROOT = Path(__file__).parent.parent.parent


@dataclass
class Served:
    """A daemon serving promo-rank from `folder`."""

    process: subprocess.Popen[str]
    address: str
    folder: Path

    def infer(self, **columns: list[int]) -> dict[str, list[float]]:
        tensors = [
            {"name": name, "datatype": "INT64", "shape": [len(values)], "data": values}
            for name, values in columns.items()
        ]
        response = urllib3.request(
            "POST",
            f"http://{self.address}/v2/models/promo-rank/infer",
            body=json.dumps({"inputs": tensors}),
            retries=False,
        )
        assert response.status == 200, response.data
        return {output["name"]: output["data"] for output in response.json()["outputs"]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("promo-rank")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "SHA256", sha256_of(write_wheel(folder / WHEEL_FILE)))
        run_steps(folder, lambda step, share, note: None)
    command = [sys.executable, "-m", "sedp", "serve", str(ROOT / "configs/promo-rank.yaml")]
    process = subprocess.Popen(
        [*command, "--stimulus-log", str(folder / "stimuli.log")],
        env={**os.environ, "PORT": "0", "ADMIN_PORT": "0", "DATA_DIR": str(folder)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout:
        address = None
        while address is None:
            line = process.stdout.readline()
            assert line, "the daemon ended before it served"
            address = re.search(r"inference +http://([^/]+)/v2", line)
        yield Served(process, address[1], folder)
        process.kill()


def test_known_candidates_are_scored_and_ranked(served: Served) -> None:
    products = [1000, 1003, 1010, 1025]
    answer = served.infer(household_id=[3], store_id=[300], week=[48], product_id=products)
    assert all(0 < score < 1 for score in answer["score"])
    best = sorted(range(4), key=lambda place: -answer["score"][place])
    assert answer["rank"] == best + [-1] * 6


def test_unknown_ids_get_an_answer_from_default_rows(served: Served) -> None:
    answer = served.infer(
        household_id=[-5], store_id=[2**62], week=[99], product_id=[1, -(2**63), 2**63 - 1]
    )
    assert len(set(answer["score"])) == 1, "nothing is known of any of them"
    assert 0 < answer["score"][0] < 1


def test_the_readme_example_works_by_copy_and_paste(served: Served) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    [example] = [block for block in blocks if "tritonclient" in block]
    example = example.replace("127.0.0.1:8000", served.address)
    result = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(r"\[0\.\d+ +0\.\d+ +0\.\d+\] \[[012 -]+\]\s*", result.stdout)


def test_replayed_scores_are_those_of_training(served: Served) -> None:
    recording = str(served.folder / RECORDING_FILE)
    options = ["--url", f"http://{served.address}", "--recording", recording, "--rate", "400"]
    result = CliRunner().invoke(replay, [*options, "--weeks", "48-53", "--json", "-"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout[result.stdout.index("{") :])
    assert report["answered"] == report["sent"] > 20
    assert report["score_error_max"] <= 1e-5
    assert report["auc"] > 0.6


def test_it_stops_clean_and_its_decisions_can_be_rerun(served: Served) -> None:
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(timeout=20) == 0
    result = CliRunner().invoke(rerun, [str(served.folder / "stimuli.log")])
    assert result.exit_code == 0, result.output
    assert "identical" in result.output
