"""Workers that serve gRPC are replaced under load; `SEDP_ROLLS` makes it long."""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator

import pytest
from grpc import StatusCode

from tests.operations.figures import tell

from .grpc_load import GrpcLoad
from .tree import Tree, served, wait_for, write_config

pytestmark = pytest.mark.slow

ROLLS = int(os.environ.get("SEDP_ROLLS", "2"))
CALLERS = 4  # that keep their channel, and as many that do not
CUT_OFF_MAX = 2 * 2 * CALLERS  # of each caller one call, at each of the two workers that leave


@pytest.fixture(scope="module")
def address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, address: str) -> Iterator[Tree]:
    config = write_config(tmp_path_factory.mktemp("served"), drain="3s")
    text = config.read_text()
    config.write_text(text.replace("daemon: {", f"daemon: {{grpc: {address}, "))
    with served(config) as tree:
        yield tree


def test_a_rolling_restart_cuts_off_few_calls_and_says_so(tree: Tree, address: str) -> None:
    """Not none: some of the calls on their way to a worker that leaves are cut off."""
    total = 0
    failures: Counter[StatusCode] = Counter()
    for _ in range(ROLLS):
        with GrpcLoad(address, keeping=CALLERS, fresh=CALLERS) as load:
            wait_for(lambda load=load: load.answered > 100)
            before = tree.pids()
            assert tree.change("/admin/restart")[0] == 200
            assert not set(before) & set(tree.pids())
            goal = load.answered + 100
            wait_for(lambda load=load, goal=goal: load.answered > goal)
        total += load.answered
        failures += load.failures
        assert load.failures.total() <= CUT_OFF_MAX
    told = {code.name: count for code, count in failures.items()}
    tell(f"{ROLLS} rolling restarts: {failures.total()} of {total} gRPC calls failed {told}")
    assert failures.keys() <= {StatusCode.CANCELLED, StatusCode.UNAVAILABLE}


def test_a_worker_that_is_killed_and_not_drained_is_seen(tree: Tree, address: str) -> None:
    with GrpcLoad(address, keeping=CALLERS, fresh=CALLERS) as load:
        wait_for(lambda: load.answered > 100)
        victims = tree.pids()
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        wait_for(lambda: bool(load.failures))
    wait_for(lambda: len(tree.pids()) == 2 and not set(victims) & set(tree.pids()))
