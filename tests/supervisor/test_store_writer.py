"""One store under several workers: the supervisor writes, they follow."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import orjson
import pytest

from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec

from .tree import BODY, INFER, Tree, served, wait_for, write_config

pytestmark = pytest.mark.slow

KEY = 2  # as in BODY, whose numbers are cut to whole ones


def config_with_store(folder: Path, mode: str) -> Path:
    with ParameterStore.open(folder / "store", create=True) as store:
        for version in (1.0, 2.0):
            rows = np.full((10, 1), version, np.float32)
            store.import_table(TableSpec("fm", 1, "float32"), [(np.arange(10, dtype="u8"), rows)])
    config = write_config(folder, "Look")
    section = f"store: {{path: {folder / 'store'}, mode: {mode}, ram: 1MiB}}\npipelines:"
    config.write_text(config.read_text().replace("pipelines:", section))
    return config


def looked_up(tree: Tree) -> set[float]:
    """What a few callers, each on a connection of his own, are told of one key."""
    found = set()
    for _ in range(6):
        status, body = tree.ask(tree.data + INFER, "POST", BODY)
        assert status == 200
        found.add(orjson.loads(body)["outputs"][0]["data"][1])
    return found


def test_an_update_and_a_rollback_reach_all_workers(tmp_path: Path) -> None:
    with served(config_with_store(tmp_path, "write")) as tree:
        assert looked_up(tree) == {2.0}
        rows = {"keys": [KEY], "rows": [[7.5]]}
        assert tree.change("/admin/store/fm/update", rows)[0] == 200
        wait_for(lambda: looked_up(tree) == {7.5})
        assert tree.change("/admin/store/fm/rollback")[1] == {"table": "fm", "version": 1}
        wait_for(lambda: looked_up(tree) == {1.0})
        assert tree.change("/admin/store/nope/rollback")[0] == 404
        code, errors = tree.stop()
    assert code == 0
    assert not re.search("WARNING|ERROR", errors)


@pytest.mark.parametrize("copies", ["made", "lost"])
def test_workers_that_follow_write_nothing_and_copies_are_made_once(
    tmp_path: Path, copies: str
) -> None:
    config = config_with_store(tmp_path, "follow")
    if copies == "lost":
        shutil.rmtree(tmp_path / "store" / "lmdb")
    with served(config) as tree:
        assert looked_up(tree) == {2.0}
        assert tree.change("/admin/store/fm/rollback")[0] == 409
        tables = tree.status()["store"]["tables"]
        assert {tier["tier"] for tier in tables[0]["tiers"]} >= {"lmdb"}
        code, errors = tree.stop()
    assert code == 0
    assert errors.count("making LMDB's copies") == (copies == "lost")


def test_workers_share_one_copy_of_the_rows_that_fit_into_ram(tmp_path: Path) -> None:
    with served(config_with_store(tmp_path, "follow")) as tree:
        wait_for(lambda: tree.status()["store"]["tables"][0]["resident"])
        assert looked_up(tree) == {2.0}
        store = tree.status()["store"]
        assert 0 < store["ram_bytes"] < 2 * 640 < store["ram_bytes_max"] == 1 << 20
        for worker in tree.pids():
            assert "sedp-ram" in Path(f"/proc/{worker}/maps").read_text()
