"""Tells guard trips to an address of the operator's: signed, retried, and never in a request's way.

Headers and signature are those of Standard Webhooks (standardwebhooks.com): ``webhook-id`` is the same at every try, so
that a receiver can tell a repeat; ``webhook-signature`` is ``v1,`` and the base64 of HMAC-SHA256 over
``id.timestamp.body`` with the secret's bytes.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import random
from collections import deque
from typing import TYPE_CHECKING, Protocol

import aiohttp
import orjson

from router.guards import trip_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from router.clock import Clock
    from router.ledger import GuardTrip
    from router.policy import Webhook

WAITING_MAX = 1_000
TRIES_MAX = 6
PAUSE_FIRST_S, PAUSE_MAX_S = 1.0, 60.0
ANSWER_S = 10.0
OK = range(200, 300)
log = logging.getLogger("tollgate")


class WebhookObserver(Protocol):
    """Told what became of a trip that was to be told. Must neither block nor raise."""

    def webhook_told(self, outcome: str) -> None:
        """``delivered``, ``failed`` after all tries, or ``dropped`` for want of room or of a secret."""
        ...


class WebhookTeller:
    """A bounded queue and one task that empties it. ``current`` is the policy's webhook, None without one."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        current: Callable[[], Webhook | None],
        env: Mapping[str, str],
        observer: WebhookObserver,
        clock: Clock,
    ) -> None:
        self._session = session
        self._current = current
        self._env = env
        self._observer = observer
        self._clock = clock
        self._waiting: deque[GuardTrip] = deque()
        self._has_some = asyncio.Event()

    def tell(self, trip: GuardTrip) -> None:
        """Queue the trip; the oldest gives way where there is no room."""
        if self._current() is None:
            return
        if len(self._waiting) >= WAITING_MAX:
            self._waiting.popleft()
            self._observer.webhook_told("dropped")
        self._waiting.append(trip)
        self._has_some.set()

    async def run(self) -> None:
        """Tell what waits, for ever, in order."""
        while True:
            await self._has_some.wait()
            while self._waiting:
                trip, hook = self._waiting.popleft(), self._current()
                secret = None if hook is None else self._env.get(hook.secret_env)
                if hook is None or not secret:
                    name = None if hook is None else hook.secret_env
                    log.warning("webhook has no secret", extra={"fields": {"secret_env": name}})
                    self._observer.webhook_told("dropped")
                    continue
                self._observer.webhook_told("delivered" if await self._told(trip, hook.url, secret) else "failed")
            self._has_some.clear()

    async def _told(self, trip: GuardTrip, url: str, secret: str) -> bool:
        body = orjson.dumps({"type": "guard.trip", "data": trip_fields(trip)})
        name = f"{trip.guard_id}_{trip.time_ms:x}_{trip.action}"
        for turn in range(TRIES_MAX):
            if turn:
                await asyncio.sleep(random.uniform(0.5, 1.0) * min(PAUSE_FIRST_S * 2 ** (turn - 1), PAUSE_MAX_S))  # noqa: S311  # jitter
            headers = signed_headers(name, self._clock.now_ms() // 1000, body, secret)
            timeout = aiohttp.ClientTimeout(total=ANSWER_S)
            try:
                async with self._session.post(
                    url, data=body, headers=headers, timeout=timeout, allow_redirects=False
                ) as answer:
                    if answer.status in OK:
                        return True
                    problem = f"status {answer.status}"
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                problem = type(error).__name__
            log.warning("webhook failed", extra={"fields": {"try": turn + 1, "problem": problem, "webhook_id": name}})
        return False


def signed_headers(name: str, timestamp_s: int, body: bytes, secret: str) -> dict[str, str]:
    """The headers of one try."""
    signed = f"{name}.{timestamp_s}.".encode() + body
    made = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": f"v1,{base64.b64encode(made).decode()}",
    }
