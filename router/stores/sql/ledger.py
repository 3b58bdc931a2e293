"""The ledger over SQL: one writer with group commit, reads beside it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from router.budgets import OpenHold
from router.errors import LedgerUnavailableError
from router.ledger import ContextUse, GuardTrip, Intent, RequestTotals, Spend, Standing
from router.stores.encoding import decode_line, encode_line
from router.stores.grouping import COLUMN_OF_GROUP, MOMENTS, TAG_PREFIX, in_order, require_groups
from router.stores.sql.labelled import labelled_in, rules_matched_by
from router.stores.sql.posting import Entry
from router.stores.sql.reads import settled_among
from router.stores.sql.statements import (
    DUE_MAX,
    GET_CONTEXTS,
    GET_OPEN,
    GET_SPEND,
    GET_SPENDERS,
    GET_TRIPS,
    LINES_OF_DECISION,
    ROW_NAMES,
    row_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from router.clock import Clock
    from router.ledger import Line, RequestQuery, RequestRow, TripQuery
    from router.stores.sql.posting import Intake
    from router.stores.sql.reads import SnapshotReads
    from router.stores.sql.schema import Dialect

PAGE = 1000
SUMS = (
    "COUNT(*)",
    "SUM(CASE WHEN outcome = 'answered' THEN 1 ELSE 0 END)",
    "SUM(CASE WHEN outcome = 'rejected' THEN 1 ELSE 0 END)",
    "SUM(CASE WHEN outcome NOT IN ('answered', 'rejected', 'open') THEN 1 ELSE 0 END)",
    "SUM(CASE WHEN is_modelled THEN 1 ELSE 0 END)",
    "SUM(CASE WHEN usage_source = 'estimated' THEN 1 ELSE 0 END)",
    "SUM(input_tokens)",
    "SUM(output_tokens)",
    "SUM(cache_read_tokens)",
    "SUM(cost_nanousd)",
    "SUM(failed_cost_nanousd)",
    "SUM(premium_low_nanousd)",
    "SUM(premium_point_nanousd)",
    "SUM(premium_high_nanousd)",
    "SUM(attempts)",
    "SUM(CASE WHEN arm = 'pinned' THEN premium_point_nanousd - cost_nanousd + failed_cost_nanousd ELSE 0 END)",
)
POSTGRES_MOMENTS = {"day": "YYYY-MM-DD", "hour": 'YYYY-MM-DD"T"HH24":00Z"', "minute": 'YYYY-MM-DD"T"HH24:MI"Z"'}
# A tag's name is the caller's text: always a parameter, never part of the statement or of a path.
TAGS: dict[Dialect, str] = {
    "sqlite": "(SELECT value FROM json_each(requests.tags) WHERE key = ?)",
    "postgresql": "(tags ->> ?)",
}


class Writer(Protocol):
    """Whatever owns the one writing connection."""

    @property
    def intake(self) -> Intake:
        """What waits, and why it cannot be written."""
        ...

    def put(self, entry: Entry) -> None:
        """Queue an entry."""
        ...

    async def sync(self, number: int | None = None) -> None:
        """Wait until the entry with this number, or all that was queued so far, survives the machine."""
        ...

    async def aclose(self) -> None:
        """Write what is queued and close."""
        ...


class SqlLedger:
    """Implements router.ports.Ledger over a writer and reads of the same database."""

    def __init__(self, writer: Writer, reads: SnapshotReads, clock: Clock, *, dialect: Dialect) -> None:
        self.reads = reads
        self.dialect: Dialect = dialect
        self._writer = writer
        self._clock = clock

    async def append(self, *lines: Line) -> int:
        """Write the lines in one transaction; they survive the death of this process when it returns.

        Where the caller is cancelled meanwhile, it will not call the vendor: its intents are closed at no cost.
        """
        encoded = tuple(encode_line(line) for line in lines)
        entry = Entry("write", encoded, must_force=True)
        try:
            await self._ask(entry)
        except asyncio.CancelledError:
            intents = tuple(each for each in encoded if isinstance(each.line, Intent))
            if intents:
                self._writer.put(Entry("void", intents, now_ms=self._clock.now_ms()))
            raise
        return entry.number

    def append_later(self, line: Line) -> None:
        """Queue a line; it is kept, in order, until it can be written. Raises only where memory has no room left."""
        self._writer.intake.require_room()
        self._writer.put(Entry("write", (encode_line(line),)))

    async def sync(self, place: int | None = None) -> None:
        """Return when what was appended at ``place``, or all so far, survives the death of the machine."""
        await self._writer.sync(place)

    async def close_expired(self, now_ms: int) -> int:
        """Close every intent whose lease has run out, at its hold; returns how many."""
        closed = 0
        while True:
            count = await self._ask(Entry("expire", now_ms=now_ms))
            closed += count
            if count < DUE_MAX:
                return closed

    async def check(self) -> None:
        """Raise LedgerUnavailableError unless the store can be read and written right now."""
        await self._ask(Entry("probe"))
        await self.reads.fetch("SELECT 1")

    async def aclose(self) -> None:
        """Write what is queued and let go."""
        try:
            await self._writer.aclose()
        finally:
            await self.reads.aclose()

    async def _caught_up(self) -> None:
        """Wait until what was handed over so far is written, so that a reader sees its own request settled.

        While the store cannot be written, what is there can still be read.
        """
        if self._writer.intake.lines_waiting:
            with contextlib.suppress(LedgerUnavailableError):
                await self._ask(Entry("write"))

    async def _ask(self, entry: Entry) -> int:
        self._writer.intake.require_writable()
        entry.waiter = asyncio.get_running_loop().create_future()
        self._writer.put(entry)
        return await entry.waiter

    # --- reading -----------------------------------------------------------------------------------------------------

    async def request(self, decision_id: str) -> tuple[RequestRow, tuple[Line, ...]] | None:
        """One request and its lines, oldest first; None when there is none."""
        await self._caught_up()
        rows = await self.reads.fetch(f"SELECT {ROW_NAMES} FROM requests WHERE decision_id = ?", decision_id)  # noqa: S608
        if not rows:
            return None
        stored = await self.reads.fetch(LINES_OF_DECISION, decision_id)
        try:
            return row_of(rows[0]), tuple(decode_line(kind, payload) for kind, payload in stored)
        except (ValueError, KeyError, TypeError) as error:
            raise LedgerUnavailableError("a stored line cannot be read: run `tollgate ledger verify`") from error

    async def requests(
        self, query: RequestQuery, *, limit: int | None = None, newest_first: bool = False
    ) -> AsyncIterator[RequestRow]:
        """The requests in the query, by time; read page by page, so nothing is held open between them."""
        await self._caught_up()
        where, values = _where(query)
        compare, order = ("<", "DESC") if newest_first else (">", "ASC")
        last: tuple[object, ...] = ()
        left = limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            after = f" AND (time_ms, decision_id) {compare} (?, ?)" if last else ""
            rows = await self.reads.fetch(
                f"SELECT {ROW_NAMES} FROM requests WHERE {where}{after}"  # noqa: S608 - names are ours
                f" ORDER BY time_ms {order}, decision_id {order} LIMIT {size:d}",
                *values,
                *last,
            )
            for values_of_row in rows:
                row = row_of(values_of_row)
                last = (row.time_ms, row.decision_id)
                yield row
            if len(rows) < size:
                return
            left = None if left is None else left - size

    async def totals(
        self, query: RequestQuery, group_by: Sequence[str], *, most: int | None = None
    ) -> tuple[RequestTotals, ...]:
        """Sums by group, exact integers; raises RequestError for an unknown group-by name."""
        require_groups(group_by)
        groups = [self._group(name) for name in group_by]
        tags = [name.removeprefix(TAG_PREFIX) for name in group_by if name.startswith(TAG_PREFIX)]
        where, values = _where(query)
        await self._caught_up()
        by = f" GROUP BY {', '.join(str(number + 1) for number in range(len(groups)))}" if groups else ""
        names = [*(f"g{number}" for number in range(len(groups))), *SUM_NAMES]
        columns = ", ".join(f"{each} AS {name}" for each, name in zip((*groups, *SUMS), names, strict=True))
        select = f"SELECT {columns} FROM requests WHERE {where}{by}"  # noqa: S608 - names are ours
        if most is None or not groups:
            rows = await self.reads.fetch(select, *tags, *values)
            return in_order([_totals_of(row, len(groups)) for row in rows])
        rows = await self.reads.fetch(_dearest(select, len(groups), most), *tags, *values)
        return tuple(
            replace(found, group=()) if place > most else found
            for place, *row in rows
            for found in [_totals_of(row, len(groups))]
        )

    def _group(self, name: str) -> str:
        if name.startswith(TAG_PREFIX):
            return TAGS[self.dialect]
        return self._moment(name) if name in MOMENTS else COLUMN_OF_GROUP[name]

    def _moment(self, name: str) -> str:
        if self.dialect == "sqlite":
            return f"strftime('{MOMENTS[name]}', time_ms / 1000, 'unixepoch')"
        return f"to_char(to_timestamp(time_ms / 1000) AT TIME ZONE 'UTC', '{POSTGRES_MOMENTS[name]}')"

    async def spend(self, accounts: Sequence[str] | None = None) -> Mapping[str, Spend]:
        """What each account was charged and still has open."""
        await self._caught_up()
        if accounts is None:
            rows = await self.reads.fetch(GET_SPEND)
        else:
            rows = []
            for start in range(0, len(accounts), PAGE // 2):
                some = accounts[start : start + PAGE // 2]
                marks = ", ".join("?" * len(some))
                rows += await self.reads.fetch(f"{GET_SPEND} WHERE account IN ({marks})", *some)
        return {account: Spend(settled, still_open) for account, settled, still_open in rows}

    async def standing(self, reserved: Sequence[str] = ()) -> Standing:
        """What was charged, what is open, and what of it is settled, at one moment."""
        await self._caught_up()
        async with self.reads.snapshot() as moment:
            spends = await moment.fetch(GET_SPEND)
            payloads = await moment.fetch(GET_OPEN)
            settled = await settled_among(moment, reserved)
        holds: list[OpenHold] = []
        for (payload,) in payloads:
            intent = _decoded("intent", payload)
            if isinstance(intent, Intent) and intent.accounts:
                name = f"{intent.subject.decision_id}-{intent.attempt}"
                holds.append(OpenHold(name, intent.hold_nanousd, intent.accounts, intent.lease_expires_ms))
        sums = {account: Spend(charged, still_open) for account, charged, still_open in spends}
        return Standing(sums, tuple(holds), settled)

    async def spenders(self, prefix: str, *, most: int) -> Mapping[str, Spend]:
        """The accounts whose id begins so, those with the most money only."""
        await self._caught_up()
        rows = await self.reads.fetch(GET_SPENDERS, len(prefix), prefix, most)
        return {account: Spend(settled, still_open) for account, settled, still_open in rows}

    async def trips(self, query: TripQuery, *, limit: int | None = None) -> AsyncIterator[GuardTrip]:
        """Guard trips, newest first; few enough to be read at once."""
        await self._caught_up()
        told = 0
        for (payload,) in await self.reads.fetch(GET_TRIPS, query.from_ms, query.to_ms):
            trip = _decoded("guard", payload)
            if limit is not None and told >= limit:
                return
            if isinstance(trip, GuardTrip) and query.holds(trip):
                told += 1
                yield trip

    async def contexts(self, query: RequestQuery) -> AsyncIterator[ContextUse]:
        """The context bills of the requests in the query, newest first; read page by page."""
        await self._caught_up()
        last: tuple[int, str] = (query.to_ms, "")
        while True:
            page = await self.reads.fetch(GET_CONTEXTS, query.from_ms, *last, PAGE)
            for time_ms, decision_id, payload in page:
                last = (time_ms, decision_id)
                use = _decoded("context", payload)
                if isinstance(use, ContextUse) and query.holds(use):
                    yield use
            if len(page) < PAGE:
                return

    async def labelled(
        self, from_ms: int, to_ms: int, *, limit: int
    ) -> AsyncIterator[tuple[RequestRow, tuple[Line, ...]]]:
        """The requests that were judged in this time, the newest judged first."""
        await self._caught_up()
        async for found in labelled_in(self.reads, from_ms, to_ms, limit):
            yield found

    async def rules_matched(self, decision_ids: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """The policy's rules that each of these requests matched."""
        await self._caught_up()
        return await rules_matched_by(self.reads, self.dialect, decision_ids)

    async def find_idempotent(self, idempotency_key: str, key_id: str | None) -> str | None:
        """The newest decision for this key that was neither refused nor failed."""
        # The first try's failure may still be on its way: who waited for it would be told that it still runs.
        await self._caught_up()
        mine, values = ("key_id IS NULL", ()) if key_id is None else ("key_id = ?", (key_id,))
        rows = await self.reads.fetch(
            f"SELECT decision_id FROM requests WHERE idempotency_key = ? AND {mine}"  # noqa: S608 - names are ours
            " AND outcome NOT IN ('rejected', 'failed') ORDER BY time_ms DESC, decision_id DESC LIMIT 1",
            idempotency_key,
            *values,
        )
        return rows[0][0] if rows else None


