"""The ledger's tables in SQLite, and lines to and from their rows."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

import orjson

from router.ledger import Folio, StoredLine
from router.ledger.plain import parse_line

if TYPE_CHECKING:
    import sqlite3

    from router.ledger import Line

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger_lines (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    writer_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    decision_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    line_key TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    payload BLOB NOT NULL,
    prev_hash BLOB NOT NULL,
    hash BLOB NOT NULL,
    UNIQUE (decision_id, line_key),
    UNIQUE (writer_id, position)
) STRICT;
CREATE TRIGGER IF NOT EXISTS ledger_lines_keep BEFORE UPDATE ON ledger_lines
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS ledger_lines_stay BEFORE DELETE ON ledger_lines
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TABLE IF NOT EXISTS writers (
    writer_id TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS open_intents (
    decision_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    lease_expires_ms INTEGER NOT NULL,
    PRIMARY KEY (decision_id, attempt)
) STRICT;
CREATE TABLE IF NOT EXISTS requests (
    decision_id TEXT PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    team TEXT,
    project TEXT,
    key_id TEXT,
    model TEXT,
    idempotency_key TEXT,
    row BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS requests_by_time ON requests (time_ms);
CREATE INDEX IF NOT EXISTS requests_by_idempotency ON requests (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS open_by_lease ON open_intents (lease_expires_ms);
"""


def _plain(value: object) -> object:
    """What orjson cannot encode by itself: mapping proxies, frozen sets."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return dict(value) if hasattr(value, "keys") else sorted(value)  # type: ignore[call-overload]


def payload_of(line: Line) -> bytes:
    """The line as canonical JSON: sorted keys, integers for money."""
    return orjson.dumps(line, default=_plain, option=orjson.OPT_SORT_KEYS)


def line_of(kind: str, payload: bytes) -> Line:
    """The line of a stored payload."""
    return parse_line(kind, orjson.loads(payload))


def lines_of(connection: sqlite3.Connection, decision_id: str) -> list[Line]:
    """A request's lines, oldest first."""
    rows = connection.execute(
        "SELECT kind, payload FROM ledger_lines WHERE decision_id = ? ORDER BY seq", (decision_id,)
    )
    return [line_of(kind, payload) for kind, payload in rows]


def folio_of(connection: sqlite3.Connection, decision_id: str) -> Folio:
    """A request's lines, folded."""
    folio = Folio()
    for line in lines_of(connection, decision_id):
        folio.add(line)
    return folio


def stored_lines(connection: sqlite3.Connection) -> Any:  # noqa: ANN401  # a lazy cursor of rows
    """Every line as it lies, in the store's order."""
    return (StoredLine(*row) for row in connection.execute("SELECT * FROM ledger_lines ORDER BY seq"))
