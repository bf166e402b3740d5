"""The servers of ctr-rank and their files, each started for a while and checked against double
precision before it is measured.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from bench.ctr_rank_wire import MOSEC_PATH, SEDP_PATH, Requests, read_scores
from bench.machine import ROOT
from bench.server_process import Server, free_port, started
from sedp.demo import ctr_rank
from sedp.demo.ctr_rank_model import export_plain, export_split

CONFIG = ROOT / "configs" / "ctr-rank.yaml"
ERROR_MAX = 1e-4
CHECKED = 64  # replies compared with the reference
JSON_REQUESTS = 512  # distinct bodies; they are large
PROCESSES = 2


@dataclass(frozen=True, slots=True)
class System:
    """One server under one wire format.

    Args:
        name: as it is shown.
        wire: raw, binary or json.
        form: of our pipeline: shipped, free (of a target), one (stage) or three (stages), which
            have no target either; "" for mosec.
    """

    name: str
    wire: str
    form: str = ""


def encode(requests: Requests, system: System) -> list[bytes]:
    """All of them as this system wants them."""
    if system.wire == "raw":
        return requests.raw()
    if system.wire == "binary":
        return requests.oip_binary()
    return requests.oip_json(SEDP_PATH if system.form else MOSEC_PATH, JSON_REQUESTS)


class Workplace:
    """A folder with everything that the servers of this bench read.

    Args:
        folder: of `sedp demo ctr-rank`.
        scratch: for files of our own.
        mosec_python: interpreter of mosec's environment.
    """

    def __init__(self, folder: Path, scratch: Path, mosec_python: str) -> None:
        self.folder = folder
        self.scratch = scratch
        self._mosec_python = mosec_python
        self._network = ctr_rank.make_network()
        self._table = ctr_rank.make_table()
        self._requests: dict[tuple[str, str, int], list[bytes]] = {}
        np.save(scratch / "table.npy", self._table)
        np.savez(scratch / "salts.npz", user=ctr_rank.USER, item=ctr_rank.ITEM)
        (scratch / "plain.onnx").write_bytes(export_plain(self._network).SerializeToString())
        (scratch / "split.onnx").write_bytes(export_split(self._network).SerializeToString())
        bodies = Requests(ctr_rank.make_requests(), ctr_rank.CANDIDATES).bodies
        np.save(scratch / "bodies.npy", np.array([np.frombuffer(b, np.uint8) for b in bodies]))

    def requests(self, system: System, candidates: int) -> list[bytes]:
        """All distinct requests of a system, ready to be sent."""
        key = system.wire, system.form, candidates
        if key not in self._requests:
            made = Requests(ctr_rank.make_requests(candidates=candidates), candidates)
            self._requests[key] = encode(made, system)
        return self._requests[key]

    @contextlib.contextmanager
    def serve(self, system: System) -> Iterator[Server]:
        """Start a system; its first answers have been found right."""
        probe = self.requests(system, ctr_rank.CANDIDATES)[0]
        start = self._sedp(system.form) if system.form else self._mosec(system.wire)
        with started(*start, probe) as server:
            self._check(system, server)
            yield server

    def _mosec(self, wire: str) -> tuple[list[str], dict[str, str], int]:
        port = free_port()
        words = [self._mosec_python, "-m", "bench.ctr_rank_mosec", "--port", str(port)]
        extra = {"CTR_RANK_FOLDER": str(self.scratch), "CTR_RANK_WIRE": wire}
        return [*words, "--log-level", "error"], extra, port

    def _sedp(self, form: str) -> tuple[list[str], dict[str, str], int]:
        config = CONFIG if form == "shipped" else self._config_of(form)
        port = free_port()
        words = [sys.executable, "-m", "sedp", "serve", str(config), "--workers", str(PROCESSES)]
        extra = {"DATA_DIR": str(self.folder), "PORT": str(port), "ADMIN_PORT": "0"}
        # A config elsewhere names a stage of this bench.
        return words, {**extra, "PYTHONPATH": str(ROOT)}, port

    def _config_of(self, form: str) -> Path:
        """The shipped pipeline without its target, as a closed loop may ask for more than that.

        And with user and items looked up apart: as three stages, or in one.
        """
        document = yaml.safe_load(CONFIG.read_text())
        pipeline = document["pipelines"]["ctr-rank"]
        del pipeline["slo"]
        embedding, score = pipeline["stages"]["embedding"], pipeline["stages"]["score"]
        sides = {
            side: {**embedding["params"], "slots": {side: slot}}
            for side, slot in embedding["params"]["slots"].items()
        }
        if form == "three":
            apart = {side: {**embedding, "params": params} for side, params in sides.items()}
            pipeline["stages"] = {**apart, "score": score}
        elif form == "one":
            params = {"lookups": list(sides.values()), "score": score["params"]}
            kind = "bench.ctr_rank_stage:LookUpAndScore"
            pipeline["stages"] = {"rank": {**score, "kind": kind, "params": params}}
        path = self.scratch / f"{form}.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return path

    def _check(self, system: System, server: Server) -> None:
        columns = ctr_rank.make_requests()
        rows = CHECKED * ctr_rank.CANDIDATES
        first = {
            "splits": columns["splits"][: CHECKED + 1],
            "user_ids": columns["user_ids"][:CHECKED],
            "item_ids": columns["item_ids"][:rows],
            "dense": columns["dense"][:rows],
        }
        expected = ctr_rank.score_exactly(self._network, self._table, first)
        have = []
        for request in self.requests(system, ctr_rank.CANDIDATES)[:CHECKED]:
            have.append(read_scores(system.wire, *server.answer(request)))
        error = float(np.abs(np.concatenate(have) - expected).max())
        if error > ERROR_MAX:
            raise RuntimeError(f"{system.name}: scores differ by {error:g} from the reference")
