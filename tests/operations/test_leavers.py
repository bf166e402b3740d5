"""Callers that leave before their answer: what they asked for goes, and every count with it.

`SEDP_LEAVERS` makes it long; `SEDP_CANCEL_S` is how soon queued work must be gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import statistics
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from tests.supervisor.tree import wait_for

from .figures import tell
from .operated import Operated, infer_body, infer_request, operate

LEAVERS = int(os.environ.get("SEDP_LEAVERS", "1000"))
CANCEL_S = float(os.environ.get("SEDP_CANCEL_S", "5"))  # a busy machine may be late
ROUNDS = 20
AT_ONCE = 32
QUEUED = 5
IN_FLIGHT_BYTES_MAX = 1 << 20
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets the connection
SLOW = infer_request("gate", infer_body(1.0))
PIPELINES = {"gate": "Gate, executor: thread; deadline: 1m", "double": "Double"}


def counts(daemon: Operated) -> dict[str, Any]:
    """Everything that must be 0 when nobody asks for anything."""
    status = daemon.status()
    found = {f"in flight in {p['name']}": p["in_flight"] for p in status["pipelines"]}
    for stage in status["stages"]:
        for key in ("queue_rows", "queue_events", "running"):
            found[f"{key} of {stage['pipeline']}"] = stage[key]
    found["connections"] = status["listeners"]["data"]["connections"]
    return found


def is_empty(daemon: Operated) -> bool:
    return not any(counts(daemon).values())


def queued(daemon: Operated) -> int:
    return int(counts(daemon)["queue_events of gate"])


def cancelled(daemon: Operated) -> int:
    pipeline = next(p for p in daemon.status()["pipelines"] if p["name"] == "gate")
    return int(pipeline["outcomes"].get("cancelled", 0))


def test_queued_work_of_those_who_leave_is_removed_at_once(tmp_path: Path) -> None:
    took: list[float] = []
    with operate(tmp_path, PIPELINES) as daemon:
        with daemon.gate_shut():
            with socket.create_connection(("127.0.0.1", daemon.data_port)) as first:
                first.sendall(SLOW)
                wait_for(lambda: counts(daemon)["running of gate"] == 1)
                for _ in range(ROUNDS):
                    took.append(_leave_queue(daemon))
                assert counts(daemon)["running of gate"] == 1
            wait_for(lambda: cancelled(daemon) == ROUNDS * QUEUED + 1)  # the first has left, too
        wait_for(lambda: is_empty(daemon))
        stage = next(s for s in daemon.status()["stages"] if s["pipeline"] == "gate")
    tell(
        f"queued work of {QUEUED} callers gone after {statistics.median(took) * 1e3:.1f} ms "
        f"(median), {max(took) * 1e3:.1f} ms (worst of {ROUNDS})"
    )
    assert stage["batches"] <= 2  # of the first caller, and of warm-up: none of theirs was run
    assert statistics.median(took) <= CANCEL_S


def _leave_queue(daemon: Operated) -> float:
    """Seconds from the moment callers left until none of their work waits."""
    address = ("127.0.0.1", daemon.data_port)
    callers = [socket.create_connection(address) for _ in range(QUEUED)]
    for caller in callers:
        caller.sendall(SLOW)
    wait_for(lambda: queued(daemon) == QUEUED)
    for caller in callers:
        caller.close()
    return wait_for(lambda: queued(daemon) == 0)


def _held(found: dict[str, Any]) -> dict[str, Any]:
    """Levels that are not zero; the one connection that asks is not among them."""
    return {key: value for key, value in found.items() if value and key != "connections"}


@pytest.mark.timeout(0 if "SEDP_LEAVERS" in os.environ else 120)
def test_after_many_who_left_all_counts_are_zero(tmp_path: Path) -> None:
    limits = {"in_flight_bytes_max": "1MiB", "body_bytes_max": "1MiB"}
    dice = random.Random(int(os.environ.get("SEDP_SEED", "0")))
    with operate(tmp_path, PIPELINES | {"census": "Census"}, **limits) as daemon:
        asyncio.run(_leave_many(daemon.data_port, AT_ONCE * 4, dice))
        wait_for(lambda: counts(daemon)["connections"] == 0)
        before, tasks = daemon.footprint(), daemon.tasks()
        start = time.monotonic()
        asyncio.run(_leave_many(daemon.data_port, LEAVERS, dice))
        took_s = time.monotonic() - start
        # The connection of the census is one that counts are asked without.
        wait_for(lambda: counts(daemon)["connections"] <= 1)
        wait_for(lambda: daemon.footprint().files <= before.files + 1)
        wait_for(lambda: not _held(counts(daemon)))  # what ran when its callers left runs out
        after = daemon.footprint()
        left = daemon.tasks()
        found = counts(daemon)
        status = daemon.status()
        whole = infer_body(1.0).ljust(IN_FLIGHT_BYTES_MAX)
        assert daemon.ask(f"{daemon.data}/v2/models/double/infer", "POST", whole)[0] == 200
    responses = status["listeners"]["data"]["responses"]
    tell(f"{LEAVERS} left in {took_s:.1f} s; answers {responses}; {before} → {after}")
    assert not _held(found)
    assert responses["499"] > LEAVERS / 20
    assert left == tasks
    assert after.threads == before.threads


async def _leave_many(port: int, count: int, dice: random.Random) -> None:
    left = iter(range(count))

    async def leave() -> None:
        for _ in left:
            await _leave(port, dice)

    await asyncio.gather(*(leave() for _ in range(AT_ONCE)))


async def _leave(port: int, dice: random.Random) -> None:
    """Send all or a part of a request, and go: with a farewell, or a reset."""
    pipeline = dice.choice(["gate", "double"])
    request = infer_request(pipeline, infer_body(*[1.0] * dice.choice([1, 500])))
    cut = dice.choice([len(request), len(request), dice.randrange(len(request))])
    with contextlib.suppress(ConnectionError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        if dice.random() < 0.5:
            wire = writer.get_extra_info("socket")
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.write(request[:cut])
        await asyncio.sleep(dice.choice([0, 0, 0.002]))
        writer.close()
        await writer.wait_closed()


def test_whoever_still_waits_is_counted(tmp_path: Path) -> None:
    with operate(tmp_path, PIPELINES) as daemon:
        with daemon.gate_shut(), socket.create_connection(("127.0.0.1", daemon.data_port)) as one:
            one.sendall(SLOW)
            wait_for(lambda: counts(daemon)["in flight in gate"] == 1)
            assert not is_empty(daemon)
        wait_for(lambda: is_empty(daemon))
