"""The anchor of bench `http`: aiohttp's low-level server, sending every body back. Run as a module.

It does what no server on aiohttp can leave out, and nothing else.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web


async def serve() -> None:
    async def echo(request: web.BaseRequest) -> web.Response:
        return web.Response(body=await request.read(), content_type="application/octet-stream")

    loop = asyncio.get_running_loop()
    server = await loop.create_server(web.Server(echo, access_log=None), "127.0.0.1", 0)
    sys.stdout.write(f"inference http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
