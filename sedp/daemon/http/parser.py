"""What is taken from inside aiohttp: its parser, and private names of its `RequestHandler`.

They are checked when this is imported, so that another aiohttp is an error at the start.
"""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy
from aiohttp.web_protocol import RequestHandler

from sedp.daemon.http.limits import PARSER_LIMITS, READ_BYTES_MAX
from sedp.errors import ConfigError

_USED = {"_messages", "_waiter", "_parser", "_buffer_paused", "_reading_paused"}
_USED |= {"_max_msg_queue_size", "_force_close", "_close", "_task_handler", "_paused", "_loop"}
_USED |= {"_current_request", "_request_in_progress", "_handler_waiter", "_upgraded"}
_USED |= {"_drain_helper", "_resume_reading_if_drained"}
if missing := {name for name in _USED if not hasattr(RequestHandler, name)}:
    raise ConfigError(f"this aiohttp has no {', '.join(sorted(missing))}; install 3.14")
# Several framing weaknesses were in the pure Python parser only; it is slower, too.
if HttpRequestParser is HttpRequestParserPy:
    raise ConfigError("aiohttp has no C parser here; install its wheel for this platform")


def make_parser(protocol: BaseProtocol, loop: asyncio.AbstractEventLoop) -> HttpRequestParser:
    """aiohttp's parser within our limits; bodies are left compressed, ours is bounded."""
    return HttpRequestParser(
        protocol,
        loop,
        READ_BYTES_MAX,
        payload_exception=web.RequestPayloadError,
        auto_decompress=False,
        **PARSER_LIMITS,
    )
