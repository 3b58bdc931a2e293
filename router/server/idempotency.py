"""`Idempotency-Key`: the same key and body get the same bytes back, and are charged once.

Whole responses are held in this process, bounded in bytes, count and age. A key whose answer is held no longer (a
restart) but that the ledger knows is refused with the decision's id: answering it again would charge it again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from router.errors import IdempotencyConflictError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from router.chat import Request
    from router.clock import Clock
    from router.policy import Caller, Terms
    from router.ports import Ledger
    from router.server.chat import ChatRoute

HELD_S = 86_400.0
HELD_BYTES_MAX = 64_000_000
HELD_MAX = 10_000
ANSWER_BYTES_MAX = 4_000_000


@dataclass(slots=True)
class _Held:
    digest: bytes
    since_s: float
    messages: list[dict[str, Any]] = field(default_factory=list)
    size: int = 0
    is_whole: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Idempotency:
    """Answers by key: waits for one that is on its way, repeats one that is done."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger, self._clock = ledger, clock
        self._held: OrderedDict[tuple[str | None, str], _Held] = OrderedDict()
        self._size = 0

    async def serve(
        self,
        route: ChatRoute,
        request: Request,
        caller: Caller,
        terms: Terms,
        raw: bytes,
        send: Callable[[Any], Awaitable[None]],
        receive: Callable[[], Awaitable[Any]],
    ) -> None:
        """Answer the request, once. Raises IdempotencyConflictError for another body or an answer held no longer."""
        assert terms.idempotency_key is not None
        key = (caller.key_id, terms.idempotency_key)
        digest = hashlib.sha256(raw).digest()
        self._forget_old()
        held = self._held.get(key)
        while held is not None:
            if held.digest != digest:
                raise IdempotencyConflictError(
                    "this Idempotency-Key was used for another body", param="idempotency-key"
                )
            await held.done.wait()
            if held.is_whole:
                for message in held.messages:
                    await send(message)
                return
            held = self._held.get(key)  # the first try failed: one of those that waited makes the next
        held = self._held[key] = _Held(digest, self._clock.monotonic_s())
        try:
            known = await self._ledger.find_idempotent(terms.idempotency_key, caller.key_id)
            if known is not None:
                raise IdempotencyConflictError(
                    f"this Idempotency-Key was answered by {known}, whose answer is held no longer",
                    param="idempotency-key",
                )
            recorded = self._recording(held, send)
            if request.is_streamed:
                await route.stream(request, caller, terms, recorded, receive)
            else:
                await route.plain(request, caller, terms, recorded)
        finally:
            if held.is_whole:
                self._size += held.size
            else:
                self._held.pop(key, None)
            held.done.set()

    def _recording(self, held: _Held, send: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        async def record(message: dict[str, Any]) -> None:
            held.size += len(message.get("body", b"")) + 256
            if held.size <= ANSWER_BYTES_MAX:
                held.messages.append(message)
                is_end = message["type"] == "http.response.body" and not message.get("more_body", False)
                held.is_whole = held.is_whole or is_end
            await send(message)

        return record

    def _forget_old(self) -> None:
        now_s = self._clock.monotonic_s()
        while self._held:
            key, oldest = next(iter(self._held.items()))
            is_over = len(self._held) > HELD_MAX or self._size > HELD_BYTES_MAX
            if not oldest.done.is_set() or not (is_over or now_s - oldest.since_s > HELD_S):
                return
            del self._held[key]
            self._size -= oldest.size
