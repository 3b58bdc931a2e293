"""The requests as a file for other tools: JSON lines, CSV or Parquet, a page at a time.

Every amount stands there twice: as the exact integer, and as a decimal string in USD.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

import orjson

from router.clock import iso_of
from router.ledger import RequestRow
from router.money import usd_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from router.ledger import RequestQuery
    from router.ports import Ledger

ExportFormat: TypeAlias = Literal["jsonl", "csv", "parquet"]
NANO = "_nanousd"
PAGE = 1000
PARQUET_TYPES: dict[str, str] = {"str": "string", "int": "int64", "bool": "bool_", "float": "float64"}


def exported(row: RequestRow) -> dict[str, Any]:
    """One request as flat values: the row's own names, ``time``, and a ``_usd`` beside each ``_nanousd``."""
    found: dict[str, Any] = {"time": iso_of(row.time_ms)}
    for name in RequestRow._fields:
        value = getattr(row, name)
        found[name] = orjson.dumps(dict(value), option=orjson.OPT_SORT_KEYS).decode() if name == "tags" else value
        if name.endswith(NANO):
            found[name.removesuffix(NANO) + "_usd"] = usd_of(value)
    return found


async def export(
    ledger: Ledger,
    query: RequestQuery,
    out: BinaryIO,
    export_format: ExportFormat,
    tell: Callable[[int], None] = lambda _: None,
) -> int:
    """Write the query's requests, oldest first; returns how many, and tells how many so far after each page."""
    write, finish = _WRITERS[export_format](out)
    count = 0
    async for page in _pages(ledger, query):
        write(page)
        count += len(page)
        tell(count)
    finish()
    return count


async def _pages(ledger: Ledger, query: RequestQuery) -> AsyncIterator[list[dict[str, Any]]]:
    page: list[dict[str, Any]] = []
    async for row in ledger.requests(query):
        page.append(exported(row))
        if len(page) >= PAGE:
            yield page
            page = []
    if page:
        yield page


Writer: TypeAlias = "tuple[Callable[[list[dict[str, Any]]], None], Callable[[], None]]"


def columns() -> list[tuple[str, str]]:
    """The exported columns with their plain types, in order."""
    found = [("time", "str")]
    for name, hint in RequestRow.__annotations__.items():
        kind = str(getattr(hint, "__forward_arg__", hint)).removesuffix(" | None")
        found.append((name, kind if kind in PARQUET_TYPES else "str"))
        if name.endswith(NANO):
            found.append((name.removesuffix(NANO) + "_usd", "str"))
    return found


def _jsonl(out: BinaryIO) -> Writer:
    def write(page: list[dict[str, Any]]) -> None:
        out.writelines(
            orjson.dumps(row | {"tags": orjson.loads(row["tags"])}, option=orjson.OPT_APPEND_NEWLINE) for row in page
        )

    return write, lambda: None


def _csv(out: BinaryIO) -> Writer:
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
    writer = csv.DictWriter(text, [name for name, _ in columns()], lineterminator="\n")
    writer.writeheader()

    def write(page: list[dict[str, Any]]) -> None:
        writer.writerows({name: _csv_safe(value) for name, value in row.items()} for row in page)

    def finish() -> None:
        text.flush()
        text.detach()

    return write, finish


def _csv_safe(value: object) -> object:
    """A caller's text that a spreadsheet would run as a formula is shown as text."""
    return (
        f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") and not _is_amount(value) else value
    )


def _is_amount(text: str) -> bool:
    return text[1:].replace(".", "", 1).isdigit()


def _parquet(out: BinaryIO) -> Writer:
    import pyarrow as pa  # noqa: PLC0415 - takes longer to load than most exports take
    import pyarrow.parquet as pq  # noqa: PLC0415

    schema = pa.schema([(name, getattr(pa, PARQUET_TYPES[kind])()) for name, kind in columns()])
    writer = pq.ParquetWriter(out, schema)
    return lambda page: writer.write_table(pa.Table.from_pylist(page, schema=schema)), writer.close


_WRITERS: dict[ExportFormat, Callable[[BinaryIO], Writer]] = {"jsonl": _jsonl, "csv": _csv, "parquet": _parquet}
