"""``tollgate report``: the savings report from the ledger, without a running gateway."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from router.clock import SystemClock, parse_time_ms
from router.config.load import load_policy
from router.config.prices import load_catalog
from router.config.settings import load_settings
from router.errors import ConfigError, RequestError
from router.ledger import RequestQuery
from router.server.reports import csv_of, parse_groups, report_of
from router.stores import open_ledger

SPAN = re.compile(r"^(\d{1,5})([hdw])$")
UNIT_MS = {"h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def parse_since(text: str, now_ms: int) -> int:
    """Milliseconds of ``7d``, ``12h``, ``2w`` ago or of a time. Raises ConfigError."""
    match = SPAN.match(text)
    if match:
        return now_ms - int(match.group(1)) * UNIT_MS[match.group(2)]
    try:
        return parse_time_ms(text)
    except ValueError:
        raise ConfigError("--since: must be a span such as 7d, 12h or 2w, or a time such as 2026-11-01") from None


def report(*, by: str, since: str, policy: str | None, home: str | None, form: str) -> int:
    """Print the report as a table, JSON or CSV."""
    if form not in ("table", "json", "csv"):
        raise ConfigError("--format: must be table, json or csv")
    settings = load_settings(policy=policy, home=home)
    loaded = load_policy(settings.policy_path, load_catalog(), datetime.now(tz=UTC).date())
    clock = SystemClock()
    query = RequestQuery(from_ms=parse_since(since, clock.now_ms()), to_ms=clock.now_ms() + 1)
    try:
        names = parse_groups(by)
    except RequestError as error:
        raise ConfigError(f"--by: {error.message}") from None

    async def read() -> dict[str, object]:
        ledger = await open_ledger(settings.ledger_url, home=settings.home, clock=clock)
        try:
            return await report_of(ledger, loaded, query, names)
        finally:
            await ledger.aclose()

    found = asyncio.run(read())
    if form == "json":
        print(json.dumps(found, indent=2))  # noqa: T201  # this command's output
    elif form == "csv":
        print(csv_of(found), end="")  # noqa: T201  # this command's output
    else:
        show(found, names)
    return 0


def show(found: dict[str, object], names: tuple[str, ...]) -> None:
    """The report for people."""
    totals, groups = found["totals"], found["groups"]
    assert isinstance(totals, dict)
    assert isinstance(groups, list)
    table = Table(title=f"savings {found['from']} .. {found['to']} (modelled, not measured)")
    for column in (*names, "requests", "cost USD", "premium USD (low .. high)", "savings USD (low .. high)", "share"):
        table.add_column(column, justify="left" if column in names else "right")
    for row in (*groups, totals):
        cells = [str(row.get(name) or "unallocated") for name in names] if row is not totals else ["all"] * len(names)
        premium, savings = row["premium_cost_usd"], row["savings_usd"]
        share = row["savings_share"]
        table.add_row(
            *cells,
            str(row["requests"]),
            row["realized_cost_usd"],
            f"{premium['point']} ({premium['low']} .. {premium['high']})",
            f"{savings['point']} ({savings['low']} .. {savings['high']})",
            "" if share is None else f"{share:.1%}",
        )
    console = Console()
    console.print(table)
    console.print(str(found["method"]), style="dim")
