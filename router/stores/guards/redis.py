"""What guards saw, as a stream in Redis: every gateway writes its own in batches and reads the others'."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

import orjson

from router.guards import event_of, plain_of
from router.stores.redis import ANSWER_S, REDIS_ERRORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.clock import Clock
    from router.guards import Event
    from router.ledger import GuardTrip
    from router.stores.redis import Server

KEY = "tollgate:{guards}:events"
# Batches of at most 500 events; the oldest are dropped beyond so many, and by age.
BATCHES_MAX = 20_000
KEPT_MS = 86_400_000
READ_MAX = 200


class RedisGuards:
    """Implements router.ports.GuardStore."""

    every_s = 0.2

    def __init__(self, server: Server, clock: Clock, *, key: str = KEY) -> None:
        self._server = server
        self._clock = clock
        self._key = key
        self._origin = secrets.token_hex(8).encode()
        self._place: bytes | str = f"{max(clock.now_ms() - KEPT_MS, 0)}-0"

    async def publish(self, events: Sequence[Event]) -> None:
        """Tell the others."""
        told = orjson.dumps([plain_of(each) for each in events])
        fields: dict[Any, Any] = {"from": self._origin, "events": told}
        await self._asked(self._server.client.xadd(self._key, fields, maxlen=BATCHES_MAX, approximate=True))

    def noted(self, trip: GuardTrip) -> None:
        """Nothing to do: what this gateway wrote is known by its origin."""

    async def read(self) -> list[Event]:
        """What the others saw since the last time, in the order of the stream; at first what a day holds."""
        found: list[Event] = []
        while True:
            behind = f"({_text(self._place)}"
            batches: Any = await self._asked(self._server.client.xrange(self._key, behind, count=READ_MAX))
            for place, fields in batches:
                self._place = place
                if fields.get(b"from") != self._origin:
                    found += _events_in(fields.get(b"events"))
            if len(batches) < READ_MAX:
                return found

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._server.aclose()

    async def _asked(self, work: Any) -> Any:  # noqa: ANN401  # redis's commands are typed for both of its clients
        try:
            async with asyncio.timeout(ANSWER_S):
                return await work
        except REDIS_ERRORS as error:
            raise await self._server.failed(error) from None


def _text(place: bytes | str) -> str:
    return place.decode() if isinstance(place, bytes) else place


def _events_in(raw: bytes | None) -> list[Event]:
    """The events; what another version wrote and this one cannot read is passed over."""
    try:
        plain = orjson.loads(raw or b"[]")
    except orjson.JSONDecodeError:
        return []
    return [event for each in plain if (event := event_of(each)) is not None] if isinstance(plain, list) else []
