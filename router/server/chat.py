"""POST /v1/chat/completions as plain ASGI: the hot route, with no framework between bytes and gateway."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from router.errors import InvalidApiKeyError, RouterError
from router.policy import Terms
from router.server.auth import caller_of
from router.server.body import ClientGoneError, parse_json_object, read_body
from router.server.errors import headers_of, internal_error_of, openai_error_bytes
from router.server.openai_parse import parse_chat
from router.server.openai_render import JSON_TYPE, bill_headers, completion_bytes, decision_headers
from router.server.openai_stream import SSE_HEADERS, ChunkWriter
from router.server.terms import headers_of_scope, parse_terms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from prometheus_client import Counter

    from router.chat import Request
    from router.policy import Caller
    from router.server.parts import ServerParts
    from router.stream import AnswerStream

Send: TypeAlias = "Callable[[Any], Awaitable[None]]"
Receive: TypeAlias = "Callable[[], Awaitable[Any]]"

# What has arrived together goes out together, up to this much in one write.
WRITE_BYTES_MAX = 65_536


async def send_bytes(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """One whole response."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: RouterError) -> None:
    """An error as a whole response, in OpenAI's shape."""
    await send_bytes(send, error.http_status, [JSON_TYPE, *headers_of(error)], openai_error_bytes(error))


@dataclass(frozen=True, slots=True)
class ChatRoute:
    """The ASGI application of the hot route; ``unauthenticated`` counts requests without a valid key."""

    parts: ServerParts
    unauthenticated: Counter

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request; every failure is answered in OpenAI's shape."""
        try:
            await self._serve(scope, receive, send)
        except ClientGoneError:
            return
        except InvalidApiKeyError as error:
            self.unauthenticated.inc()
            await send_error(send, error)
        except RouterError as error:
            await send_error(send, error)
        except Exception as error:  # noqa: BLE001  # the outermost handler: a bug is answered too
            await send_error(send, internal_error_of(error))

    async def _serve(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        parts = self.parts
        headers = headers_of_scope(scope["headers"])
        caller = caller_of(parts, headers)
        request, terms, raw = await self._read(headers, receive, caller)
        if terms.idempotency_key is None:
            await self._answer(request, caller, terms, send, receive)
            return

        async def answer(recorded: Send) -> None:
            # Nobody is listened for: a client that left may come back for the answer with the same key.
            await self._answer(request, caller, terms, recorded, None)

        key = (caller.key_id, terms.idempotency_key)
        try:
            held = await parts.idempotency.require_answer(key, raw, answer, send)
        except RouterError as error:
            if error.decision_id is None:
                error.decision_id = parts.gateway.reject(error, caller, terms, "openai_chat")
            raise
        if held is not None:
            await held.replay(send)

    async def _read(self, headers: Mapping[str, str], receive: Receive, caller: Caller) -> tuple[Request, Terms, bytes]:
        """The request, its terms and its bytes; one that is refused here is written down."""
        parts = self.parts
        terms = Terms()
        try:
            limits = parts.gateway.policy.limits
            raw = await read_body(receive, headers, limits.body_bytes_max, limits.body_timeout_s)
            body = parse_json_object(raw)
            terms = parse_terms(headers, body.get("metadata"), parts.salt)
            return parse_chat(body, len(raw)), terms, raw
        except RouterError as error:
            error.decision_id = parts.gateway.reject(error, caller, terms, "openai_chat")
            raise

    async def _answer(
        self, request: Request, caller: Caller, terms: Terms, send: Send, receive: Receive | None
    ) -> None:
        if request.is_streamed:
            await self._stream(request, caller, terms, send, receive)
            return
        answer = await self.parts.gateway.answer(request, caller, terms)
        body = completion_bytes(answer.reply, answer.bill, self._now_s())
        await send_bytes(send, 200, [JSON_TYPE, *bill_headers(answer.bill)], body)

    async def _stream(
        self, request: Request, caller: Caller, terms: Terms, send: Send, receive: Receive | None
    ) -> None:
        """A streamed answer; its last chunk carries the bill. A client that leaves is noticed between events."""
        stream = await self.parts.gateway.open_stream(request, caller, terms)
        gone = asyncio.ensure_future(_wait_gone(receive)) if receive is not None else None
        try:
            decision = stream.decision
            writer = ChunkWriter(
                stream.model, decision.decision_id, self._now_s(), wants_usage=request.wants_stream_usage
            )
            headers = SSE_HEADERS + decision_headers(
                decision,
                stream.model,
                stream.dropped,
                stream.cascade,
                stream.budget_remaining_nanousd,
                stream.lineage,
                stream.guard,
            )
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await _forward(stream, writer, send, gone)
        finally:
            if gone is not None:
                gone.cancel()
            await stream.aclose()

    def _now_s(self) -> int:
        return self.parts.clock.now_ms() // 1000


async def _forward(stream: AnswerStream, writer: ChunkWriter, send: Send, gone: asyncio.Future[None] | None) -> None:
    pending = b""
    try:
        async for event in stream:
            pending += writer.chunk(event)
            if pending and (len(pending) >= WRITE_BYTES_MAX or not stream.has_ready):
                if gone is not None and gone.done():
                    return
                await send({"type": "http.response.body", "body": pending, "more_body": True})
                pending = b""
        assert stream.bill is not None
        pending += writer.last(stream.usage, stream.bill)
    except RouterError as error:
        pending += writer.broken(openai_error_bytes(error))
    except Exception as error:  # noqa: BLE001  # the outermost handler once the response has started
        pending += writer.broken(openai_error_bytes(internal_error_of(error)))
    await send({"type": "http.response.body", "body": pending})


async def _wait_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
