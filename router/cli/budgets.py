"""``tollgate budgets``: how far each budget is spent, from the stores, without a running gateway."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from router.cli.chargeback import parse_text_format
from router.cli.report import require_ledger, write
from router.cli.table import shown, table_text
from router.clock import SystemClock
from router.config.keys import KeyRing, keys_path, load_keys
from router.config.load import load_policy
from router.config.prices import load_catalog
from router.config.settings import load_settings
from router.money import parse_usd
from router.server.auth import Reader
from router.server.budgets import budgets_csv, budgets_report
from router.stores import open_ledger
from router.stores.budgets import open_budget_store

if TYPE_CHECKING:
    from router.budgets import Budget
    from router.config.settings import Settings
    from router.policy import Policy

COLUMNS = ("budget", "owner", "window", "limit USD", "settled", "reserved", "remaining", "share", "exhausted at")
NONE = "No budget is set: `budgets:` in the policy sets some, `tollgate keys create --limit-usd` one for a key."


def budgets(*, policy: str | None, home: str | None, form: str | None, out: str | None) -> int:
    """Print the budgets, or write them to a file. Raises BadParameter, ConfigError and StoreError."""
    chosen = parse_text_format(form, out)
    settings = load_settings(policy=policy, home=home)
    loaded = load_policy(settings.policy_path, load_catalog(), datetime.now(tz=UTC).date())
    require_ledger(settings)
    # What opening the store logs, the error that follows says: one line.
    logging.getLogger("tollgate").addHandler(logging.NullHandler())
    report = asyncio.run(_read(settings, (*loaded.budgets, *_of_keys(settings, loaded))))
    rows = report["budgets"]
    if chosen == "table":
        print(_table(rows) if rows else NONE)  # noqa: T201  # this command's output
    else:
        text = budgets_csv(rows) if chosen == "csv" else json.dumps(report, indent=2) + "\n"
        write(out, text.encode())
    return 0


async def _read(settings: Settings, found: tuple[Budget, ...]) -> dict[str, Any]:
    clock = SystemClock()
    ledger = await open_ledger(settings.ledger_url, home=settings.home, clock=clock)
    try:
        urls = settings.redis_url, settings.ledger_url
        store = await open_budget_store(*urls, ledger, home=settings.home, clock=clock)
        try:
            # Asked first: without an account to tell of nothing else would notice that the store is away.
            await store.balances(())
            return await budgets_report(found, store, ledger, Reader(sees_all=True), clock.now_ms())
        finally:
            await store.aclose()
    finally:
        await ledger.aclose()


def _of_keys(settings: Settings, policy: Policy) -> tuple[Budget, ...]:
    path = keys_path(settings.home, policy.keys_file, settings.policy_path)
    if not path.exists():
        return ()
    ring = KeyRing({key.id: key for key in load_keys(path).keys})
    return tuple(budget for caller in ring.callers(SystemClock().now_ms()) for budget in caller.limits)


def _exhausted(row: dict[str, Any]) -> str:
    """When the limit is reached; for one that is, the report says the moment of asking, which is no date to plan by."""
    if row["exhausted_at"] is None:
        return ""
    is_spent = parse_usd(row["settled_usd"]) >= parse_usd(row["limit_usd"])
    return "now" if is_spent else f"{row['exhausted_at'][:16]}Z"


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [
        [
            each["name"] if each["kind"] == "hard" else f"{each['name']} (soft)",
            "everybody" if each["scope"] == "all" else shown(each["owner"]),
            each["window"] if each["zone"] == "UTC" else f"{each['window']}, {each['zone']}",
            each["limit_usd"],
            each["settled_usd"],
            each["reserved_usd"],
            each["remaining_usd"],
            f"{float(each['settled_usd']) / float(each['limit_usd']):.1%}",
            _exhausted(each),
        ]
        for each in rows
    ]
    return table_text(COLUMNS, lines, left=COLUMNS[:3])
