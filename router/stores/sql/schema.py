"""The tables, as numbered migrations for each database. A migration that was released is never edited."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, TypeAlias

Dialect: TypeAlias = Literal["sqlite", "postgresql"]

REQUEST_TYPES: dict[str, tuple[str, str]] = {
    # column: (SQLite, PostgreSQL); the order is RequestRow's
    "decision_id": ("TEXT PRIMARY KEY", "TEXT PRIMARY KEY"),
    "time_ms": ("INTEGER NOT NULL", "BIGINT NOT NULL"),
    "surface": ("TEXT NOT NULL", "TEXT NOT NULL"),
    "is_streamed": ("INTEGER NOT NULL", "BOOLEAN NOT NULL"),
    "team": ("TEXT", "TEXT"),
    "project": ("TEXT", "TEXT"),
    "key_id": ("TEXT", "TEXT"),
    "session_id": ("TEXT", "TEXT"),
    "quality_tier": ("TEXT", "TEXT"),
    "tolerance": ("REAL", "DOUBLE PRECISION"),
    "arm": ("TEXT NOT NULL", "TEXT NOT NULL"),
    "reason": ("TEXT NOT NULL", "TEXT NOT NULL"),
    "model": ("TEXT", "TEXT"),
    "vendor": ("TEXT", "TEXT"),
    "premium": ("TEXT NOT NULL", "TEXT NOT NULL"),
    "outcome": ("TEXT NOT NULL", "TEXT NOT NULL"),
    "error_code": ("TEXT", "TEXT"),
    "attempts": ("INTEGER NOT NULL", "BIGINT NOT NULL"),
    "input_tokens": ("INTEGER NOT NULL", "BIGINT NOT NULL"),
    "output_tokens": ("INTEGER NOT NULL", "BIGINT NOT NULL"),
    "cache_read_tokens": ("INTEGER NOT NULL", "BIGINT NOT NULL"),
    "cost_nanousd": ("INTEGER NOT NULL", "BIGINT NOT NULL"),
    "failed_cost_nanousd": ("INTEGER NOT NULL", "BIGINT NOT NULL"),
    "premium_low_nanousd": ("INTEGER NOT NULL", "BIGINT NOT NULL"),
    "premium_point_nanousd": ("INTEGER NOT NULL", "BIGINT NOT NULL"),
    "premium_high_nanousd": ("INTEGER NOT NULL", "BIGINT NOT NULL"),
    "is_modelled": ("INTEGER NOT NULL", "BOOLEAN NOT NULL"),
    "usage_source": ("TEXT NOT NULL", "TEXT NOT NULL"),
    "complexity": ("REAL", "DOUBLE PRECISION"),
    "expected_loss": ("REAL", "DOUBLE PRECISION"),
    "latency_ms": ("INTEGER", "BIGINT"),
    "first_byte_ms": ("INTEGER", "BIGINT"),
    "policy_revision": ("TEXT NOT NULL", "TEXT NOT NULL"),
    "price_revision": ("TEXT NOT NULL", "TEXT NOT NULL"),
    "quality_revision": ("TEXT NOT NULL", "TEXT NOT NULL"),
    "tags": ("TEXT NOT NULL", "JSONB NOT NULL"),
    "idempotency_key": ("TEXT", "TEXT"),
    "lines": ("INTEGER NOT NULL", "BIGINT NOT NULL"),
}
ADDED_2 = (
    "ALTER TABLE requests ADD COLUMN lineage_id TEXT",
    "ALTER TABLE requests ADD COLUMN promise TEXT DEFAULT 'none'",
)


def _requests(dialect: Dialect) -> str:
    which = 0 if dialect == "sqlite" else 1
    columns = ", ".join(f"{name} {types[which]}" for name, types in REQUEST_TYPES.items())
    return f"CREATE TABLE requests ({columns})"


SHARED_1 = (
    "CREATE INDEX requests_by_time ON requests (time_ms, decision_id)",
    "CREATE INDEX requests_by_idempotency ON requests (idempotency_key) WHERE idempotency_key IS NOT NULL",
    "CREATE INDEX open_intents_by_lease ON open_intents (lease_expires_ms)",
)
SQLITE_1 = (
    (
        "CREATE TABLE ledger_lines (seq INTEGER PRIMARY KEY, writer_id TEXT NOT NULL, position INTEGER NOT NULL,"
        " kind TEXT NOT NULL, decision_id TEXT NOT NULL, attempt INTEGER NOT NULL, line_key TEXT NOT NULL,"
        " time_ms INTEGER NOT NULL, payload BLOB NOT NULL, prev_hash BLOB NOT NULL, hash BLOB NOT NULL,"
        " UNIQUE (decision_id, line_key))"
    ),
    (
        "CREATE TRIGGER ledger_lines_keep_content BEFORE UPDATE ON ledger_lines"
        " BEGIN SELECT RAISE(ABORT, 'ledger_lines is append-only'); END"
    ),
    (
        "CREATE TRIGGER ledger_lines_keep_all BEFORE DELETE ON ledger_lines"
        " BEGIN SELECT RAISE(ABORT, 'ledger_lines is append-only'); END"
    ),
    (
        "CREATE TABLE open_intents (decision_id TEXT NOT NULL, attempt INTEGER NOT NULL,"
        " lease_expires_ms INTEGER NOT NULL, hold_nanousd INTEGER NOT NULL, writer_id TEXT NOT NULL,"
        " PRIMARY KEY (decision_id, attempt)) WITHOUT ROWID"
    ),
    "CREATE TABLE chains (writer_id TEXT PRIMARY KEY, position INTEGER NOT NULL, hash BLOB NOT NULL)",
    _requests("sqlite"),
    *SHARED_1,
)
POSTGRES_1 = (
    "CREATE SEQUENCE ledger_lines_seq",
    (
        "CREATE TABLE ledger_lines (seq BIGINT NOT NULL DEFAULT nextval('ledger_lines_seq'), writer_id TEXT NOT NULL,"
        " position BIGINT NOT NULL, kind TEXT NOT NULL, decision_id TEXT NOT NULL, attempt BIGINT NOT NULL,"
        " line_key TEXT NOT NULL, time_ms BIGINT NOT NULL, payload BYTEA NOT NULL, prev_hash BYTEA NOT NULL,"
        " hash BYTEA NOT NULL, PRIMARY KEY (decision_id, line_key, time_ms)) PARTITION BY RANGE (time_ms)"
    ),
    "CREATE INDEX ledger_lines_by_seq ON ledger_lines (seq)",
    (
        "CREATE FUNCTION ledger_lines_refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'ledger_lines is append-only'; END $$"
    ),
    (
        "CREATE TRIGGER ledger_lines_keep_content BEFORE UPDATE OR DELETE ON ledger_lines"
        " FOR EACH ROW EXECUTE FUNCTION ledger_lines_refuse()"
    ),
    (
        "CREATE TRIGGER ledger_lines_keep_all BEFORE TRUNCATE ON ledger_lines"
        " FOR EACH STATEMENT EXECUTE FUNCTION ledger_lines_refuse()"
    ),
    (
        "CREATE TABLE open_intents (decision_id TEXT NOT NULL, attempt BIGINT NOT NULL,"
        " lease_expires_ms BIGINT NOT NULL, hold_nanousd BIGINT NOT NULL, writer_id TEXT NOT NULL,"
        " PRIMARY KEY (decision_id, attempt))"
    ),
    "CREATE TABLE chains (writer_id TEXT PRIMARY KEY, position BIGINT NOT NULL, hash BYTEA NOT NULL)",
    _requests("postgresql"),
    *SHARED_1,
)
# Sums by budget account, kept in the transactions of the lines, and the ways to the few lines that guards and judges
# wrote.
SHARED_2 = (
    *ADDED_2,
    "CREATE INDEX ledger_lines_of_guards ON ledger_lines (time_ms) WHERE kind = 'guard'",
    "CREATE INDEX ledger_lines_of_feedback ON ledger_lines (time_ms) WHERE kind = 'feedback'",
)
SHARED_3 = ("CREATE INDEX ledger_lines_of_context ON ledger_lines (time_ms, decision_id) WHERE kind = 'context'",)
SPEND_2 = (
    "CREATE TABLE budget_spend (account TEXT PRIMARY KEY, settled_nanousd {0} NOT NULL, open_nanousd {0} NOT NULL)"
)
MIGRATIONS: dict[Dialect, tuple[tuple[str, ...], ...]] = {
    "sqlite": (SQLITE_1, (*SHARED_2, SPEND_2.format("INTEGER")), SHARED_3),
    "postgresql": (POSTGRES_1, (*SHARED_2, SPEND_2.format("BIGINT")), SHARED_3),
}
VERSION_TABLE = "CREATE TABLE IF NOT EXISTS ledger_schema (version INTEGER PRIMARY KEY, applied_ms BIGINT NOT NULL)"


def month_of(time_ms: int) -> tuple[int, int]:
    """Year and month in UTC."""
    moment = datetime.fromtimestamp(time_ms // 1000, tz=UTC)
    return moment.year, moment.month


def next_month(month: tuple[int, int]) -> tuple[int, int]:
    """The month after."""
    year, number = month
    return (year + 1, 1) if number == 12 else (year, number + 1)  # noqa: PLR2004 - a year has twelve


def partition_of(month: tuple[int, int]) -> str:
    """The statement that creates PostgreSQL's partition for a month, where it is not there yet."""
    start_ms, end_ms = (
        int(datetime(year, number, 1, tzinfo=UTC).timestamp()) * 1000 for year, number in (month, next_month(month))
    )
    return (
        f"CREATE TABLE IF NOT EXISTS ledger_lines_{month[0]:04d}_{month[1]:02d} PARTITION OF ledger_lines"
        f" FOR VALUES FROM ({start_ms}) TO ({end_ms})"
    )
