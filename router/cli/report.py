"""``tollgate report``: the savings report from the ledger, without a running gateway."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from router.cli.table import shown, table_text
from router.clock import SystemClock, parse_time_ms
from router.config.load import load_policy
from router.config.prices import load_catalog
from router.config.settings import load_settings
from router.errors import ConfigError, RequestError
from router.ledger import RequestQuery
from router.server.query import DAY_MS, HOUR_MS, parse_ago
from router.server.reports import csv_of, parse_groups, report_of
from router.stores import open_ledger, sqlite_path_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from router.config.settings import Settings
    from router.ports import Ledger

Made = TypeVar("Made")

TEXTS, PICTURES = ("json", "csv"), ("png", "svg")
FORMATS = ("table", *TEXTS, *PICTURES)


@dataclass(frozen=True, slots=True)
class Found:
    """What the ledger says: the report by the groups asked for, and for a picture the same by moments."""

    by_group: dict[str, Any]
    by_moment: dict[str, Any] | None = None


def parse_since(text: str, now_ms: int) -> int:
    """Milliseconds of ``7d``, ``12h``, ``2w`` ago or of a time. Raises BadParameter."""
    ago_ms = parse_ago(text, now_ms)
    try:
        since_ms = parse_time_ms(text) if ago_ms is None else ago_ms
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            "must be a span such as 7d, 12h or 2w, or a time such as 2026-11-01", param_hint="--since"
        ) from None
    if since_ms > now_ms:
        raise typer.BadParameter("is in the future", param_hint="--since")
    return since_ms


def parse_until(text: str | None, since_ms: int, now_ms: int) -> int:
    """Milliseconds of a time, now without one. Raises BadParameter."""
    if text is None:
        return now_ms + 1
    try:
        until_ms = parse_time_ms(text)
    except (ValueError, OverflowError):
        raise typer.BadParameter("must be a time such as 2026-12-01", param_hint="--until") from None
    if until_ms <= since_ms:
        raise typer.BadParameter("is not after --since", param_hint="--until")
    return until_ms


def parse_format(form: str | None, out: str | None) -> str:
    """The format that was asked for, or that the file's name says. Raises BadParameter where they cannot be."""
    suffix = Path(out).suffix.removeprefix(".").lower() if out else ""
    chosen = form or (suffix if suffix in FORMATS[1:] else "table")
    if chosen not in FORMATS:
        raise typer.BadParameter(f"must be {', '.join(FORMATS[:-1])} or {FORMATS[-1]}", param_hint="--format")
    if chosen in PICTURES and out is None:
        raise typer.BadParameter(f"{chosen} needs a file", param_hint="--out")
    if chosen == "table" and out is not None:
        raise typer.BadParameter(
            "a table goes to the terminal; a file is .json, .csv, .png or .svg", param_hint="--out"
        )
    return chosen


def parse_by(text: str) -> tuple[str, ...]:
    """Group-by names. Raises BadParameter."""
    try:
        return parse_groups(text)
    except RequestError as error:
        raise typer.BadParameter(error.message.removeprefix("group_by: "), param_hint="--by") from None


def moment_of(span_ms: int) -> str:
    """How finely a picture tells the time of a span."""
    if span_ms <= 2 * HOUR_MS:
        return "minute"
    return "hour" if span_ms <= 2 * DAY_MS else "day"


def require_ledger(settings: Settings) -> None:
    """Raise ConfigError where there is no ledger: a report makes none."""
    if settings.ledger_url == "memory://":
        raise ConfigError("memory://: a ledger in memory ends with its process; there is nothing to report")
    path = sqlite_path_of(settings.ledger_url, settings.home)
    if path is not None and not path.is_file():
        raise ConfigError(f"{path}: there is no ledger: start the gateway with `tollgate serve`, or name its --home")


def read_ledger(
    work: Callable[[Ledger, RequestQuery, int], Awaitable[Made]],
    *,
    since: str,
    until: str | None,
    policy: str | None,
    home: str | None,
) -> Made:
    """What ``work`` makes of the ledger, the query for the span, and the time. Raises BadParameter and ConfigError."""
    clock = SystemClock()
    now_ms = clock.now_ms()
    from_ms = parse_since(since, now_ms)
    query = RequestQuery(from_ms=from_ms, to_ms=parse_until(until, from_ms, now_ms))
    settings = load_settings(policy=policy, home=home)
    require_ledger(settings)

    async def read() -> Made:
        ledger = await open_ledger(settings.ledger_url, home=settings.home, clock=clock)
        try:
            return await work(ledger, query, now_ms)
        finally:
            await ledger.aclose()

    return asyncio.run(read())


