"""Whether a ledger still says what was written: chains, projection, open intents, sums.

It reads one moment of the database in pages, so it may run beside a working gateway and needs bounded memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from router.ledger import Finding, Folio, RequestRow, StoredLine
from router.ledger.chain import ChainCheck, Head
from router.ledger.fold import line_key_of
from router.stores.encoding import decode_line
from router.stores.sql.posting import spend_of
from router.stores.sql.statements import ROW_NAMES, STORED_NAMES, row_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from router.ledger import Line
    from router.stores.sql.reads import Reads, SnapshotReads

LINES_PAGE = 1000
DECISIONS_PAGE = 500


class Progress(NamedTuple):
    """How far the check is: every line is looked at twice, in its chain and in its request."""

    done: int
    total: int


@dataclass(slots=True)
class Verdict:
    """What was looked at, and where each chain ends: note the heads elsewhere, and a rewritten ledger shows."""

    lines: int = 0
    requests: int = 0
    open_intents: int = 0
    cost_nanousd: int = 0
    held_under_nanousd: list[int] = field(default_factory=lambda: [0, 0])
    heads: dict[str, Head] = field(default_factory=dict)
    findings: int = 0


async def verify(reads: SnapshotReads, now_ms: int) -> AsyncIterator[Progress | Finding | Verdict]:
    """Progress and findings as they come, the verdict last. Raises LedgerUnavailableError."""
    verdict = Verdict()
    async with reads.snapshot() as moment:
        ((total,),) = await moment.fetch("SELECT COUNT(*) FROM ledger_lines")
        async for each in _verify_chains(moment, total, verdict):
            verdict.findings += isinstance(each, Finding)
            yield each
        async for each in _verify_requests(moment, total, now_ms, verdict):
            verdict.findings += isinstance(each, Finding)
            yield each
        for finding in await _sums_found(moment, verdict):
            verdict.findings += 1
            yield finding
    yield verdict


async def _verify_chains(moment: Reads, total: int, verdict: Verdict) -> AsyncIterator[Progress | Finding]:
    check = ChainCheck()
    last = -(2**62)
    while True:
        page = await moment.fetch(
            f"SELECT {STORED_NAMES} FROM ledger_lines WHERE seq > ? ORDER BY seq LIMIT {LINES_PAGE:d}",  # noqa: S608
            last,
        )
        for values in page:
            line = StoredLine(*values)
            for finding in check.check(line):
                yield finding
            last = line.seq
        yield Progress(check.lines, 2 * total)
        if len(page) < LINES_PAGE:
            break
    recorded = await moment.fetch("SELECT writer_id, position, hash FROM chains WHERE position > 0")
    for finding in check.check_heads({row[0]: Head(row[1], row[2]) for row in recorded}):
        yield finding
    verdict.lines, verdict.heads = check.lines, check.heads


async def _verify_requests(
    moment: Reads, total: int, now_ms: int, verdict: Verdict
) -> AsyncIterator[Progress | Finding]:
    last, done = "", 0
    while True:
        found = await moment.fetch(
            "SELECT DISTINCT decision_id FROM ledger_lines WHERE decision_id > ? ORDER BY decision_id LIMIT ?",
            last,
            DECISIONS_PAGE,
        )
        if not found:
            break
        page = await _page_of(moment, last, found[-1][0])
        for decision_id, lines in page.lines.items():
            done += len(lines)
            for finding in _findings_of(decision_id, lines, page, now_ms, verdict):
                yield finding
        last = found[-1][0]
        yield Progress(total + done, 2 * total)
    orphans = await moment.fetch(
        "SELECT decision_id FROM requests r"
        " WHERE NOT EXISTS (SELECT 1 FROM ledger_lines l WHERE l.decision_id = r.decision_id)"
    )
    for (decision_id,) in orphans:
        yield Finding("row_without_lines", f"request {decision_id} has no lines", decision_id=decision_id)


@dataclass(slots=True)
class _Page:
    lines: dict[str, list[StoredLine]]
    rows: dict[str, tuple[RequestRow, int]]
    open: dict[tuple[str, int], int]


async def _page_of(moment: Reads, after: str, upto: str) -> _Page:
    between = "WHERE decision_id > ? AND decision_id <= ?"
    lines: dict[str, list[StoredLine]] = {}
    for values in await moment.fetch(
        f"SELECT {STORED_NAMES} FROM ledger_lines {between} ORDER BY seq",  # noqa: S608
        after,
        upto,
    ):
        line = StoredLine(*values)
        lines.setdefault(line.decision_id, []).append(line)
    rows = await moment.fetch(f"SELECT {ROW_NAMES}, lines FROM requests {between}", after, upto)  # noqa: S608
    opened = await moment.fetch(
        f"SELECT decision_id, attempt, lease_expires_ms FROM open_intents {between}",  # noqa: S608
        after,
        upto,
    )
    return _Page(lines, {row[0]: (row_of(row), row[-1]) for row in rows}, {(row[0], row[1]): row[2] for row in opened})


def _findings_of(
    decision_id: str, lines: list[StoredLine], page: _Page, now_ms: int, verdict: Verdict
) -> list[Finding]:
    folio = Folio()
    found: list[Finding] = []
    for stored in lines:
        problem = _fold_stored(folio, stored)
        if problem is not None:
            found.append(Finding(problem[0], f"line {stored.seq} {problem[1]}", stored.seq, decision_id))
    row = folio.row()
    kept, count = page.rows.get(decision_id, (None, folio.lines))
    if row != kept or count != folio.lines:
        what = _difference_of(row, kept) or f"{folio.lines} lines, {count} counted"
        message = f"request {decision_id} is not what its lines add up to: {what}"
        found.append(Finding("projection_differs", message, decision_id=decision_id))
    found += _open_findings(decision_id, folio, page, now_ms)
    verdict.requests += row is not None
    verdict.open_intents += len(folio.open_attempts())
    for _, sums in spend_of(folio):
        verdict.held_under_nanousd[0] += sums[0]
        verdict.held_under_nanousd[1] += sums[1]
    verdict.cost_nanousd += sum(attempt.cost_nanousd for attempt in folio.attempts.values())
    return found


def _fold_stored(folio: Folio, stored: StoredLine) -> tuple[str, str] | None:
    try:
        line = decode_line(stored.kind, stored.payload)
        problem = _problem_of(folio, stored, line)
        folio.add(line)
    except (ValueError, KeyError, TypeError) as error:
        folio.lines += 1
        return "unreadable", f"cannot be read: {type(error).__name__}"
    return problem


def _problem_of(folio: Folio, stored: StoredLine, line: Line) -> tuple[str, str] | None:
    if line_key_of(line) in folio.keys:
        return "duplicate", "says again what another line said"
    if line_key_of(line) != stored.line_key or line.time_ms != stored.time_ms:
        return "columns_differ", "stands under another key or time than its payload says"
    if stored.kind in ("settlement", "correction") and f"i{stored.attempt}" not in folio.keys:
        return "settled_without_intent", f"settles attempt {stored.attempt}, which has no intent"
    return None


def _open_findings(decision_id: str, folio: Folio, page: _Page, now_ms: int) -> list[Finding]:
    found: list[Finding] = []
    open_numbers = {each.number for each in folio.open_attempts()}
    listed = {number for decision, number in page.open if decision == decision_id}
    for number in sorted(open_numbers ^ listed):
        state = "open, and not listed so" if number in open_numbers else "settled, and listed as open"
        message = f"attempt {number} of {decision_id} is {state}"
        found.append(Finding("open_intents_differ", message, decision_id=decision_id))
    for attempt in folio.open_attempts():
        lease_ms = attempt.lease_expires_ms
        if lease_ms is not None and lease_ms <= now_ms:
            message = f"attempt {attempt.number} of {decision_id} is open past its lease: run `tollgate ledger close`"
            found.append(Finding("open_past_lease", message, decision_id=decision_id))
    return found


def _difference_of(row: RequestRow | None, kept: RequestRow | None) -> str:
    if row is None or kept is None:
        return "it has no row" if kept is None else "no line says whose it is"
    names = [name for name in RequestRow._fields if getattr(row, name) != getattr(kept, name)]
    return ", ".join(names)


async def _sums_found(moment: Reads, verdict: Verdict) -> list[Finding]:
    rows: list[tuple[Any, ...]] = await moment.fetch("SELECT COALESCE(SUM(cost_nanousd), 0) FROM requests")
    total = int(rows[0][0])
    found: list[Finding] = []
    if total != verdict.cost_nanousd:
        message = f"the lines add up to {verdict.cost_nanousd} nano-USD, the requests to {total}"
        found.append(Finding("sums_differ", message))
    rows = await moment.fetch(
        "SELECT COALESCE(SUM(settled_nanousd), 0), COALESCE(SUM(open_nanousd), 0) FROM budget_spend"
    )
    spent = [int(each) for each in rows[0]]
    if spent != verdict.held_under_nanousd:
        charged, held = verdict.held_under_nanousd
        message = (
            f"the lines charge budgets {charged} nano-USD and hold {held},"
            f" the accounts say {spent[0]} and {spent[1]}: run `tollgate ledger migrate --rebuild`"
        )
        found.append(Finding("spend_differs", message))
    return found
