"""How long health takes while something else goes on; a process of its own, to be a fair judge.

Each question to the server is followed by one to an echo beside it that has nothing else to do:
what that one waits is the machine's, not the server's. How much longer than its own time some
computing takes tells how much of a core is left. Closing standard input ends it.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
import time

INTERVAL_S = 0.01
SPIN_S = 0.001
SPIN_EVERY = 10  # questions
QUESTION = b"GET /v2/health/live HTTP/1.1\r\nHost: probe\r\n\r\n"


def main() -> None:
    """Ask until standard input ends, then write the 99th percentiles in seconds as JSON."""
    server = (sys.argv[1], int(sys.argv[2]))
    ours, theirs = socket.socketpair()
    threading.Thread(target=_echo, args=(theirs,), daemon=True).start()
    waits: list[float] = []
    echoes: list[float] = []
    failures = 0
    spins: list[float] = []
    while not select.select([sys.stdin], [], [], INTERVAL_S)[0]:
        try:
            waits.append(_ask(server))
        except OSError:
            failures += 1
        start = time.perf_counter()
        ours.sendall(b".")
        ours.recv(1)
        echoes.append(time.perf_counter() - start)
        if len(echoes) % SPIN_EVERY == 0:
            spins.append(_spin())
    result = {
        "asked": len(waits),
        "failures": failures,
        "p99": _p99(waits),
        "machine": _p99(echoes) + max(spins, default=0.0),
        "stretch": sum(spins) / (SPIN_S * len(spins)) if spins else 1.0,
    }
    sys.stdout.write(json.dumps(result))


def _ask(server: tuple[str, int]) -> float:
    """A new connection each time, as load balancers make."""
    start = time.perf_counter()
    with socket.create_connection(server, 5) as asking:
        asking.sendall(QUESTION)
        if not asking.recv(4096).startswith(b"HTTP/1.1 200"):
            raise ConnectionError
    return time.perf_counter() - start


def _echo(end: socket.socket) -> None:
    while byte := end.recv(1):
        end.sendall(byte)


def _spin() -> float:
    """How long it takes to get `SPIN_S` of computing done."""
    start, ends = time.perf_counter(), time.thread_time() + SPIN_S
    while time.thread_time() < ends:
        pass
    return time.perf_counter() - start


def _p99(seconds: list[float]) -> float:
    """Of fewer than 300, the 90th percentile: some hiccups of the machine prove nothing."""
    share = 0.99 if len(seconds) >= 300 else 0.9
    return sorted(seconds)[int(len(seconds) * share)] if seconds else 0.0


if __name__ == "__main__":
    main()
