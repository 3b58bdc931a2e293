"""Trips told to an operator's address: signed, retried under one id, bounded; against a real server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from router.clock import SystemClock
from router.ledger import GuardTrip
from router.policy import Webhook
from router.server import webhook
from router.server.webhook import TRIES_MAX, WAITING_MAX, WebhookTeller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "whsec-sesame"
TRIP = GuardTrip(
    "grd_1", 1_793_000_000_000, "near_repeat", "stop", "lineage", "lineage-0123456789abcdef", team="search",
    leaked_nanousd=1_080_000_000, evidence={"repeats": 6},
)  # fmt: skip


class Receiver:
    """A server that answers as the list says, then 200."""

    def __init__(self) -> None:
        self.answers: list[int | str] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.got.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        answer = self.answers.pop(0) if self.answers else 200
        if answer == "stall":
            await asyncio.sleep(30)
        if answer == "redirect":
            raise web.HTTPFound("/elsewhere")
        return web.Response(status=int(answer) if not isinstance(answer, str) else 200)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield found
    await runner.cleanup()


class Seen:
    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def webhook_told(self, outcome: str) -> None:
        self.outcomes.append(outcome)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "PAUSE_FIRST_S", 0.01)
    monkeypatch.setattr(webhook, "ANSWER_S", 0.3)


async def told(
    receiver: Receiver, *trips: GuardTrip, env: dict[str, str] | None = None, count: int | None = None
) -> Seen:
    """What became of the trips."""
    seen = Seen()
    async with aiohttp.ClientSession() as session:
        hook = Webhook(receiver.url, "HOOK_SECRET")
        teller = WebhookTeller(
            session, lambda: hook, {"HOOK_SECRET": SECRET} if env is None else env, seen, SystemClock()
        )
        for trip in trips:
            teller.tell(trip)
        running = asyncio.ensure_future(teller.run())
        for _ in range(1_000):
            if len(seen.outcomes) >= (len(trips) if count is None else count):
                break
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return seen


async def test_a_trip_is_told_signed_with_its_counts_and_nothing_else(receiver: Receiver) -> None:
    assert (await told(receiver, TRIP)).outcomes == ["delivered"]
    ((headers, body),) = receiver.got
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    said: Any = json.loads(body)
    assert said["type"] == "guard.trip"
    assert (said["data"]["action"], said["data"]["leaked_usd"]) == ("stop", "1.080000000")
    assert SECRET.encode() not in body


async def test_what_fails_is_tried_again_under_the_same_id(receiver: Receiver) -> None:
    receiver.answers = [500, "stall", 429, "redirect"]
    assert (await told(receiver, TRIP)).outcomes == ["delivered"]
    assert len(receiver.got) == 5
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len({body for _, body in receiver.got}) == 1


async def test_it_gives_up_and_goes_on_with_the_next(receiver: Receiver) -> None:
    receiver.answers = [503] * TRIES_MAX
    later = GuardTrip("grd_2", TRIP.time_ms + 1, "fan_out", "stop", "lineage", "lineage-0123456789abcdef")
    assert (await told(receiver, TRIP, later)).outcomes == ["failed", "delivered"]
    assert len(receiver.got) == TRIES_MAX + 1


async def test_without_a_secret_nothing_is_sent(receiver: Receiver) -> None:
    assert (await told(receiver, TRIP, env={})).outcomes == ["dropped"]
    assert receiver.got == []


async def test_nobody_there_is_a_failure_and_no_harm(receiver: Receiver) -> None:
    receiver.url = "http://127.0.0.1:9/"
    assert (await told(receiver, TRIP)).outcomes == ["failed"]


async def test_the_queue_is_bounded_and_the_oldest_give_way(receiver: Receiver) -> None:
    trips = [GuardTrip(f"grd_{n}", n, "fan_out", "stop", "lineage", "lineage-0") for n in range(WAITING_MAX + 3)]
    seen = await told(receiver, *trips, count=4)
    assert seen.outcomes[:3] == ["dropped"] * 3
    assert json.loads(receiver.got[0][1])["data"]["guard_id"] == "grd_3"


async def test_without_a_webhook_nothing_waits() -> None:
    async with aiohttp.ClientSession() as session:
        teller = WebhookTeller(session, lambda: None, {}, Seen(), SystemClock())
        teller.tell(TRIP)
        assert not teller._waiting
