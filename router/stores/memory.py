"""The ledger of tests and of `memory://`: the same lines and sums, gone with the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.budgets import OpenHold
from router.ledger import ContextUse, Feedback, Folio, GuardTrip, Intent, RequestTotals, Spend, Standing
from router.stores.encoding import encode_line
from router.stores.grouping import dearest_of, group_value_of, in_order, require_groups

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from router.ledger import Line, RequestQuery, RequestRow, TripQuery


class MemoryLedger:
    """Keeps folios and lines in dictionaries; implements router.ports.Ledger."""

    def __init__(self) -> None:
        self._folios: dict[str, Folio] = {}
        self._lines: dict[str, list[Line]] = {}

    async def append(self, *lines: Line) -> int:
        """Write the lines."""
        for line in lines:
            self.append_later(line)
        return 0

    def append_later(self, line: Line) -> None:
        """Write the line."""
        encoded = encode_line(line)
        folio = self._folios.setdefault(encoded.decision_id, Folio())
        admitted = folio.admitted(encoded.line)
        if admitted is not None:
            folio.add(admitted)
            self._lines.setdefault(encoded.decision_id, []).append(admitted)

    async def sync(self, place: int | None = None) -> None:
        """Nothing here survives the machine."""

    async def request(self, decision_id: str) -> tuple[RequestRow, tuple[Line, ...]] | None:
        """One request and its lines, oldest first."""
        folio = self._folios.get(decision_id)
        row = folio.row() if folio is not None else None
        return None if row is None else (row, tuple(self._lines[decision_id]))

    async def requests(
        self, query: RequestQuery, *, limit: int | None = None, newest_first: bool = False
    ) -> AsyncIterator[RequestRow]:
        """The requests in the query, by time."""
        rows = sorted(self._rows(query), key=lambda row: (row.time_ms, row.decision_id), reverse=newest_first)
        for row in rows[:limit]:
            yield row

    def _rows(self, query: RequestQuery) -> list[RequestRow]:
        rows = [row for row in (folio.row() for folio in self._folios.values()) if row is not None]
        return [row for row in rows if query.holds(row)]

    async def totals(
        self, query: RequestQuery, group_by: Sequence[str], *, most: int | None = None
    ) -> tuple[RequestTotals, ...]:
        """Sums by group; raises RequestError for an unknown group-by name."""
        require_groups(group_by)
        groups: dict[tuple[str | None, ...], list[RequestRow]] = {} if group_by else {(): []}
        for row in self._rows(query):
            groups.setdefault(tuple(group_value_of(row, name) for name in group_by), []).append(row)
        found = [_totals_of(group, rows) for group, rows in groups.items()]
        return in_order(found) if most is None else dearest_of(found, most)

    async def spend(self, accounts: Sequence[str] | None = None) -> Mapping[str, Spend]:
        """What each account was charged and still has open."""
        found: dict[str, Spend] = {}
        for folio in self._folios.values():
            for attempt in folio.attempts.values():
                for account in attempt.accounts:
                    settled, still_open = found.get(account, Spend(0, 0))
                    hold = attempt.hold_nanousd if attempt.is_open else 0
                    found[account] = Spend(settled + attempt.charged_nanousd, still_open + hold)
        return found if accounts is None else {each: found[each] for each in accounts if each in found}

    async def standing(self, reserved: Sequence[str] = ()) -> Standing:
        """What was charged, what is open, and what of it is settled."""
        holds = [
            OpenHold(f"{decision_id}-{attempt.number}", attempt.hold_nanousd, attempt.accounts, lease_ms)
            for decision_id, folio in self._folios.items()
            for attempt in folio.attempts.values()
            if attempt.is_open and attempt.accounts and (lease_ms := attempt.lease_expires_ms) is not None
        ]
        settled = (
            f"{decision_id}-{attempt.number}"
            for decision_id, folio in self._folios.items()
            for attempt in folio.attempts.values()
            if attempt.settlement is not None
        )
        return Standing(await self.spend(), tuple(holds), frozenset(settled).intersection(reserved))

    async def spenders(self, prefix: str, *, most: int) -> Mapping[str, Spend]:
        """The accounts whose id begins so, those with the most money only."""
        found = [(account, spend) for account, spend in (await self.spend()).items() if account.startswith(prefix)]
        return dict(sorted(found, key=lambda each: (-sum(each[1]), each[0]))[:most])

    async def trips(self, query: TripQuery, *, limit: int | None = None) -> AsyncIterator[GuardTrip]:
        """Guard trips, newest first."""
        lines = (line for lines in self._lines.values() for line in lines)
        found = [line for line in lines if isinstance(line, GuardTrip) and query.holds(line)]
        found.reverse()
        for trip in sorted(found, key=lambda each: -each.time_ms)[:limit]:
            yield trip

    async def contexts(self, query: RequestQuery) -> AsyncIterator[ContextUse]:
        """The context bills of the requests in the query, newest first."""
        lines = (line for lines in self._lines.values() for line in lines)
        found = [line for line in lines if isinstance(line, ContextUse) and query.holds(line)]
        for use in sorted(found, key=lambda each: (each.time_ms, each.decision_id), reverse=True):
            yield use

    async def labelled(
        self, from_ms: int, to_ms: int, *, limit: int
    ) -> AsyncIterator[tuple[RequestRow, tuple[Line, ...]]]:
        """The requests that were judged in this time, the newest judged first."""
        judged: dict[str, int] = {}
        for decision_id, lines in self._lines.items():
            row = self._folios[decision_id].row()
            if row is None:
                continue
            moments = [line.time_ms for line in lines if isinstance(line, Feedback)]
            moments += [row.time_ms] if row.attempts > 1 else []
            inside = [moment for moment in moments if from_ms <= moment < to_ms]
            if inside:
                judged[decision_id] = max(inside)
        for decision_id in sorted(judged, key=lambda each: (judged[each], each), reverse=True)[:limit]:
            row = self._folios[decision_id].row()
            assert row is not None
            yield row, tuple(self._lines[decision_id])

    async def rules_matched(self, decision_ids: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """The policy's rules that each of these requests matched."""
        receipts = {
            decision_id: line.receipt
            for decision_id in decision_ids
            for line in self._lines.get(decision_id, ())
            if isinstance(line, Intent) and line.receipt is not None
        }
        found = {decision_id: receipt.get("rules") for decision_id, receipt in receipts.items()}
        return {
            name: tuple(map(str, rules)) for name, rules in found.items() if isinstance(rules, list | tuple) and rules
        }

    async def find_idempotent(self, idempotency_key: str, key_id: str | None) -> str | None:
        """The newest decision for this key that was neither refused nor failed."""
        rows = [row for row in (folio.row() for folio in self._folios.values()) if row is not None]
        found = [
            row
            for row in rows
            if row.idempotency_key == idempotency_key
            and row.key_id == key_id
            and row.outcome not in ("rejected", "failed")
        ]
        newest = max(found, key=lambda row: (row.time_ms, row.decision_id), default=None)
        return newest.decision_id if newest is not None else None

    async def close_expired(self, now_ms: int) -> int:
        """Close every intent whose lease has run out, at its hold."""
        closed = 0
        for folio in list(self._folios.values()):
            for attempt in folio.open_attempts():
                if attempt.lease_expires_ms is not None and attempt.lease_expires_ms <= now_ms:
                    self.append_later(folio.expired(attempt, now_ms))
                    closed += 1
        return closed

    async def check(self) -> None:
        """Memory is always there."""

    async def aclose(self) -> None:
        """Nothing is queued."""


def _totals_of(group: tuple[str | None, ...], rows: Sequence[RequestRow]) -> RequestTotals:
    return RequestTotals(
        group=group,
        requests=len(rows),
        answered=sum(row.outcome == "answered" for row in rows),
        rejected=sum(row.outcome == "rejected" for row in rows),
        failed=sum(row.outcome not in ("answered", "rejected", "open") for row in rows),
        modelled=sum(row.is_modelled for row in rows),
        estimated=sum(row.usage_source == "estimated" for row in rows),
        input_tokens=sum(row.input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        cache_read_tokens=sum(row.cache_read_tokens for row in rows),
        cost_nanousd=sum(row.cost_nanousd for row in rows),
        failed_cost_nanousd=sum(row.failed_cost_nanousd for row in rows),
        premium_low_nanousd=sum(row.premium_low_nanousd for row in rows),
        premium_point_nanousd=sum(row.premium_point_nanousd for row in rows),
        premium_high_nanousd=sum(row.premium_high_nanousd for row in rows),
        attempts=sum(row.attempts for row in rows),
        pinned_savings_nanousd=sum(
            row.premium_point_nanousd - row.cost_nanousd + row.failed_cost_nanousd
            for row in rows
            if row.arm == "pinned"
        ),
    )
