"""POST /v1/chat/completions as plain ASGI: the hot route, with no framework between bytes and gateway."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from router.errors import ProviderError, RouterError
from router.policy import Terms
from router.server.auth import caller_of
from router.server.body import ClientGoneError, parse_json_object, read_body
from router.server.errors import InternalError, headers_of, openai_error_bytes
from router.server.openai_parse import parse_chat
from router.server.openai_render import (
    JSON_TYPE,
    SSE_HEADERS,
    ChunkWriter,
    bill_headers,
    completion_bytes,
    decision_headers,
)
from router.server.terms import parse_terms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from router.chat import Request
    from router.policy import Caller
    from router.server.parts import ServerParts
    from router.stream import AnswerStream

Send: TypeAlias = "Callable[[Any], Awaitable[None]]"
Receive: TypeAlias = "Callable[[], Awaitable[Any]]"

log = logging.getLogger("tollgate")


async def send_bytes(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """One whole response."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


@dataclass(frozen=True, slots=True)
class ChatRoute:
    """The ASGI application of the hot route."""

    parts: ServerParts

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request; every failure is answered in OpenAI's shape."""
        try:
            await self._serve(scope, receive, send)
        except ClientGoneError:
            return
        except RouterError as error:
            await send_bytes(send, error.http_status, [JSON_TYPE, *headers_of(error)], openai_error_bytes(error))
        except Exception:
            log.exception("internal error")
            internal = InternalError("an internal error; the log of the gateway has the details")
            await send_bytes(send, internal.http_status, [JSON_TYPE], openai_error_bytes(internal))

    async def _serve(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        parts = self.parts
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        caller = caller_of(parts, headers)
        terms = Terms()
        try:
            limits = parts.gateway.policy.limits
            raw = await read_body(receive, headers, limits.body_bytes_max, limits.body_timeout_s)
            body = parse_json_object(raw)
            terms = parse_terms(headers, body.get("metadata"), parts.salt)
            request = parse_chat(body, len(raw))
        except RouterError as error:
            parts.gateway.reject(error, caller, terms, "openai_chat")
            raise
        if terms.idempotency_key is not None:
            await parts.idempotency.serve(self, request, caller, terms, raw, send, receive)
        elif request.is_streamed:
            await self.stream(request, caller, terms, send, receive)
        else:
            await self.plain(request, caller, terms, send)

    async def plain(self, request: Request, caller: Caller, terms: Terms, send: Send) -> None:
        """A whole answer; its headers carry the bill."""
        answer = await self.parts.gateway.answer(request, caller, terms)
        headers = [JSON_TYPE, *bill_headers(answer.bill)]
        await send_bytes(send, 200, headers, completion_bytes(answer.reply, answer.bill.model))

    async def stream(
        self,
        request: Request,
        caller: Caller,
        terms: Terms,
        send: Send,
        receive: Receive,
    ) -> None:
        """A streamed answer; its last chunk carries the bill. A client that leaves is noticed between events."""
        stream = await self.parts.gateway.open_stream(request, caller, terms)
        gone = asyncio.ensure_future(_wait_gone(receive))
        try:
            headers = SSE_HEADERS + decision_headers(stream.decision, stream.model, stream.dropped)
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._forward(stream, send, gone)
        finally:
            gone.cancel()
            await stream.aclose()

    @staticmethod
    async def _forward(stream: AnswerStream, send: Send, gone: asyncio.Future[None]) -> None:
        writer = ChunkWriter(stream.model)
        try:
            async for event in stream:
                if gone.done():
                    return
                data = writer.chunk(event)
                if data:
                    await send({"type": "http.response.body", "body": data, "more_body": True})
        except ProviderError as error:
            frame = b"data: " + openai_error_bytes(error) + b"\n\n"
            await send({"type": "http.response.body", "body": frame})
            return
        assert stream.bill is not None
        await send({"type": "http.response.body", "body": writer.last(stream.usage, stream.bill)})


async def _wait_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
