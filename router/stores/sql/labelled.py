"""Reading the requests that somebody, or a check of the cascade, judged, and the rules that requests matched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from router.errors import LedgerUnavailableError
from router.stores.encoding import decode_line
from router.stores.sql.statements import ROW_NAMES, row_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from router.ledger import Line, RequestRow
    from router.stores.sql.reads import Reads
    from router.stores.sql.schema import Dialect

PAGE = 200
# A request with one attempt has no answer that was passed over; among the others most were retried, and are few.
JUDGED = (
    "SELECT decision_id, MAX(time_ms) AS moment FROM ("
    "SELECT decision_id, time_ms FROM ledger_lines WHERE kind = 'feedback' AND time_ms >= ? AND time_ms < ?"
    " UNION ALL SELECT decision_id, time_ms FROM requests WHERE attempts > 1 AND time_ms >= ? AND time_ms < ?"
    ") AS judged GROUP BY decision_id ORDER BY moment DESC, decision_id DESC LIMIT ?"
)

# The database looks into the receipt: of its four kilobytes only the names of rules are wanted.
RULES: Mapping[Dialect, str] = {
    "sqlite": "json_extract(CAST(payload AS TEXT), '$.receipt.rules')",
    "postgresql": "(convert_from(payload, 'UTF8')::json #> '{receipt,rules}')::text",
}


async def labelled_in(
    reads: Reads, from_ms: int, to_ms: int, limit: int
) -> AsyncIterator[tuple[RequestRow, tuple[Line, ...]]]:
    """The requests with their lines, the newest judged first, page by page."""
    found = await reads.fetch(JUDGED, from_ms, to_ms, from_ms, to_ms, limit)
    for start in range(0, len(found), PAGE):
        ids = [decision_id for decision_id, _ in found[start : start + PAGE]]
        marks = ", ".join("?" * len(ids))
        rows = await reads.fetch(f"SELECT {ROW_NAMES} FROM requests WHERE decision_id IN ({marks})", *ids)  # noqa: S608 - names are ours
        stored = await reads.fetch(
            f"SELECT decision_id, kind, payload FROM ledger_lines WHERE decision_id IN ({marks}) ORDER BY seq",  # noqa: S608 - names are ours
            *ids,
        )
        lines: dict[str, list[tuple[Any, ...]]] = {}
        for decision_id, kind, payload in stored:
            lines.setdefault(decision_id, []).append((kind, payload))
        by_id = {row.decision_id: row for row in map(row_of, rows)}
        for decision_id in ids:
            if decision_id not in by_id:
                continue
            try:
                decoded = tuple(decode_line(kind, payload) for kind, payload in lines.get(decision_id, ()))
            except (ValueError, KeyError, TypeError) as error:
                raise LedgerUnavailableError("a stored line cannot be read: run `tollgate ledger verify`") from error
            yield by_id[decision_id], decoded


async def rules_matched_by(
    reads: Reads, dialect: Dialect, decision_ids: Sequence[str]
) -> Mapping[str, tuple[str, ...]]:
    """The names of the rules by decision, page by page; none of a decision that matched none."""
    found: dict[str, tuple[str, ...]] = {}
    for start in range(0, len(decision_ids), PAGE):
        ids = decision_ids[start : start + PAGE]
        marks = ", ".join("?" * len(ids))
        rows = await reads.fetch(
            f"SELECT decision_id, {RULES[dialect]} FROM ledger_lines"  # noqa: S608 - names are ours
            f" WHERE decision_id IN ({marks}) AND kind = 'intent' AND attempt = 1",
            *ids,
        )
        found |= {decision_id: tuple(orjson.loads(names)) for decision_id, names in rows if names not in (None, "[]")}
    return found
