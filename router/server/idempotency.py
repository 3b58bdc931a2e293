"""`Idempotency-Key`: the same key and body get the same bytes back, and are charged once.

Whole responses are held in this process, bounded in bytes, count and age. A key whose answer is held no longer (a
restart, another replica) but that the ledger knows is refused with the decision's id: answering it again would charge
it again. A try that failed before its first byte charged nothing that the caller has seen, and may be made again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from router.errors import IdempotencyConflictError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from router.clock import Clock
    from router.ports import Ledger

Send: TypeAlias = "Callable[[Any], Awaitable[None]]"
Key: TypeAlias = tuple[str | None, str]

HELD_S = 86_400.0
HELD_BYTES_MAX = 64_000_000
HELD_MAX = 10_000
ANSWER_BYTES_MAX = 4_000_000
# What a held answer takes beside its bytes: headers, key, digest, objects.
OVERHEAD_BYTES = 4_096
PARAM = "idempotency-key"


@dataclass(frozen=True, slots=True)
class Held:
    """A whole response, as it was sent."""

    digest: bytes
    start: dict[str, Any]
    body: bytes
    since_s: float

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        return len(self.body) + OVERHEAD_BYTES

    async def replay(self, send: Send) -> None:
        """Send the same status, headers and bytes again."""
        await send(self.start)
        await send({"type": "http.response.body", "body": self.body})


@dataclass(slots=True)
class _Running:
    """A first try that is on its way."""

    digest: bytes
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Idempotency:
    """Answers by key: waits for one that is on its way, repeats one that is done."""

    def __init__(
        self, ledger: Ledger, clock: Clock, *, held_max: int = HELD_MAX, bytes_max: int = HELD_BYTES_MAX
    ) -> None:
        self._ledger, self._clock = ledger, clock
        self._held_max, self._bytes_max = held_max, bytes_max
        self._held: OrderedDict[Key, Held] = OrderedDict()
        self._running: dict[Key, _Running] = {}
        self._size = 0

    async def require_answer(
        self, key: Key, body: bytes, answer: Callable[[Send], Awaitable[None]], send: Send
    ) -> Held | None:
        """Answer through ``send`` and return None, or return the answer that is held for this key and body.

        ``answer`` is called once however many callers come at a time. Raises IdempotencyConflictError for another body
        and for an answer that is held no longer, and whatever ``answer`` raises.
        """
        digest = hashlib.sha256(body).digest()
        while True:
            self._forget_old()
            known = self._held.get(key) or self._running.get(key)
            if known is None:
                break
            if known.digest != digest:
                raise IdempotencyConflictError("this Idempotency-Key was used for another body", param=PARAM)
            if isinstance(known, Held):
                return known
            await known.done.wait()  # where the first try fails, one of those that waited makes the next
        running = self._running[key] = _Running(digest)
        try:
            await self._require_unknown(key)
            recording = _Recording(send)
            await answer(recording)
            self._hold(key, digest, recording)
        finally:
            del self._running[key]
            running.done.set()
        return None

    async def _require_unknown(self, key: Key) -> None:
        key_id, idempotency_key = key
        decision_id = await self._ledger.find_idempotent(idempotency_key, key_id)
        if decision_id is not None:
            raise IdempotencyConflictError(
                f"this Idempotency-Key was answered by {decision_id}, whose answer is held no longer",
                param=PARAM,
            )

    def _hold(self, key: Key, digest: bytes, recording: _Recording) -> None:
        if recording.start is None or recording.size > ANSWER_BYTES_MAX:
            return
        held = Held(digest, recording.start, b"".join(recording.pieces), self._clock.monotonic_s())
        self._held[key] = held
        self._size += held.size
        self._forget_old()

    def _forget_old(self) -> None:
        now_s = self._clock.monotonic_s()
        while self._held:
            key, oldest = next(iter(self._held.items()))
            is_over = len(self._held) > self._held_max or self._size > self._bytes_max
            if not is_over and now_s - oldest.since_s <= HELD_S:
                return
            del self._held[key]
            self._size -= oldest.size


class _Recording:
    """Passes a response on and keeps it; a client that is gone stops the passing on, not the keeping."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.start: dict[str, Any] | None = None
        self.pieces: list[bytes] = []
        self.size = 0

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        else:
            piece = message.get("body", b"")
            self.size += len(piece)
            if self.size <= ANSWER_BYTES_MAX:
                self.pieces.append(piece)
        with contextlib.suppress(OSError):
            await self._send(message)
