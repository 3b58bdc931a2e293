"""uvicorn's HTTP protocol, but for bytes that are no HTTP: their refusal is in the shape of every other one."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from router.errors import RequestError
from router.server.errors import headers_of, openai_error_bytes

STATUS_LINE = b"HTTP/1.1 400 Bad Request\r\n"


class ShapedHttpProtocol(HttpToolsProtocol):
    """Answers what its parser cannot read as the API answers what it cannot."""

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
