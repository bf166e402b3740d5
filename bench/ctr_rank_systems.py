"""The servers of ctr-rank and their files, each started for a while and checked against double
precision before it is measured.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from bench.ctr_rank_wire import MOSEC_PATH, SEDP_PATH, Requests, read_scores
from bench.machine import ROOT
from bench.server_process import Server, ask, free_port, started
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
        form: of our pipeline: shipped, one (stage) or three (stages); "" for mosec.
    """

    name: str
    wire: str
    form: str = ""


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
            path = SEDP_PATH if system.form else MOSEC_PATH
            self._requests[key] = {
                "raw": made.raw,
                "binary": made.oip_binary,
                "json": lambda: made.oip_json(path, JSON_REQUESTS),
            }[system.wire]()
        return self._requests[key]

    @contextlib.contextmanager
    def serve(self, system: System) -> Iterator[Server]:
        """Start a system; its first answers have been found right."""
        probe = self.requests(system, ctr_rank.CANDIDATES)[0]
        commands = self._sedp(system.form) if system.form else self._mosec(system.wire)
        with started(commands, probe) as server:
            self._check(system, server)
            yield server

    def _mosec(self, wire: str) -> list[tuple[list[str], dict[str, str], int]]:
        port = free_port()
        words = [self._mosec_python, "-m", "bench.ctr_rank_mosec", "--port", str(port)]
        extra = {"CTR_RANK_FOLDER": str(self.scratch), "CTR_RANK_WIRE": wire}
        return [([*words, "--log-level", "error"], extra, port)]

    def _sedp(self, form: str) -> list[tuple[list[str], dict[str, str], int]]:
        config = CONFIG if form == "shipped" else self._config_of(form)
        words = [sys.executable, "-m", "sedp", "serve", str(config)]
        extra = {"DATA_DIR": str(self.folder), "ADMIN_PORT": "0", "PYTHONPATH": str(ROOT)}
        if "SEDP_TREE" in os.environ:
            extra["PYTHONPATH"]=os.environ["SEDP_TREE"]
        ports = [free_port() for _ in range(PROCESSES)]
        return [(words, {**extra, "PORT": str(port)}, port) for port in ports]

    def _config_of(self, form: str) -> Path:
        """The shipped pipeline with its work in one stage, or in three."""
        document = yaml.safe_load(CONFIG.read_text())
        pipeline = document["pipelines"]["ctr-rank"]
        stages = pipeline["stages"]
        embedding, score = stages["embedding"]["params"], stages["score"]["params"]
        if form == "one":
            pipeline["stages"] = {
                "rank": {
                    **stages["score"],
                    "kind": "bench.ctr_rank_stage:LookUpAndScore",
                    "params": {"embedding": embedding, "score": score},
                }
            }
        else:
            slots = embedding["slots"]
            pipeline["stages"] = {
                **{
                    side: {
                        **stages["embedding"],
                        "params": {**embedding, "slots": {side: slots[side]}},
                    }
                    for side in ("user", "item")
                },
                "score": stages["score"],
            }
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
        for number, request in enumerate(self.requests(system, ctr_rank.CANDIDATES)[:CHECKED]):
            address = server.addresses[number % len(server.addresses)]
            status, headers, body = ask(address, request)
            if status != 200:
                raise RuntimeError(f"{system.name} answered {status}: {body[:200]!r}")
            have.append(read_scores(system.wire, headers, body))
        error = float(np.abs(np.concatenate(have) - expected).max())
        if error > ERROR_MAX:
            raise RuntimeError(f"{system.name}: scores differ by {error:g} from the reference")
