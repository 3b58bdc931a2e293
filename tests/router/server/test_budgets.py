"""GET /v1/budgets: what the store says of each account, to those whose account it is."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from router.budgets import Budget, Claim
from router.budgets.windows import windows_around
from router.errors import BudgetStoreUnavailableError
from router.money import NANO_PER_USD, parse_usd
from router.policy import Caller
from router.server import create_app
from router.server.budgets import budget_routes
from router.stores.budgets.memory import MemoryBudgets
from router.stores.memory import MemoryLedger
from tests.lines import intent_line, settlement_line
from tests.router.server.fakes import FakeKeys, Sent, parts_of, send_to

NOW_MS = round(datetime(2026, 10, 27, 12, tzinfo=UTC).timestamp() * 1000)
OWN = Budget("key:day:hard", "key", "day", 2 * NANO_PER_USD, owners=frozenset({"k1"}))
BUDGETS = (
    Budget("company-month", "all", "month", 100 * NANO_PER_USD, zone="Europe/Berlin"),
    Budget("team-day", "team", "day", NANO_PER_USD, limits_nanousd={"legal": 5 * NANO_PER_USD}),
    Budget("customers", "tag", "total", NANO_PER_USD, kind="soft", tag="customer"),
    Budget("one", "request", "total", NANO_PER_USD),
)
KEYS = FakeKeys(
    {
        "key-search": Caller(key_id="k1", team="search", limits=(OWN,)),
        "key-legal": Caller(key_id="k2", team="legal"),
    }
)


class Clock:
    def now_ms(self) -> int:
        return NOW_MS

    def monotonic_s(self) -> float:
        return 0.0


async def spend(
    store: MemoryBudgets, ledger: MemoryLedger, budget: Budget, owner: str, settled: int, held: int
) -> None:
    claim = Claim(budget.name, owner, 10**18, True, windows_around(budget.window, budget.zone, NOW_MS))
    for name, amount in (("s", settled), ("h", held)):
        grant = await store.reserve(
            f"{budget.name}-{owner}-{name}", (claim,), least_nanousd=amount, most_nanousd=amount, lease_ms=10**9
        )
    await store.settle(f"{budget.name}-{owner}-s", settled)
    decision_id = f"{budget.name}{owner}"
    await ledger.append(
        intent_line(decision_id, accounts=grant.accounts),  # type: ignore[union-attr]
        settlement_line(decision_id, cost_nanousd=settled),
    )


async def app_of(**changes: Any) -> Any:
    store, ledger = MemoryBudgets(Clock()), MemoryLedger()
    await spend(store, ledger, BUDGETS[0], "", 5 * NANO_PER_USD, 7)
    await spend(store, ledger, BUDGETS[1], "search", NANO_PER_USD * 3 // 4, 1)
    await spend(store, ledger, BUDGETS[2], "=acme", 2 * NANO_PER_USD, 0)
    await spend(store, ledger, OWN, "k1", 3, 0)
    used = changes.pop("store", store)
    parts = parts_of(ledger=ledger, clock=Clock(), **changes)
    parts.gateway = SimpleNamespace(policy=SimpleNamespace(budgets=BUDGETS))
    return create_app(parts, budget_routes(parts, used))


def found(sent: Sent, status: int = 200) -> Any:
    assert sent.status == status, sent.body
    return json.loads(sent.body)


async def test_every_account_that_spent_or_is_named_with_its_window_and_its_forecast() -> None:
    report = found(await send_to(await app_of(), "GET", "/v1/budgets"))
    rows = {(row["name"], row["owner"]): row for row in report["budgets"]}
    assert list(rows) == [
        ("company-month", None),
        ("team-day", "search"),
        ("team-day", "legal"),
        ("customers", "=acme"),
    ]
    company = rows["company-month", None]
    assert (company["from"], company["to"]) == ("2026-09-30T22:00:00.000Z", "2026-10-31T23:00:00.000Z")
    assert parse_usd(company["reserved_usd"]) == 7
    assert parse_usd(company["remaining_usd"]) == 95 * NANO_PER_USD - 7
    assert company["exhausted_at"] is None
    team = rows["team-day", "search"]
    assert (team["limit_usd"], team["exhausted_at"]) == ("1.000000000", "2026-10-27T16:00:00.000Z")
    assert rows["team-day", "legal"]["remaining_usd"] == "5.000000000"
    customer = rows["customers", "=acme"]
    assert (customer["scope"], customer["from"], customer["kind"]) == ("tag:customer", None, "soft")
    assert (customer["over_usd"], customer["remaining_usd"]) == ("1.000000000", "0.000000000")


async def test_csv_is_text_for_spreadsheets() -> None:
    sent = await send_to(await app_of(), "GET", "/v1/budgets?format=csv")
    rows = list(csv.DictReader(io.StringIO(sent.body.decode(), newline="")))
    assert [row["owner"] for row in rows] == ["", "search", "legal", "'=acme"]


async def test_a_key_sees_its_teams_account_and_its_own_and_nothing_else() -> None:
    app = await app_of(keys=KEYS, admin_key="admin")
    for key, seen in (
        ("key-search", [("team-day", "search"), ("key:day:hard", "k1")]),
        ("key-legal", [("team-day", "legal")]),
    ):
        report = found(await send_to(app, "GET", "/v1/budgets", headers={"x-api-key": key}))
        assert [(row["name"], row["owner"]) for row in report["budgets"]] == seen
    everything = found(await send_to(app, "GET", "/v1/budgets", headers={"x-api-key": "admin"}))
    assert len(everything["budgets"]) == 5
    assert found(await send_to(app, "GET", "/v1/budgets"), 401)["error"]["code"] == "invalid_api_key"


async def test_a_store_that_is_away_is_a_503_and_a_wrong_format_a_400() -> None:
    class Away(MemoryBudgets):
        async def balances(self, claims: Any) -> Any:
            raise BudgetStoreUnavailableError("Redis does not answer")

    app = await app_of(store=Away(Clock()))
    assert found(await send_to(app, "GET", "/v1/budgets"), 503)["error"]["code"] == "budget_store_unavailable"
    assert found(await send_to(await app_of(), "GET", "/v1/budgets?format=xml"), 400)["error"]["param"] == "format"