SUM_NAMES = tuple(f"s{number}" for number in range(len(SUMS)))
COST_NAME = SUM_NAMES[SUMS.index("SUM(cost_nanousd)")]


def _dearest(select: str, groups: int, most: int) -> str:
    """The dearest groups of a query by their place, the one without any value first, and a last row of all others."""
    names = [f"g{number}" for number in range(groups)]
    nobody = " AND ".join(f"{name} IS NULL" for name in names)
    order = f"CASE WHEN {nobody} THEN 0 ELSE 1 END, {COST_NAME} DESC, {', '.join(names)}"
    columns = [f"MIN({name})" for name in names] + [f"SUM({name})" for name in SUM_NAMES]
    return (
        f"WITH found AS ({select}), placed AS (SELECT *, ROW_NUMBER() OVER (ORDER BY {order}) AS place FROM found)"  # noqa: S608
        f" SELECT MIN(place) AS first_place, {', '.join(columns)}, COUNT(*) FROM placed"
        f" GROUP BY CASE WHEN place <= {most:d} THEN place ELSE {most + 1:d} END ORDER BY first_place"
    )


def _decoded(kind: str, payload: bytes) -> Line:
    """The stored line. Raises LedgerUnavailableError."""
    try:
        return decode_line(kind, payload)
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerUnavailableError("a stored line cannot be read: run `tollgate ledger verify`") from error


def _where(query: RequestQuery) -> tuple[str, list[object]]:
    parts = ["time_ms >= ?", "time_ms < ?"]
    values: list[object] = [query.from_ms, query.to_ms]
    for name in ("team", "project", "key_id", "model"):
        value = getattr(query, name)
        if value is not None:
            parts.append(f"{name} = ?")
            values.append(value)
    return " AND ".join(parts), values


def _totals_of(row: Sequence[Any], groups: int) -> RequestTotals:
    return RequestTotals(tuple(row[:groups]), *(int(value or 0) for value in row[groups:]))
