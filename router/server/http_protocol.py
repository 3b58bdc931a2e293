"""uvicorn's HTTP protocol, mended where it leaves a request unread, waits for ever, or refuses in words of its own.

Java's HTTP client offers an upgrade to HTTP/2 beside each first request. The parser takes the body of such a request
for the new protocol's bytes; a server that does not upgrade has to read it as the body that it is (RFC 9110, 7.8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from router.errors import RequestError, RequestTimeoutError
from router.server.errors import headers_of, openai_error_bytes

# A head is a few hundred bytes, sent at once: what takes longer or more only holds a connection.
HEAD_TIMEOUT_S = 30.0
HEAD_BYTES_MAX = 262_144
STATUS_LINES = {
    400: b"HTTP/1.1 400 Bad Request\r\n",
    408: b"HTTP/1.1 408 Request Timeout\r\n",
}
if TYPE_CHECKING:
    import asyncio

FRAMING = (b"content-length", b"transfer-encoding")
BODY_END = b"\r\n\r\n"


class ShapedHttpProtocol(HttpToolsProtocol):
    """Ignores offers to upgrade, bounds heads, and answers what its parser cannot read as the API answers."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """A client has connected: its first head is due."""
        super().connection_made(transport)
        # When the head that is on its way began, and what it weighs so far; None while there is none.
        self._head_since_s: float | None = self.loop.time()
        self._head_bytes = 0
        # Whether a body is read whose request offered to upgrade, and how much of it is to come where that was said.
        self._is_reading_on = False
        self._body_left: int | None = None
        self._watch = self.loop.call_later(HEAD_TIMEOUT_S, self._check_head)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived."""
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self.send_400_response("")
        if self._head_since_s is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
                self._refuse(RequestError(f"the request's head has more than {HEAD_BYTES_MAX} bytes"))

    def _feed(self, data: bytes) -> None:
        """Parse piece by piece: what stands behind the body of a request with an offer is another parser's."""
        start = 0
        while start < len(data):
            if self._is_reading_on:
                end = self._piece_end(data, start)
                self.parser.feed_data(data[start:end])
                start = end
                continue
            try:
                self.parser.feed_data(data[start:] if start else data)
            except httptools.HttpParserUpgrade as offered:
                start += offered.args[0]
                self._read_on()
            else:
                return

    def _piece_end(self, data: bytes, start: int) -> int:
        """Up to where the parser that reads on may be fed, so that no piece holds more than the end of the body."""
        if self._body_left is not None:
            end = min(len(data), start + self._body_left)
            self._body_left -= end - start
            return end
        # A chunked body ends in an empty line, which may have been cut by the read before.
        if start < len(BODY_END) - 1:
            return start + 1
        found = data.find(BODY_END, start - len(BODY_END) + 1)
        return found + len(BODY_END) if found >= 0 else len(data)

    def on_message_begin(self) -> None:
        """A request's head begins."""
        self._head_since_s = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._head_since_s, self._head_bytes = None, 0
        super().on_headers_complete()

    def _check_head(self) -> None:
        """Once in a while, not once a request: is a head on its way for too long?"""
        since_s = self._head_since_s
        left_s = HEAD_TIMEOUT_S if since_s is None else since_s + HEAD_TIMEOUT_S - self.loop.time()
        if left_s > 0:
            self._watch = self.loop.call_later(left_s, self._check_head)
        elif self._head_bytes:
            self._refuse(RequestTimeoutError(f"the request's head did not arrive within {HEAD_TIMEOUT_S:g} seconds"))
        else:
            self.transport.close()  # it never spoke

    def on_message_complete(self) -> None:
        """The request is whole; one with an offer is not yet: its body was left unread."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _should_upgrade(self) -> bool:
        return False

    def _read_on(self) -> None:
        """Read the body of a request whose offer to upgrade is ignored: by a parser that only hears of its framing."""
        framing = [(name, value) for name, value in self.headers if name in FRAMING] or [(b"content-length", b"0")]
        lengths = [value for name, value in framing if name == b"content-length"]
        self._body_left = int(lengths[0]) if lengths and len(framing) == 1 else None
        self._is_reading_on = True
        self.parser = httptools.HttpRequestParser(_Body(self))
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in framing)
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + lines + b"\r\n")

    def body_complete(self) -> None:
        """The body that was read on is whole; the connection's next request is heard of in full again."""
        super().on_message_complete()
        self._is_reading_on = False
        self.parser = httptools.HttpRequestParser(self)

    def send_400_response(self, msg: str) -> None:
        """Refuse the request and close: where the next one would begin is anyone's guess."""
        del msg
        self._refuse(RequestError("the request is not HTTP/1.1: an unknown method, or a header that no header can be"))

    def _refuse(self, error: RequestError) -> None:
        self._head_since_s = None
        body = openai_error_bytes(error)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *headers_of(error),
        ]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(STATUS_LINES[error.http_status] + lines + b"\r\n" + body)
        self.transport.close()


class _Body:
    """Hears of a body and of its end."""

    def __init__(self, protocol: ShapedHttpProtocol) -> None:
        self._protocol = protocol

    def on_body(self, body: bytes) -> None:
        self._protocol.on_body(body)

    def on_message_complete(self) -> None:
        self._protocol.body_complete()
