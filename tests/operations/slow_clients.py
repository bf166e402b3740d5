"""Clients that are slow on purpose; a process of its own, to cost the judge of others no time.

Kinds: `heads` send a byte of a head now and then, `bodies` one of a body, `idle` say nothing,
`unread` ask for a large answer and read nothing of it. Arguments: the port, and pairs of a kind
and how many. Writes a line once all have connected and begun; from then on the seconds that each
had to wait until the server closed its connection, a line of `kind seconds` each. Whoever reads
nothing cannot see that end: of those only the server can tell. Closing standard input ends it.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from dataclasses import dataclass

BYTE_EVERY_S = 0.5
LARGE_ROWS = 256  # of 16 KiB each
RECEIVE_BYTES = 4096  # little, or the kernel would take much of the answer
HEAD = b"POST /v2/models/%s/infer HTTP/1.1\r\nHost: localhost\r\n"


@dataclass(slots=True)
class Client:
    """One connection.

    Args:
        more: a byte to send now and then; b"" to be silent.
    """

    kind: str
    wire: socket.socket
    more: bytes
    since_s: float


def main() -> None:
    port = int(sys.argv[1])
    kinds = {sys.argv[at]: int(sys.argv[at + 1]) for at in range(2, len(sys.argv), 2)}
    clients = [connect(port, kind) for kind, count in kinds.items() for _ in range(count)]
    tell("connected")
    by_file = {client.wire.fileno(): client for client in clients}
    poll = select.poll()
    for client in clients:
        poll.register(client.wire, 0 if client.kind == "unread" else select.POLLIN)
    poll.register(sys.stdin, select.POLLIN)
    sent_s = time.monotonic()
    while True:
        for file, _ in poll.poll(BYTE_EVERY_S * 1000 / 4):
            if file == sys.stdin.fileno():
                return
            if has_ended(by_file[file].wire):
                client = by_file.pop(file)
                poll.unregister(file)
                tell(f"{client.kind} {time.monotonic() - client.since_s}")
        if time.monotonic() - sent_s > BYTE_EVERY_S:
            sent_s = time.monotonic()
            for client in by_file.values():
                send(client.wire, client.more)


def connect(port: int, kind: str) -> Client:
    """Connect, and begin to be slow."""
    wire = socket.socket()
    if kind == "unread":
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    wire.connect(("127.0.0.1", port))
    since_s = time.monotonic()
    first, more = {"heads": slow_head, "bodies": slow_body, "idle": silence, "unread": greedy}[
        kind
    ]()
    wire.sendall(first)
    wire.setblocking(False)
    return Client(kind, wire, more, since_s)


def slow_head() -> tuple[bytes, bytes]:
    return HEAD % b"double" + b"X-Slow: ", b"a"


def slow_body() -> tuple[bytes, bytes]:
    return HEAD % b"double" + b"Content-Length: 1000\r\n\r\n", b" "


def silence() -> tuple[bytes, bytes]:
    return b"", b""


def greedy() -> tuple[bytes, bytes]:
    tensor = {"name": "x", "datatype": "FP32", "shape": [LARGE_ROWS], "data": [1.0] * LARGE_ROWS}
    question = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    body = json.dumps(question).encode()
    return HEAD % b"wide" + b"Content-Length: %d\r\n\r\n" % len(body) + body, b""


def send(wire: socket.socket, data: bytes) -> None:
    try:
        wire.send(data)
    except OSError:
        return  # closed just now: the next look will find it


def has_ended(wire: socket.socket) -> bool:
    """Read what came; whether it was the end."""
    try:
        while wire.recv(1 << 16):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
