"""The statements that both databases run, written once with ``?`` for a parameter, and rows to and from values."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from router.ledger import RequestRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.stores.sql.schema import Dialect

ROW_COLUMNS = RequestRow._fields
ROW_NAMES = ", ".join(ROW_COLUMNS)
_TAGS = ROW_COLUMNS.index("tags")
_FLAGS = tuple(ROW_COLUMNS.index(name) for name in ("is_streamed", "is_modelled"))

LINE_NAMES = "writer_id, position, kind, decision_id, attempt, line_key, time_ms, payload, prev_hash, hash"
STORED_NAMES = f"seq, {LINE_NAMES}"


def _marks(count: int) -> str:
    return ", ".join("?" * count)


INSERT_LINE = f"INSERT INTO ledger_lines ({LINE_NAMES}) VALUES ({_marks(10)}) ON CONFLICT DO NOTHING"  # noqa: S608
UPSERT_ROW = (
    f"INSERT INTO requests ({ROW_NAMES}, lines) VALUES ({_marks(len(ROW_COLUMNS) + 1)})"  # noqa: S608
    " ON CONFLICT (decision_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in (*ROW_COLUMNS[1:], "lines"))
)
OPEN_INTENT = (
    "INSERT INTO open_intents (decision_id, attempt, lease_expires_ms, hold_nanousd, writer_id)"
    " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
CLOSE_INTENT = "DELETE FROM open_intents WHERE decision_id = ? AND attempt = ?"
CLOSE_INTENTS = "DELETE FROM open_intents WHERE (decision_id, attempt) IN (VALUES (?, ?))"
DUE_INTENTS = (
    "SELECT decision_id, attempt FROM open_intents WHERE lease_expires_ms <= ? ORDER BY decision_id, attempt LIMIT 1000"
)
DUE_MAX = 1000
ADD_SPEND = (
    "INSERT INTO budget_spend (account, settled_nanousd, open_nanousd) VALUES (?, ?, ?) ON CONFLICT (account)"
    " DO UPDATE SET settled_nanousd = budget_spend.settled_nanousd + excluded.settled_nanousd,"
    " open_nanousd = budget_spend.open_nanousd + excluded.open_nanousd"
)
GET_SPEND = "SELECT account, settled_nanousd, open_nanousd FROM budget_spend"
GET_SPENDERS = (
    f"{GET_SPEND} WHERE substr(account, 1, ?) = ? ORDER BY settled_nanousd + open_nanousd DESC, account LIMIT ?"
)
GET_OPEN = (
    "SELECT payload FROM open_intents JOIN ledger_lines ON ledger_lines.decision_id = open_intents.decision_id"
    " AND line_key = 'i' || open_intents.attempt ORDER BY open_intents.decision_id, open_intents.attempt"
)
GET_TRIPS = (
    "SELECT payload FROM ledger_lines WHERE kind = 'guard' AND time_ms >= ? AND time_ms < ?"
    " ORDER BY time_ms DESC, decision_id DESC"
)
GET_CONTEXTS = (
    "SELECT time_ms, decision_id, payload FROM ledger_lines WHERE kind = 'context' AND time_ms >= ?"
    " AND (time_ms, decision_id) < (?, ?) ORDER BY time_ms DESC, decision_id DESC LIMIT ?"
)
PUT_HEAD = (
    "INSERT INTO chains (writer_id, position, hash) VALUES (?, ?, ?)"
    " ON CONFLICT (writer_id) DO UPDATE SET position = excluded.position, hash = excluded.hash"
)
GET_HEAD = "SELECT position, hash FROM chains WHERE writer_id = ?"
LINES_OF_DECISION = "SELECT kind, payload FROM ledger_lines WHERE decision_id = ? ORDER BY seq"


@lru_cache(maxsize=256)
def widened(statement: str, rows: int) -> str:
    """The statement for so many rows at once: its ``VALUES`` with as many groups of parameters."""
    head, values, rest = statement.partition("VALUES ")
    group, end, tail = rest.partition(")")
    assert values, statement
    assert end, statement
    return f"{head}{values}{', '.join([f'{group})'] * rows)}{tail}"


def numbered(statement: str) -> str:
    """The statement with PostgreSQL's ``$1`` instead of ``?``."""
    pieces = statement.split("?")
    return "".join(f"${index}{piece}" if index else piece for index, piece in enumerate(pieces))


def in_dialect(statement: str, dialect: Dialect) -> str:
    """The statement as the database wants it."""
    return numbered(statement) if dialect == "postgresql" else statement


def values_of(row: RequestRow, lines: int) -> tuple[Any, ...]:
    """The row's values in the order of UPSERT_ROW."""
    tags = orjson.dumps(dict(row.tags), option=orjson.OPT_SORT_KEYS).decode() if row.tags else "{}"
    return (*row[:_TAGS], tags, *row[_TAGS + 1 :], lines)


def row_of(values: Sequence[Any]) -> RequestRow:
    """The row from its values in the order of ROW_COLUMNS; further values are not looked at."""
    found = list(values[: len(ROW_COLUMNS)])
    found[_TAGS] = orjson.loads(found[_TAGS])
    for flag in _FLAGS:
        found[flag] = bool(found[flag])
    return RequestRow(*found)
