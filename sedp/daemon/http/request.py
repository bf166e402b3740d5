"""A request whose head was read, as handlers see it.

aiohttp's own class is ready for cookies, forms and ranges, which costs every request; this one
holds what its parser found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import HttpVersion, hdrs
from aiohttp.streams import StreamReader
from multidict import CIMultiDictProxy

if TYPE_CHECKING:
    from aiohttp.http_parser import RawRequestMessage

    from sedp.daemon.http.connection import Connection


class Request:
    """One request on a connection.

    Args:
        message: its head.
        content: its body, to be read once.
        connection: that it came on.
    """

    __slots__ = ("connection", "content", "content_length", "headers", "message")

    def __init__(
        self, message: RawRequestMessage, content: StreamReader, connection: Connection
    ) -> None:
        self.message = message
        self.content = content
        self.connection = connection
        self.headers: CIMultiDictProxy[str] = message.headers
        length = self.headers.get(hdrs.CONTENT_LENGTH)
        self.content_length = None if length is None else int(length)  # the parser saw to digits

    @property
    def method(self) -> str:
        return self.message.method

    @property
    def raw_path(self) -> str:
        """As it was sent, with its query."""
        return self.message.path

    @property
    def path(self) -> str:
        """Decoded, without a query."""
        return self.message.url.path

    @property
    def version(self) -> HttpVersion:
        return self.message.version

    @property
    def keep_alive(self) -> bool:
        return not self.message.should_close

    def _cancel(self, error: BaseException) -> None:
        """aiohttp calls it when the connection is lost: nobody must wait for the body."""
        self.content.set_exception(error)
