"""From what was handed to the writer to what one transaction changes: the same for both databases, without I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from router.errors import LedgerUnavailableError
from router.ledger import Folio, Settlement, link_hash
from router.ledger.chain import Head
from router.stores.encoding import decode_line, encode_line
from router.stores.sql.statements import values_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Iterator

    from router.ledger.fold import Attempt
    from router.stores.encoding import Encoded

# A page with an open attempt is wanted again, a closed one hardly ever.
FOLIOS_MAX, CLOSED_MAX = 4096, 256
ENTRIES_MAX = 256
LINES_WAITING_MAX = 100_000


@dataclass(slots=True, eq=False)
class Entry:
    """One thing for the writer to do, in its turn.

    ``write`` writes lines; ``void`` closes intents whose caller went away before the vendor was called, at no cost;
    ``expire`` closes what is due at ``now_ms``; ``probe`` only shows that the store can be written. ``must_force``
    starts the sync to the disk as soon as it is committed, since somebody is going to wait for it.
    """

    action: Literal["write", "void", "expire", "probe"]
    lines: tuple[Encoded, ...] = ()
    now_ms: int = 0
    waiter: asyncio.Future[int] | None = None
    number: int = 0
    must_force: bool = False
    due: list[tuple[str, int]] = field(default_factory=list)
    result: int = 0


@dataclass(slots=True)
class Intake:
    """What waits for the writer, and why it cannot write, if it cannot."""

    failure: str | None = None
    lines_waiting: int = 0
    lines_max: int = LINES_WAITING_MAX
    is_stuck: bool = False

    def require_writable(self) -> None:
        """Raise LedgerUnavailableError while lines that were promised cannot be written."""
        if self.is_stuck:
            raise LedgerUnavailableError(f"the ledger cannot be written: {self.failure}")

    def require_room(self) -> None:
        """Raise LedgerUnavailableError where even memory has no room left for lines."""
        if self.lines_waiting >= self.lines_max:
            raise LedgerUnavailableError(f"the ledger cannot be written, and {self.lines_waiting} lines wait for it")


def decisions_of(entries: Iterable[Entry]) -> dict[str, bool]:
    """Each decision that the entries touch, and whether its first line here opens it (then it is new)."""
    found: dict[str, bool] = {}
    for entry in entries:
        for line in entry.lines:
            is_opening = entry.action == "write" and line.line_key in ("i1", "r")
            found.setdefault(line.decision_id, is_opening)
        for decision_id, _ in entry.due:
            found.setdefault(decision_id, False)
    return found


def folio_of(stored: Iterable[tuple[str, bytes]]) -> Folio:
    """A request's page from its stored lines (kind, payload), oldest first.

    Raises LedgerUnavailableError where somebody damaged a line: nothing may be added to what cannot be read.
    """
    folio = Folio()
    try:
        for kind, payload in stored:
            folio.add(decode_line(kind, payload))
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerUnavailableError("a stored line cannot be read: run `tollgate ledger verify`") from error
    return folio


@dataclass(slots=True)
class Posting:
    """The changes of one transaction."""

    writer_id: str
    head: Head
    folios: dict[str, Folio]
    lines: list[tuple[Any, ...]] = field(default_factory=list)
    touched: dict[str, Folio] = field(default_factory=dict)
    opened: dict[tuple[str, int], tuple[Any, ...]] = field(default_factory=dict)
    closed: list[tuple[str, int]] = field(default_factory=list)
    spend: dict[str, list[int]] = field(default_factory=dict)

    def post(self, entries: Iterable[Entry]) -> None:
        """Work out what the entries change; each one's ``result`` counts its lines that are new."""
        for entry in entries:
            entry.result = 0
            if entry.action == "write":
                for line in entry.lines:
                    entry.result += self._write(line)
            elif entry.action == "void":
                for line in entry.lines:
                    entry.result += self._void(line, entry.now_ms)
            for decision_id, number in entry.due:
                attempt = self.folios[decision_id].attempts.get(number)
                if attempt is not None and attempt.is_open:
                    expired = self.folios[decision_id].expired(attempt, entry.now_ms)
                    entry.result += self._write(encode_line(expired))

    def spend_rows(self) -> list[tuple[str, int, int]]:
        """What each budget account's sums change by, in one order for all replicas, so that none waits in a circle."""
        return [(account, each[0], each[1]) for account, each in sorted(self.spend.items()) if any(each)]

    def rows(self) -> list[tuple[Any, ...]]:
        """The projection's rows that changed."""
        found = []
        for folio in self.touched.values():
            row = folio.row()
            if row is not None:
                found.append(values_of(row, folio.lines))
        return found

    def _void(self, line: Encoded, now_ms: int) -> int:
        attempt = self.folios[line.decision_id].attempts.get(line.attempt)
        if attempt is None or not attempt.is_open:
            return 0
        settlement = Settlement(
            decision_id=line.decision_id,
            attempt=line.attempt,
            time_ms=now_ms,
            outcome="client_left",
            tokens=None,
            usage_source="none",
            cost_nanousd=0,
            premium_cost=None,
            latency_ms=max(0, now_ms - self.folios[line.decision_id].time_ms),
            error_code="not_sent",
        )
        return self._write(encode_line(settlement))

    def _write(self, encoded: Encoded) -> int:
        folio = self.folios[encoded.decision_id]
        admitted = folio.admitted(encoded.line)
        if admitted is None:
            return 0
        if admitted is not encoded.line:
            encoded = encode_line(admitted)
        before = folio.attempts.get(encoded.attempt)
        stood = sums_of(before)
        folio.add(admitted)
        after = folio.attempts.get(encoded.attempt)
        if after is not None and after.accounts:
            self._add_spend(after.accounts, stood, sums_of(after))
        place = (encoded.decision_id, encoded.attempt)
        if encoded.kind == "intent":
            attempt = folio.attempts[encoded.attempt]
            if attempt.is_open:
                self.opened[place] = (*place, attempt.lease_expires_ms, attempt.hold_nanousd, self.writer_id)
        elif encoded.kind == "settlement" and self.opened.pop(place, None) is None:
            self.closed.append(place)
        self._link(encoded, admitted.time_ms)
        self.touched[encoded.decision_id] = folio
        return 1

    def _add_spend(self, accounts: Iterable[str], before: tuple[int, int], after: tuple[int, int]) -> None:
        for account in accounts:
            deltas = self.spend.setdefault(account, [0, 0])
            deltas[0] += after[0] - before[0]
            deltas[1] += after[1] - before[1]

    def _link(self, encoded: Encoded, time_ms: int) -> None:
        position = self.head.position + 1
        mark = link_hash(
            self.head.hash,
            writer_id=self.writer_id,
            position=position,
            kind=encoded.kind,
            decision_id=encoded.decision_id,
            attempt=encoded.attempt,
            line_key=encoded.line_key,
            time_ms=time_ms,
            payload=encoded.payload,
        )
        self.lines.append(
            (
                self.writer_id,
                position,
                encoded.kind,
                encoded.decision_id,
                encoded.attempt,
                encoded.line_key,
                time_ms,
                encoded.payload,
                self.head.hash,
                mark,
            )
        )
        self.head = Head(position, mark)


def sums_of(attempt: Attempt | None) -> tuple[int, int]:
    """What an attempt adds to its accounts: charged, and still held."""
    if attempt is None:
        return 0, 0
    return attempt.charged_nanousd, attempt.hold_nanousd if attempt.is_open else 0


def spend_of(folio: Folio) -> Iterator[tuple[str, tuple[int, int]]]:
    """What a request's attempts add to each of their accounts."""
    for attempt in folio.attempts.values():
        for account in attempt.accounts:
            yield account, sums_of(attempt)


def trim(folios: dict[str, Folio]) -> None:
    """Forget pages past the bounds, the oldest and closed ones first: what is needed again is read again.

    An open one goes behind the newest, so that not every transaction looks at it; so many are looked at in one.
    """
    over = min(len(folios) - CLOSED_MAX, ENTRIES_MAX)
    for decision_id, folio in list(islice(folios.items(), max(over, 0))):
        del folios[decision_id]
        if any(attempt.is_open for attempt in folio.attempts.values()):
            folios[decision_id] = folio
    for decision_id in list(islice(folios, max(len(folios) - FOLIOS_MAX, 0))):
        del folios[decision_id]
