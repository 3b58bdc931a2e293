"""uvicorn's HTTP protocol, mended where it leaves a request unread or refuses it in words of its own.

Java's HTTP client offers an upgrade to HTTP/2 beside each first request. The parser takes the body of such a request
for the new protocol's bytes; a server that does not upgrade has to read it as the body that it is (RFC 9110, 7.8).
"""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from router.errors import RequestError
from router.server.errors import headers_of, openai_error_bytes

STATUS_LINE = b"HTTP/1.1 400 Bad Request\r\n"
FRAMING = (b"content-length", b"transfer-encoding")


class ShapedHttpProtocol(HttpToolsProtocol):
    """Ignores offers to upgrade, and answers what its parser cannot read as the API answers what it cannot."""

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offered:
            self._read_on(data[offered.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("")

    def on_message_complete(self) -> None:
        """The request is whole; one with an offer is not yet: its body was left unread."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _should_upgrade(self) -> bool:
        return False

    def _read_on(self, data: bytes) -> None:
        """Read the body of a request whose offer to upgrade is ignored: by a parser that only hears of its framing."""
        framing = b"".join(name + b": " + value + b"\r\n" for name, value in self.headers if name in FRAMING)
        self.parser = httptools.HttpRequestParser(_Body(self))
        self.data_received(b"POST / HTTP/1.1\r\n" + (framing or b"content-length: 0\r\n") + b"\r\n" + data)

    def body_complete(self) -> None:
        """The body that was read on is whole; the connection's next request is heard of in full again."""
        super().on_message_complete()
        self.parser = httptools.HttpRequestParser(self)

    def send_400_response(self, msg: str) -> None:
        """Refuse the request and close: where the next one would begin is anyone's guess."""
        del msg
        error = RequestError("the request is not HTTP/1.1: an unknown method, or a header that no header can be")
        body = openai_error_bytes(error)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *headers_of(error),
        ]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(STATUS_LINE + lines + b"\r\n" + body)
        self.transport.close()


class _Body:
    """Hears of a body and of its end."""

    def __init__(self, protocol: ShapedHttpProtocol) -> None:
        self._protocol = protocol

    def on_body(self, body: bytes) -> None:
        self._protocol.on_body(body)

    def on_message_complete(self) -> None:
        self._protocol.body_complete()
