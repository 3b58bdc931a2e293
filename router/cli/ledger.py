"""``tollgate ledger verify|export|migrate|close``."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from router.cli.streams import bar_console
from router.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rich.progress import Progress as Bar

    from router.stores.sql.ledger import SqlLedger
    from router.stores.sql.verify import Verdict

app = typer.Typer(help="The ledger: verify, export, migrate, close.", no_args_is_help=True, rich_markup_mode=None)

Home = Annotated[
    str | None,
    typer.Option("--home", metavar="FOLDER", help="Folder of ledger and keys [env TOLLGATE_HOME; .tollgate]."),
]
Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="sqlite:///path or postgresql://.. [env TOLLGATE_LEDGER_URL]."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

DAY_MS = 86_400_000


@app.command()
def verify(url: Url = None, home: Home = None, as_json: Json = False) -> None:
    """Check the books.

    Every chain of hashes, every request's sums, and that every intent is closed. Exit 1 when something is wrong, and
    when the ledger has no line: of an empty one nothing can be said, and a copy that lost its lines is one.
    """
    raise typer.Exit(asyncio.run(_verify(_url_of(url, home), as_json=as_json)))


@app.command()
def export(
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="The file to write; - for standard output.")],
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="jsonl, csv or parquet [what --out ends in; jsonl for -]."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Days such as 7d, or a time such as 2026-11-01.")
    ] = None,
    url: Url = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write the requests to a file.

    Exact integers beside decimal USD, never a prompt, an answer or a key.
    """
    chosen = _export_format(form, out)
    raise typer.Exit(asyncio.run(_export(_url_of(url, home), chosen, out, _since_ms(since), as_json=as_json)))


