"""``tollgate report --context``: what inputs are made of and what that costs, from the ledger alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from router.cli.report import PICTURES, parse_format, read_ledger, write
from router.cli.table import shown, table_text
from router.context import PARTS
from router.errors import RequestError
from router.server.contexts import context_csv, context_of_requests, context_rows, parse_context_groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.ledger import RequestQuery
    from router.ports import Ledger

COLUMNS = ("requests", "input tokens", "input USD", *PARTS, "again USD", "twice USD", "cache breaks USD / 30 d")
BREAK_COLUMNS = ("team", "key", "model", "what moves", "at", "requests", "tokens behind it", "USD / 30 d")
BREAKS_SHOWN = 10


def context(
    *, by: str, since: str, until: str | None, policy: str | None, home: str | None, form: str | None, out: str | None
) -> int:
    """Print the report, or write it to a file. Raises BadParameter, ConfigError and LedgerUnavailableError."""
    chosen = parse_format(form, out)
    try:
        names = parse_context_groups(by)
    except RequestError as error:
        raise typer.BadParameter(error.message.removeprefix("group_by: "), param_hint="--by") from None

    async def read(ledger: Ledger, query: RequestQuery, now_ms: int) -> dict[str, Any]:
        return await context_of_requests(ledger, query, names, now_ms)

    found = read_ledger(read, since=since, until=until, policy=policy, home=home)
    if chosen == "table":
        typer.echo(context_table(found, names))
    elif chosen in PICTURES:
        from router.cli.context_picture import draw

        assert out is not None, "parse_format demands a file for a picture"
        write(out, draw(found, chosen))
    else:
        text = context_csv(found) if chosen == "csv" else json.dumps(found, indent=2) + "\n"
        write(out, text.encode())
    return 0


def context_table(found: dict[str, Any], names: Sequence[str]) -> str:
    """The report for people: a row a group, the sum last, then the places that break caches, dearest first."""
    head = f"Context {found['from'][:19]}Z to {found['to'][:19]}Z"
    covered = found["coverage"]
    said = (
        f"{covered['explained']} of {covered['requests']} requests, {covered['explained_input_tokens']} of "
        f"{covered['input_tokens']} input tokens"
    )
    said += ", the newest of more" if covered["is_cut"] else ""
    if not covered["explained"]:
        return f"{head}: {said}\n\nNothing to explain: no request of this span had a long input.\n\n{found['method']}"
    rows: list[list[str]] = []
    for kind, values, each in context_rows(found):
        first = {"rest": f"{each.get('groups')} more", "totals": "all"}.get(kind)
        labels = [first, *[""] * (len(names) - 1)] if first else [shown(values[name]) for name in names]
        rows.append([*map(str, labels), *_cells(each)])
    table = table_text([*(names or ("",)), *COLUMNS], rows, left=names)
    return f"{head}: {said}\n\n{table}\n\n{_breaks(found['cache_breaks'])}\n\n{found['method']}"


def _cells(row: dict[str, Any]) -> list[str]:
    shares = [row["parts"][part]["share"] for part in PARTS]
    return [
        str(row["requests"]),
        str(row["input_tokens"]),
        row["input_cost_usd"],
        *("" if share is None else f"{share:.1%}" for share in shares),
        row["sent_before"]["again"]["cost_usd"],
        row["sent_before"]["twice"]["cost_usd"],
        row["cache_breaks"]["lost_usd_per_30_days"],
    ]


def _breaks(found: Sequence[dict[str, Any]]) -> str:
    if not found:
        return "No time or number was seen to break a prompt cache."
    rows = [
        [
            shown(each["team"]),
            shown(each["key"]),
            each["model"],
            f"a {each['why']} in the {'system prompt' if each['part'] == 'system' else 'messages'}",
            f"character {each['at_char']}",
            str(each["requests"]),
            str(each["tokens"]),
            each["lost_usd_per_30_days"],
        ]
        for each in found[:BREAKS_SHOWN]
    ]
    more = f"\n{len(found) - BREAKS_SHOWN} more: --json has them" if len(found) > BREAKS_SHOWN else ""
    left = BREAK_COLUMNS[:5]
    return f"What breaks prompt caches, dearest first:\n{table_text(BREAK_COLUMNS, rows, left=left)}{more}"
