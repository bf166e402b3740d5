"""How not to serve: the control of every suite, which must find what is wrong here.

It takes the length for granted where the coding says otherwise, evaluates what Python's JSON takes,
tells callers why it failed, inflates without a limit, and opens the file that a name leads to.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import sys
import traceback
import zlib
from pathlib import Path
from urllib.parse import unquote


async def main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"inference  http://127.0.0.1:{port}/v2\nmetrics http://127.0.0.1:{port}/\n")
    sys.stdout.flush()
    await server.serve_forever()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"content-length: *(\d+)", head, re.IGNORECASE)
            body = await reader.readexactly(int(length[1])) if length else b""
            writer.write(_answer(head, body))
            await writer.drain()
            if "connection: close" in head.lower():
                break
    except (OSError, EOFError, asyncio.LimitOverrunError):
        pass  # the caller has gone, or never ends its head
    writer.close()


def _answer(head: str, body: bytes) -> bytes:
    id_ = re.search(r"x-request-id: *([ -~]*)", head, re.IGNORECASE)
    try:
        status, answer = 200, json.dumps(_result(head, body)).encode()
    except Exception:
        status, answer = 500, traceback.format_exc().encode()
    return (
        f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(answer)}\r\nX-Request-Id: {id_[1] if id_ else 'none'}\r\n\r\n"
    ).encode() + answer


def _result(head: str, body: bytes) -> object:
    target = head.split(" ")[1]
    if "/models/" not in target:
        return {"live": True}
    name = unquote(target.split("/models/")[1].split("/infer")[0])
    model = Path(__file__).parent / name
    if model.is_file():
        model.read_bytes()
    if "gzip" in head.lower():
        body = gzip.decompress(body)
    elif "deflate" in head.lower():
        body = zlib.decompress(body)
    request = json.loads(body)
    values = [value * 2 for value in request["inputs"][0]["data"]]
    return {"outputs": [{"name": "y", "datatype": "FP32", "shape": [len(values)], "data": values}]}


if __name__ == "__main__":
    asyncio.run(main())
