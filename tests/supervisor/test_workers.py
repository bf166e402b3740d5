"""A daemon of two workers under load: killed, replaced, reloaded, and asked what it counted.

Variables of the environment make the runs longer and the load heavier, and hold the time to replace
a worker against its goal, which a busy machine cannot keep.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from tests.operations.figures import tell

from .load import Load
from .tree import Tree, served, wait_for, write_config

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("SEDP_KILLS", "2"))
ROLLS = int(os.environ.get("SEDP_ROLLS", "1"))
RELOADS = int(os.environ.get("SEDP_RELOADS", "5"))
ANSWERS = int(os.environ.get("SEDP_ANSWERS", "0"))  # at least, of all rolling restarts together
REPLACED_S = float(os.environ.get("SEDP_REPLACED_S", "15"))
HELD_S = 2.0  # the goal of a replacement, by the signal that kills its predecessor


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    with served(write_config(tmp_path_factory.mktemp("served"), drain="3s")) as tree:
        yield tree


def test_connections_are_shared_evenly(tree: Tree) -> None:
    with Load(tree.data_port, keeping=16, fresh=0) as load:
        wait_for(lambda: load.answered > 200)
        held = [worker["connections"] for worker in tree.workers()]
    assert sum(held) == 16
    assert min(held) >= 2  # one that waits for a core leaves some to the other
    assert load.failed == 0


def replaced_s(tree: Tree, victim: int, start: float) -> float:
    """Seconds from `start` until another worker serves in the place of a victim."""

    def is_replaced() -> bool:
        pids = tree.pids()
        return len(pids) == 2 and victim not in pids

    wait_for(is_replaced)
    return time.monotonic() - start


def test_a_killed_worker_costs_only_what_it_had_and_is_replaced_at_once(tree: Tree) -> None:
    dice = random.Random(1)
    took: list[float] = []
    failed = had = 0
    for _ in range(KILLS):
        with Load(tree.data_port, keeping=8, fresh=0, looks=True) as load:
            wait_for(lambda load=load: load.answered > 100)
            victim = dice.choice(tree.workers())
            start = time.monotonic()
            in_flight = min(load.kill(victim["pid"]), victim["connections"])
            took.append(replaced_s(tree, victim["pid"], start))
        assert load.failed <= in_flight, load.failures
        failed += load.failed
        had += in_flight
    tell(
        f"{KILLS} kills: replaced after {max(took):.2f} s at worst, by the kill; {failed} requests "
        f"failed, at most {had} were in flight"
    )
    assert max(took) <= REPLACED_S


def test_a_replacement_that_is_held_back_is_seen(tree: Tree) -> None:
    victim = tree.pids()[0]
    tree.process.send_signal(signal.SIGSTOP)
    release = threading.Timer(HELD_S, tree.process.send_signal, [signal.SIGCONT])
    start = time.monotonic()
    release.start()
    os.kill(victim, signal.SIGKILL)
    assert replaced_s(tree, victim, start) > HELD_S
    release.join()


def test_a_rolling_restart_fails_no_request(tree: Tree) -> None:
    total = 0
    for number in range(1, ROLLS + 1):
        before = tree.pids()
        with Load(tree.data_port, keeping=6, fresh=2) as load:
            wait_for(lambda load=load: load.answered > 100)
            assert tree.change("/admin/restart")[0] == 200
            after = tree.pids()
            goal = max(load.answered + 100, ANSWERS * number // ROLLS - total)
            wait_for(lambda load=load, goal=goal: load.answered > goal)
        total += load.answered
        assert load.failures == {}
        assert len(after) == 2
        assert not set(before) & set(after)
    tell(f"{ROLLS} rolling restarts: 0 of {total} requests failed")
    assert total >= ANSWERS


def test_workers_that_are_killed_and_not_drained_are_seen(tree: Tree) -> None:
    with Load(tree.data_port, keeping=6, fresh=2) as load:
        wait_for(lambda: load.answered > 100)
        for victim in tree.pids():
            os.kill(victim, signal.SIGKILL)
            replaced_s(tree, victim, 0)
    assert load.failed > 0


def test_a_signal_restarts_too_and_sigterm_to_a_worker_replaces_it(tree: Tree) -> None:
    before = set(tree.pids())
    with Load(tree.data_port, keeping=4, fresh=1) as load:
        os.kill(min(before), signal.SIGTERM)
        wait_for(lambda: len(tree.pids()) == 2 and min(before) not in tree.pids())
        wait_for(lambda: len(tree.workers()) == 2)
    assert load.failures == {}


def test_a_reload_reaches_all_workers_or_none_and_fails_no_request(tree: Tree) -> None:
    pids = tree.pids()
    with Load(tree.data_port, keeping=6, fresh=2) as load:
        for number in range(RELOADS):
            write_config(tree.folder, drain="3s", deadline=f"{20 + number}s")
            status, body = tree.change("/admin/reload")
            assert status == 200
            assert "pipelines.double.deadline" in body["changes"][0]
        write_config(tree.folder, "Broken", drain="3s")
        status, body = tree.change("/admin/reload")
        assert status >= 400
        assert "no model" in body["error"]
        assert "another" not in body["error"]
        write_config(tree.folder, "NotThere", drain="3s")
        assert tree.change("/admin/reload")[0] >= 400
    assert load.failures == {}
    assert tree.pids() == pids
    deadline = tree.status()["pipelines"][0]["deadline_seconds"]
    assert deadline == 20 + RELOADS - 1


def test_a_worker_that_dies_after_a_bad_edit_starts_with_the_config_that_is_served(
    tree: Tree,
) -> None:
    (tree.folder / "c.yaml").write_text("daemon: [")
    victim = tree.pids()[0]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: len(tree.pids()) == 2 and victim not in tree.pids())
    assert tree.infer() == 200


def test_unloading_reaches_all_workers_and_those_that_follow(tree: Tree) -> None:
    assert tree.change("/v2/repository/models/double/unload")[0] == 200
    try:
        os.kill(tree.pids()[0], signal.SIGKILL)
        wait_for(lambda: len(tree.pids()) == 1)
        wait_for(lambda: len(tree.pids()) == 2)
        assert {tree.infer() for _ in range(10)} == {404}
        assert tree.change("/v2/repository/index")[1][0]["state"] == "UNAVAILABLE"
    finally:
        assert tree.change("/v2/repository/models/double/load")[0] == 200
    assert {tree.infer() for _ in range(10)} == {200}
    assert tree.change("/v2/repository/models/nope/load")[0] == 404


def test_statistics_are_those_of_all_workers_and_outlive_them(tree: Tree) -> None:
    def answered() -> int:
        count: int = tree.status()["pipelines"][0]["outcomes"]["answered"]
        return count

    before = answered()
    for _ in range(20):
        assert tree.infer() == 200
    assert answered() == before + 20
    assert tree.status()["listeners"].keys() >= {"data", "admin"}
    restarts = sum(worker["restarts"] for worker in tree.workers())
    os.kill(tree.pids()[0], signal.SIGKILL)
    wait_for(lambda: len(tree.pids()) == 1)
    assert answered() == before + 20
    wait_for(lambda: len(tree.pids()) == 2)
    assert answered() == before + 20
    assert sum(worker["restarts"] for worker in tree.workers()) == restarts + 1
    _, metrics = tree.ask(f"{tree.admin}/metrics")
    assert b'sedp_worker_up{worker="1"} 1.0' in metrics
    assert f'nv_inference_count{{model="double",version="1"}} {before + 20}.0'.encode() in metrics
    _, stats = tree.ask(f"{tree.data}/v2/models/double/stats")
    assert f'"inference_count":{before + 20}'.encode() in stats
