"""The least that a proxy with an HTTP library can do: plain ASGI, the body parsed once, one pooled aiohttp client.

``python -m benchmarks.floor VENDOR_URL PORT``. No key, no routing, no ledger: what it costs is the floor.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import uvicorn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

JSON_HEADERS = {"Content-Type": "application/json"}


class Floor:
    """The application; ``url`` is the vendor's Chat Completions address."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession | None = None

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer one request."""
        if scope["path"] == "/readyz":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})
            return
        body = b""
        has_more = True
        while has_more:
            message = await receive()
            body += message.get("body", b"")
            has_more = message.get("more_body", False)
        request = orjson.loads(body)
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        async with self._session.post(self._url, data=orjson.dumps(request), headers=JSON_HEADERS) as response:
            kind = response.headers["content-type"].encode()
            head = {"type": "http.response.start", "status": response.status, "headers": [(b"content-type", kind)]}
            if request.get("stream"):
                await send(head)
                while data := await response.content.readany():
                    await send({"type": "http.response.body", "body": data, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            else:
                data = await response.read()
                head["headers"].append((b"content-length", b"%d" % len(data)))  # type: ignore[attr-defined]
                await send(head)
                await send({"type": "http.response.body", "body": data})


if __name__ == "__main__":
    vendor, port = sys.argv[1:]
    uvicorn.run(
        Floor(f"{vendor}/v1/chat/completions"),
        host="127.0.0.1",
        port=int(port),
        log_config=None,
        access_log=False,
        lifespan="off",
        loop="uvloop",
        http="httptools",
    )
