"""What all workers are told about load: to leave their knobs, and which users have acted."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import orjson
import pytest

from .tree import Tree, served, wait_for, write_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    with served(write_config(tmp_path_factory.mktemp("served"), "Keeper")) as tree:
        yield tree


def test_all_workers_hear_of_users_who_have_acted(tree: Tree) -> None:
    answer = tree.change("/admin/feedback", {"pipeline": "double", "users": [3, 4]})
    assert answer == (200, {"users": 2, "stages": 2})
    heard = {file.name: file.read_text() for file in tree.folder.glob("heard-*")}
    assert heard == {f"heard-{pid}": "[3, 4]" for pid in tree.pids()}


def test_knobs_are_frozen_in_all_workers_and_in_those_that_replace_them(tree: Tree) -> None:
    assert tree.change("/admin/tuning/freeze") == (200, {"frozen": True})
    assert tree.status()["tuning"]["frozen"] == 2
    victim = tree.pids()[0]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: len(tree.pids()) == 2 and victim not in tree.pids())
    wait_for(lambda: tree.status()["tuning"]["frozen"] == 2)
    assert tree.change("/admin/tuning/thaw") == (200, {"frozen": False})
    assert tree.status()["tuning"]["frozen"] == 0


def test_moves_and_plan_are_told_of_all_workers(tree: Tree) -> None:
    status, moves = tree.ask(f"{tree.admin}/admin/moves")
    assert (status, orjson.loads(moves)) == (200, {"frozen": False, "total": {}, "moves": []})
    status, plan = tree.ask(f"{tree.admin}/admin/plan")
    assert status == 200
    assert {worker["pid"] for worker in orjson.loads(plan)["workers"]} == set(tree.pids())
