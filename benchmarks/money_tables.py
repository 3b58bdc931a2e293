"""The money benchmark's figures as tables for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.invoice import EXPLAINED, UNEXPLAINED
from router.money import usd_of


def print_result(figures: dict[str, Any]) -> None:
    """Print every table, and the verdict last."""
    console = Console(width=140, highlight=False)
    load = figures["load"]
    console.print(
        f"{load['requests']} requests ({figures['streamed']} streamed) in {load['seconds']} s;"
        f" lengths: {load['origin']['lengths']}, agents: {load['origin']['agents']}; ledger {figures['ledger']}"
    )
    for name in ("kinds", "tokens", "outcomes", "errors_told", "faults_fired", "faults_never_met"):
        shown = [f"{key} {value}" for key, value in figures[name].items()]
        console.print(f"{name.replace('_', ' ')}: {', '.join(shown) or 'none'}")
    console.print(_books(figures["books"]))
    console.print(_classes(figures["vendors"]))
    for cause, row in figures["vendors"]["by_cause"].items():
        sums = ", ".join(f"{column} {usd_of(row[f'{column}_nanousd'])}" for column in ("charged", "billed", "off"))
        console.print(f"  {cause}: {row['attempts']} ({sums})")
    console.print(_tiers(figures["tiers"]))
    console.print(_premium(figures["premium"]))
    for finding in figures["findings"]:
        console.print(f"UNEXPLAINED {finding}")
    console.print("every difference is explained" if figures["ok"] else f"{len(figures['findings'])} findings")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if at else "left")
    return table


def _books(books: dict[str, int]) -> Table:
    table = _table("the books", "book", "USD")
    for name, amount in books.items():
        table.add_row(name.removesuffix("_nanousd").replace("_", ", "), usd_of(amount))
    return table


def _classes(vendors: dict[str, Any]) -> Table:
    title = "ledger against the vendors' bill, call by call; off: how far each charge lies from its bill, summed"
    table = _table(title, "class", "attempts", "charged USD", "billed USD", "off USD")
    for name in (*EXPLAINED, *UNEXPLAINED):
        row = vendors["classes"][name]
        amounts = (usd_of(row[f"{column}_nanousd"]) for column in ("charged", "billed", "off"))
        table.add_row(name, str(row["attempts"]), *amounts)
    return table


def _tiers(tiers: dict[str, dict[str, int]]) -> Table:
    models = sorted({model for counts in tiers.values() for model in counts})
    table = _table("answered requests, share of each model by tier", "model", *tiers)
    for model in models:
        cells = [(counts.get(model, 0), sum(counts.values())) for counts in tiers.values()]
        table.add_row(model, *(f"{n} ({n / total:.1%})" if n else "" for n, total in cells))
    table.add_row("all", *(str(sum(counts.values())) for counts in tiers.values()))
    return table


def _premium(premium: dict[str, Any]) -> Table:
    table = _table(
        "dollars against always premium (modelled)", "tier", "requests", "cost USD", "low", "point", "high", "saved"
    )
    for tier, row in premium["tiers"].items():
        ends = [row.get(f"premium_{end}_nanousd", 0) for end in ("low", "point", "high")]
        cost = row.get("realized_nanousd", 0)
        saved = f"{(ends[1] - cost) / ends[1]:.1%}" if ends[1] else ""
        table.add_row(tier, str(row.get("requests", 0)), usd_of(cost), *map(usd_of, ends), saved)
    whole = premium["premium_cost_usd"]
    table.add_row(
        "all",
        str(premium["requests"]),
        premium["realized_cost_usd"],
        *(whole[end] for end in ("low", "point", "high")),
        f"{premium['savings_share']:.1%}",
    )
    return table
