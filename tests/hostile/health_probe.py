"""How long health takes while something else goes on; a process of its own, to be a fair judge.

Each question to the server is followed by one to an echo beside it that has nothing else to do:
what that one waits is the machine's, not the server's. Closing standard input ends it.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
import time

INTERVAL_S = 0.01
QUESTION = b"GET /v2/health/live HTTP/1.1\r\nHost: probe\r\n\r\n"


def main() -> None:
    """Ask until standard input ends, then print the 99th percentiles in seconds as JSON."""
    server = (sys.argv[1], int(sys.argv[2]))
    ours, theirs = socket.socketpair()
    threading.Thread(target=_echo, args=(theirs,), daemon=True).start()
    waits: list[float] = []
    echoes: list[float] = []
    failures = 0
    while not select.select([sys.stdin], [], [], INTERVAL_S)[0]:
        try:
            waits.append(_ask(server))
        except OSError:
            failures += 1
        start = time.perf_counter()
        ours.sendall(b".")
        ours.recv(1)
        echoes.append(time.perf_counter() - start)
    result = {"asked": len(waits), "failures": failures, "p99": _p99(waits), "echo": _p99(echoes)}
    print(json.dumps(result))  # noqa: T201 # that is its answer


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


def _p99(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)] if seconds else 0.0


if __name__ == "__main__":
    main()