@app.command()
def migrate(
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Fold every request again from its lines.")] = False,
    url: Url = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Bring it to this version's schema.

    Stop the gateways first.
    """
    raise typer.Exit(asyncio.run(_migrate(_url_of(url, home), rebuild=rebuild, as_json=as_json)))


@app.command()
def close(url: Url = None, home: Home = None, as_json: Json = False) -> None:
    """Close what a crash left open.

    Intents whose lease has run out, at their hold; a running gateway does so by itself.
    """
    raise typer.Exit(asyncio.run(_close(_url_of(url, home), as_json=as_json)))


def _export_format(form: str | None, out: str) -> str:
    """The format asked for, else what the file's name ends in. Raises BadParameter where the two are not one."""
    from router.stores.sql.export import ExportFormat

    formats = get_args(ExportFormat)
    if form is not None and form not in formats:
        raise typer.BadParameter("must be jsonl, csv or parquet", param_hint="--format")
    if out == "-":
        if form == "parquet":
            raise typer.BadParameter("parquet needs a file", param_hint="--out")
        return form or "jsonl"
    ending = Path(out).suffix.removeprefix(".").lower()
    if ending in formats:
        if form is not None and form != ending:
            raise typer.BadParameter(f"{form} would be written into a file called .{ending}", param_hint="--format")
        return ending
    if form is None:
        raise typer.BadParameter("must end in .jsonl, .csv or .parquet, or say --format", param_hint="--out")
    return form


def _url_of(url: str | None, home: str | None) -> str:
    from router.config.settings import load_settings
    from router.stores import sqlite_path_of

    settings = load_settings(home=home)
    found = url or settings.ledger_url
    if found.startswith("memory://"):
        raise ConfigError("memory://: a ledger in memory ends with its process; there is nothing to look at")
    path = sqlite_path_of(found, settings.home)
    if path is not None and not path.is_file():
        raise ConfigError(f"{path}: there is no ledger")
    return found


def _since_ms(text: str | None) -> int:
    from router.clock import parse_time_ms

    if text is None:
        return 0
    if text.endswith("d") and text[:-1].isdigit():
        return _now_ms() - int(text[:-1]) * DAY_MS
    try:
        return parse_time_ms(text)
    except ValueError:
        raise typer.BadParameter(
            "must be days such as 7d, or a time such as 2026-11-01", param_hint="--since"
        ) from None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _opened(url: str, *, may_migrate: bool = False) -> SqlLedger:
    from router.stores import open_sql_ledger

    return await open_sql_ledger(url, may_migrate=may_migrate)


def _bar() -> Bar:
    from rich.progress import Progress as Bar

    return Bar(console=bar_console(), transient=True)


async def _verify(url: str, *, as_json: bool) -> int:
    from router.ledger import Finding
    from router.stores.sql.verify import Progress, Verdict
    from router.stores.sql.verify import verify as verified

    ledger = await _opened(url)
    verdict = Verdict()
    findings: list[dict[str, Any]] = []
    try:
        with _bar() as bar:
            task = bar.add_task("verifying", total=None)
            steps: AsyncIterator[Progress | Finding | Verdict] = verified(ledger.reads, _now_ms())
            async for step in steps:
                if isinstance(step, Progress):
                    bar.update(task, completed=step.done, total=step.total)
                elif isinstance(step, Finding):
                    findings.append(step._asdict())
                    if not as_json:
                        typer.echo(f"{step.code}: {step.message}")
                else:
                    verdict = step
    finally:
        await ledger.aclose()
    _print_verdict(verdict, findings, as_json=as_json)
    return 1 if findings or not verdict.lines else 0


def _print_verdict(verdict: Verdict, findings: list[dict[str, Any]], *, as_json: bool) -> None:
    from router.money import usd_of

    heads = {name: {"position": head.position, "hash": head.hash.hex()} for name, head in verdict.heads.items()}
    if as_json:
        figures = {
            "ok": bool(verdict.lines) and not findings,
            "empty": not verdict.lines,
            "lines": verdict.lines,
            "requests": verdict.requests,
            "open_intents": verdict.open_intents,
            "cost_nanousd": verdict.cost_nanousd,
            "cost_usd": usd_of(verdict.cost_nanousd),
            "heads": heads,
            "findings": findings,
        }
        typer.echo(json.dumps(figures, indent=2))
        return
    for name, head in heads.items():
        typer.echo(f"chain {name}: {head['position']} lines, head {head['hash']}")
    typer.echo(
        f"{verdict.lines} lines, {verdict.requests} requests, {verdict.open_intents} open within their lease,"
        f" {usd_of(verdict.cost_nanousd)} USD: {_word_for(verdict.lines, len(findings))}"
    )


def _word_for(lines: int, findings: int) -> str:
    if findings:
        return f"{findings} findings"
    return (
        "sound" if lines else "empty; SQLite's newest lines may still be in its -wal file, which a backup must hold too"
    )


async def _export(url: str, export_format: Any, out: str, since_ms: int, *, as_json: bool) -> int:  # noqa: ANN401
    from router.ledger import RequestQuery
    from router.stores.sql.export import export as write

    ledger = await _opened(url)
    try:
        with _bar() as bar:
            task = bar.add_task("exporting", total=None)
            query = RequestQuery(from_ms=since_ms)
            stream = sys.stdout.buffer if out == "-" else await asyncio.to_thread(_created, out)
            try:
                count = await write(ledger, query, stream, export_format, lambda done: bar.update(task, completed=done))
                stream.flush()
            finally:
                if out != "-":
                    stream.close()
    finally:
        await ledger.aclose()
    if out != "-":
        typer.echo(json.dumps({"requests": count, "out": out}) if as_json else f"{count} requests written to {out}")
    return 0


def _created(out: str) -> Any:  # noqa: ANN401 - a binary file
    try:
        return Path(out).open("wb")
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {error.strerror}") from error


async def _migrate(url: str, *, rebuild: bool, as_json: bool) -> int:
    from router.stores import rebuild_ledger

    ledger = await _opened(url, may_migrate=True)
    await ledger.aclose()
    count = await rebuild_ledger(url) if rebuild else None
    if as_json:
        typer.echo(json.dumps({"ok": True, "rebuilt": count}))
    else:
        typer.echo("the schema is this version's" + ("" if count is None else f", {count} requests rebuilt"))
    return 0


async def _close(url: str, *, as_json: bool) -> int:
    ledger = await _opened(url)
    try:
        closed = await ledger.close_expired(_now_ms())
    finally:
        await ledger.aclose()
    typer.echo(json.dumps({"closed": closed}) if as_json else f"{closed} intents closed at their hold")
    return 0
