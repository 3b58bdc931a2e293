"""``tollgate report --chargeback``: what each owner is charged, from the ledger, without a running gateway."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from router.cli.report import parse_format, read_ledger, write
from router.cli.table import shown, table_text
from router.errors import RequestError
from router.server.chargeback import charge_rows, chargeback_csv, chargeback_of, parse_owners

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.ledger import RequestQuery
    from router.ports import Ledger

TEXTS = ("table", "json", "csv")
COLUMNS = ("requests", "attempts", "input tokens", "output tokens", "cost USD", "share", "premium USD")


def chargeback(
    *, by: str, since: str, until: str | None, policy: str | None, home: str | None, form: str | None, out: str | None
) -> int:
    """Print the report, or write it to a file. Raises BadParameter, ConfigError and LedgerUnavailableError."""
    chosen = parse_text_format(form, out)
    try:
        names = parse_owners(by)
    except RequestError as error:
        raise typer.BadParameter(error.message.removeprefix("group_by: "), param_hint="--by") from None

    async def read(ledger: Ledger, query: RequestQuery, _: int) -> dict[str, Any]:
        return await chargeback_of(ledger, query, names)

    found = read_ledger(read, since=since, until=until, policy=policy, home=home)
    if chosen == "table":
        print(charge_table(found, names))  # noqa: T201  # this command's output
    else:
        text = chargeback_csv(found) if chosen == "csv" else json.dumps(found, indent=2) + "\n"
        write(out, text.encode())
    return 0


def parse_text_format(form: str | None, out: str | None) -> str:
    """The format, which is one of words. Raises BadParameter."""
    chosen = parse_format(form, out) if form is None or form in TEXTS else form
    if chosen not in TEXTS:
        hint = "--out" if form is None else "--format"
        raise typer.BadParameter("must be table, json or csv: there is no picture of it", param_hint=hint)
    return chosen


def charge_table(found: dict[str, Any], names: Sequence[str]) -> str:
    """The report for people: a row an owner, what nobody owns, the rest, and the sum last."""
    total = found["totals"]
    rows: list[list[str]] = []
    for kind, each in charge_rows(found):
        labels = {"unallocated": "unallocated", "rest": f"{each.get('owners')} more"}
        owner = each["owner"] if kind == "owner" else {}
        first = [shown(owner.get(name)) for name in names] if kind == "owner" else [labels[kind]]
        rows.append([*first, *[""] * (len(names) - len(first)), *_cells(each, total)])
    rows.append(["all", *[""] * (len(names) - 1), *_cells(total, total)])
    head = f"Chargeback {found['from'][:19]}Z to {found['to'][:19]}Z"
    return f"{head}\n\n{table_text([*names, *COLUMNS], rows, left=names)}\n\n{found['method']}"


def _cells(row: dict[str, Any], total: dict[str, Any]) -> list[str]:
    whole = float(total["cost_usd"])
    return [
        str(row["requests"]),
        str(row["attempts"]),
        str(row["tokens"]["input"]),
        str(row["tokens"]["output"]),
        row["cost_usd"],
        f"{float(row['cost_usd']) / whole:.1%}" if whole else "",
        row["counterfactual"]["premium_cost_usd"]["point"],
    ]