def report(
    *,
    by: str,
    since: str,
    policy: str | None,
    home: str | None,
    form: str | None,
    out: str | None = None,
    until: str | None = None,
) -> int:
    """Print the report, or write it to a file. Raises BadParameter, ConfigError and LedgerUnavailableError."""
    chosen, names = parse_format(form, out), parse_by(by)
    settings = load_settings(policy=policy, home=home)
    loaded = load_policy(settings.policy_path, load_catalog(), datetime.now(tz=UTC).date())
    is_picture = chosen in PICTURES
    if is_picture and not names:
        names = ("model",)

    async def read(ledger: Ledger, query: RequestQuery, _: int) -> Found:
        by_group = await report_of(ledger, loaded, query, names)
        moment = moment_of(query.to_ms - query.from_ms)
        return Found(by_group, await report_of(ledger, loaded, query, (moment,)) if is_picture else None)

    found = read_ledger(read, since=since, until=until, policy=policy, home=home)
    if chosen == "table":
        show(found.by_group, names)
    elif found.by_moment is not None:
        from router.cli.picture import draw

        assert out is not None
        write(out, draw(found.by_group, found.by_moment, chosen))
    else:
        text = csv_of(found.by_group) if chosen == "csv" else json.dumps(found.by_group, indent=2) + "\n"
        write(out, text.encode())
    return 0


def write(out: str | None, content: bytes) -> None:
    """To the file, or to standard output without one. Raises ConfigError."""
    if out is None:
        typer.echo(content.decode(), nl=False)
        return
    try:
        Path(out).write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {error.strerror}") from error


def range_text(amounts: dict[str, str]) -> str:
    """Low to high."""
    return f"{amounts['low']} .. {amounts['high']}"


def unnamed(name: str) -> str:
    """What stands for a request without the name: no model answered it, or nobody's money paid for it."""
    return {"model": "no model", "tier": "no tier named"}.get(name, "unallocated")


def show(found: dict[str, Any], names: tuple[str, ...]) -> None:
    """Print the report for people: a row a group, the sum last, its ranges in words; no line of it is ever cut."""
    totals = found["totals"]
    lines = [f"Savings {found['from'][:19]}Z to {found['to'][:19]}Z", str(totals["measured_why"]), ""]
    if not totals["requests"]:
        lines.append("No requests in this span.")
        print("\n".join(lines))  # noqa: T201  # this command's output
        return
    # Where it fits, each row has its ranges; elsewhere they are left to the lines below.
    wide = savings_table(found, names, has_ranges=True)
    fits = max(map(len, wide.splitlines())) <= get_terminal_size().columns
    lines += [wide if fits else savings_table(found, names, has_ranges=False), ""]
    if found["rest"] is not None:
        lines.append(f"{found['rest']['groups']} more groups: {found['rest']['realized_cost_usd']} USD")
    lines.append(f"premium low .. high: {range_text(totals['premium_cost_usd'])}")
    lines.append(f"savings low .. high: {range_text(totals['savings_usd'])}")
    lines += [quality_line(row) for row in found["quality"]]
    print("\n".join([*lines, "", str(found["method"])]))  # noqa: T201  # this command's output


def savings_table(found: dict[str, Any], names: tuple[str, ...], *, has_ranges: bool) -> str:
    """The groups and their sum."""
    ranged = ["low .. high"] if has_ranges else []
    columns = [*(names or ("",)), "requests", "answered", "cost USD", "premium USD", *ranged, "savings USD", *ranged]
    rows: list[list[str]] = []
    for row in (*found["groups"], found["totals"]):
        if row is found["totals"]:
            labels = ["all", *[""] * (len(names) - 1)]
        else:
            labels = [unnamed(name) if row[name] is None else shown(str(row[name])) for name in names]
        amounts: list[str] = []
        for kind in ("premium_cost_usd", "savings_usd"):
            amounts += [row[kind]["point"], *([range_text(row[kind])] if has_ranges else [])]
        share = "" if row["savings_share"] is None else f"{row['savings_share']:.1%}"
        rows.append([*labels, str(row["requests"]), str(row["answered"]), row["realized_cost_usd"], *amounts, share])
    return table_text([*columns, "share"], rows, left=names or ("",))


def quality_line(row: dict[str, Any]) -> str:
    """What one tier lost, or why nobody can tell yet."""
    title = f"quality {row['tier']} (tolerance {row['tolerance']:g})"
    loss = row["realised_loss"]
    if loss is None:
        return f"{title}: {row['why']}"
    if not row["routed_share"]:
        return f"{title}: premium answered every request"
    return (
        f"{title}: loss {loss['point']:.3f}, 95 % within {loss['low']:.3f} .. {loss['high']:.3f}, by {row['labels']} "
        f"labels; {row['routed_share']:.0%} routed, promise {row['promise']}"
    )
