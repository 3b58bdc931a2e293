"""GET /v1/guards and what operators do: each sees its own, and only the admin key moves anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.leak_play import Choice
from router.chat import Message, Request, Text
from router.clock import parse_time_ms
from router.errors import LoopDetectedError, RouterError
from router.guards import Keeper
from router.ledger import TripQuery
from router.policy import Caller, Guards, Terms
from router.server import create_app
from router.server.guards import guard_routes
from router.stores.memory import MemoryLedger
from tests.lines import START_MS
from tests.router.server.fakes import KEYS, Sent, parts_of, send_to

if TYPE_CHECKING:
    from router.ledger import GuardTrip

USD = 1_000_000_000


@dataclass
class Clock:
    time_ms: int = START_MS

    def now_ms(self) -> int:
        return self.time_ms

    def monotonic_s(self) -> float:
        return self.time_ms / 1000


class Site:
    """A keeper that stopped a loop of the team `search`, behind its routes."""

    def __init__(self, **changes: Any) -> None:
        self.clock = Clock()
        self.ledger = MemoryLedger()
        self.keeper = Keeper(b"salt" * 8, self.ledger.append_later)
        self.parts = parts_of(ledger=self.ledger, clock=self.clock, **changes)
        self.app = create_app(self.parts, guard_routes(self.parts, self.keeper))
        for _ in range(7):
            self.ask()

    def ask(self, caller: Caller | None = None) -> RouterError | None:
        request = Request("openai_chat", "auto", (Message("user", (Text("Again?"),)),), {}, body_bytes=100)
        try:
            self.keeper.admit(
                request, caller or Caller(key_id="k1", team="search"), Terms(), Choice("dec_1", USD), Guards(),
                self.clock.now_ms(),
            )  # fmt: skip
        except RouterError as error:
            return error
        return None

    async def send(self, method: str, path: str, key: str | None = None, body: object = None) -> Sent:
        headers = {"x-api-key": key} if key else {}
        return await send_to(self.app, method, path, headers=headers, body=json.dumps(body).encode() if body else b"")

    async def trips(self) -> list[GuardTrip]:
        return [trip async for trip in self.ledger.trips(TripQuery())]


def found(sent: Sent, status: int = 200) -> Any:
    assert sent.status == status, sent.body
    return json.loads(sent.body)


SPAN = "from=2026-10-01&to=2027-01-01"


async def test_a_stop_is_told_with_its_counts_and_what_leaked() -> None:
    site = Site()
    report = found(await site.send("GET", f"/v1/guards?{SPAN}"))
    (scope,) = report["scopes"]
    assert (scope["state"], scope["guard"], scope["team"], scope["refused"]) == ("stopped", "exact_repeat", "search", 2)
    assert scope["tried_again_at"] > scope["last_asked"]
    assert [trip["action"] for trip in report["trips"]] == ["stop", "throttle"]
    assert report["trips"][0]["scope_id"] == scope["scope_id"]
    assert report["trips"][0]["evidence"]["repeats"] >= 6
    assert len(found(await site.send("GET", f"/v1/guards?{SPAN}&limit=1"))["trips"]) == 1
    assert "Again?" not in json.dumps(report)


async def test_released_it_passes_at_once_and_the_ledger_says_who_did_it() -> None:
    site = Site()
    assert isinstance(site.ask(), LoopDetectedError)
    (scope,) = found(await site.send("GET", "/v1/guards"))["scopes"]
    after = found(await site.send("POST", f"/v1/guards/{scope['scope_id']}/release"))
    assert after["state"] == "watched"
    assert site.ask() is None
    trip = (await site.trips())[0]
    assert (trip.action, trip.by, trip.scope_id) == ("release", "operator", scope["scope_id"])


async def test_exempt_it_passes_until_then_and_no_longer() -> None:
    site = Site()
    (scope,) = found(await site.send("GET", "/v1/guards"))["scopes"]
    path = f"/v1/guards/{scope['scope_id']}/exempt"
    after = found(await site.send("POST", path, body={"for": "2h"}))
    assert after["state"] == "exempt"
    assert parse_time_ms(after["exempt_until"]) == START_MS + 2 * 3_600_000
    for _ in range(30):
        assert site.ask() is None
    site.clock.time_ms += 2 * 3_600_000 + 1
    refused = [site.ask() for _ in range(9)]
    assert any(isinstance(each, RouterError) for each in refused)
    assert (await site.trips())[0].action != "exempt"


@pytest.mark.parametrize("span", ["", "2", "0h", "-1h", "31d", "2 hours", "1e3h"])
async def test_a_span_that_cannot_be_is_refused_by_name(span: str) -> None:
    site = Site()
    sent = await site.send("POST", "/v1/guards/lineage-0123456789abcdef/exempt", body={"for": span})
    assert found(sent, 400)["error"]["param"] == "for"
    missing = await site.send("POST", "/v1/guards/lineage-0123456789abcdef/exempt", body={"until": "2h"})
    assert found(missing, 400)["error"]["code"] == "invalid_request"


async def test_a_scope_that_no_guard_knows_can_be_exempt_and_not_released() -> None:
    site = Site()
    name = "lineage-0123456789abcdef"
    assert found(await site.send("POST", f"/v1/guards/{name}/release"), 404)["error"]["code"] == "scope_not_found"
    assert found(await site.send("POST", f"/v1/guards/{name}/exempt", body={"for": "1h"}))["state"] == "exempt"
    for wrong in ("lineage-1", "team-0123456789abcdef", "x" * 300):
        assert found(await site.send("POST", f"/v1/guards/{wrong}/release"), 404)["error"]["code"] == "scope_not_found"


async def test_a_key_sees_its_teams_and_moves_nothing() -> None:
    site = Site(keys=KEYS, admin_key="admin")
    for key, count in (("admin", 1), ("key-search", 1), ("key-legal", 0)):
        report = found(await site.send("GET", f"/v1/guards?{SPAN}", key))
        assert len(report["scopes"]) == count
        assert len(report["trips"]) == 2 * count
    scope_id = found(await site.send("GET", "/v1/guards", "admin"))["scopes"][0]["scope_id"]
    for path, body in ((f"/v1/guards/{scope_id}/release", None), (f"/v1/guards/{scope_id}/exempt", {"for": "1h"})):
        assert found(await site.send("POST", path, "key-search", body), 403)["error"]["code"] == "operator_only"
        assert found(await site.send("POST", path, None, body), 401)["error"]["code"] == "invalid_api_key"
    assert isinstance(site.ask(), LoopDetectedError)
    assert found(await site.send("POST", f"/v1/guards/{scope_id}/release", "admin"))["state"] == "watched"
