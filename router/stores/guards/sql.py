"""What guards saw, as batches of events in the ledger's database; what they ruled is read from its entries.

A gateway that is alone writes a sign of life now and then, and of what it saw only what might become a runaway: what
comes again and again, and what descends from another call. That is for itself after a restart; ordinary requests cost
nothing. As soon as another one gives signs of life too, each writes all that it saw and reads what the others did, so
that a runaway which is spread over all of them counts as one.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple, Protocol

import orjson

from router.guards import event_of, plain_of
from router.guards.events import Asked, Ruled
from router.stores.guards.ledger import LedgerGuards

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.clock import Clock
    from router.guards import Event
    from router.guards.events import Done
    from router.ledger import GuardTrip
    from router.ports import Ledger

TOGETHER_S = 0.5
ALONE_S = 1.0
# A sign of life is given so often, and believed so long, by the database's clock.
BEAT_MS = 5_000
BELIEVED_MS = 15_000
# Batches of at most 500 events; the oldest are dropped beyond so many, and by age.
BATCHES_MAX = 10_000
KEPT_MS = 86_400_000
FORGET_EVERY_MS = 600_000
READ_MAX = 200
# From so many calls of one lineage, or with one pattern, on they are worth remembering beyond this process.
CALLS_WORTH = 3
COUNTED_MAX = 40_000


class Batch(NamedTuple):
    """Events of one gateway, as JSON; ``place`` grows in the order of commit."""

    place: int
    origin: str
    events: str


class Carrier(Protocol):
    """The two tables in one database. Its methods raise BudgetStoreUnavailableError where it does not answer."""

    async def beat(self, origin: str) -> None:
        """Give a sign of life."""
        ...

    async def has_company(self, origin: str) -> bool:
        """Whether another gateway gave one lately."""
        ...

    async def put(self, origin: str, events: str) -> None:
        """Add a batch."""
        ...

    async def after(self, place: int) -> list[Batch]:
        """At most ``READ_MAX`` batches behind a place, none older than ``KEPT_MS``."""
        ...

    async def forget(self) -> None:
        """Remove what is too old or too many."""
        ...

    async def aclose(self) -> None:
        """Let go of the connection."""
        ...


class SqlGuards:
    """Implements router.ports.GuardStore."""

    def __init__(self, ledger: Ledger, clock: Clock, carrier: Carrier) -> None:
        self._ruled = LedgerGuards(ledger, clock)
        self._clock = clock
        self._carrier = carrier
        self._origin = secrets.token_hex(8)
        self._place = 0
        self._has_company = self._is_wary = False
        self._beaten_ms: int | None = None
        self._forgotten_ms = clock.now_ms()
        # Read, and not returned yet, because something behind it failed.
        self._found: list[Event] = []
        # Of each name, in two generations: what was not counted in the newer one or the one before is forgotten.
        self._calls: dict[int, int] = {}
        self._calls_before: dict[int, int] = {}

    @property
    def every_s(self) -> float:
        """More often where there is somebody to hear, or something that must not be lost."""
        return TOGETHER_S if self._has_company or self._is_wary else ALONE_S

    async def publish(self, events: Sequence[Event]) -> None:
        """Tell the others, where there are any; what was ruled stands in the ledger already."""
        seen = [each for each in events if not isinstance(each, Ruled)]
        worth = [each for each in seen if self._is_worth(each)]
        if seen:
            self._is_wary = bool(worth)
        told = [plain_of(each) for each in (seen if self._has_company else worth)]
        if told:
            await self._carrier.put(self._origin, orjson.dumps(told).decode())

    def _is_worth(self, event: Asked | Done) -> bool:
        """Whether the event is of something that comes again and again, or descends from another call."""
        counts = CALLS_WORTH if isinstance(event, Asked) and event.depth > 0 else int(isinstance(event, Asked))
        most = 0
        for name in {event.root, event.pattern}:
            calls = self._calls.get(name)
            calls = (self._calls_before.get(name, 0) if calls is None else calls) + counts
            self._calls[name] = calls
            most = max(most, calls)
        if len(self._calls) >= COUNTED_MAX // 2:
            self._calls_before, self._calls = self._calls, {}
        return most >= CALLS_WORTH

    def noted(self, trip: GuardTrip) -> None:
        """One of this gateway's own: it is not to be taken in again."""
        self._ruled.noted(trip)

    async def read(self) -> list[Event]:
        """What the others saw and ruled since the last time; at first what a day holds."""
        await self._live()
        while True:
            batches = await self._carrier.after(self._place)
            for batch in batches:
                self._place = batch.place
                if batch.origin != self._origin:
                    self._found += _events_in(batch.events)
            if len(batches) < READ_MAX:
                break
        self._found += await self._ruled.read()
        found, self._found = self._found, []
        return found

    async def _live(self) -> None:
        now_ms = self._clock.now_ms()
        # A clock that stepped back is no reason to fall silent.
        if self._beaten_ms is None or not 0 <= now_ms - self._beaten_ms < BEAT_MS:
            await self._carrier.beat(self._origin)
            self._beaten_ms = now_ms
        self._has_company = await self._carrier.has_company(self._origin)
        if not 0 <= now_ms - self._forgotten_ms < FORGET_EVERY_MS:
            await self._carrier.forget()
            self._forgotten_ms = now_ms

    async def aclose(self) -> None:
        """Let go of the connection; the ledger is not ours."""
        await self._carrier.aclose()


def _events_in(raw: str) -> list[Event]:
    """The events; what another version wrote and this one cannot read is passed over."""
    try:
        plain = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return []
    return [event for each in plain if (event := event_of(each)) is not None] if isinstance(plain, list) else []


def tables(integer: str, place: str) -> tuple[str, ...]:
    """What creates the tables where they are missing."""
    return (
        (
            f"CREATE TABLE IF NOT EXISTS guard_events (place {place}, origin TEXT NOT NULL,"
            f" time_ms {integer} NOT NULL, events TEXT NOT NULL)"
        ),
        f"CREATE TABLE IF NOT EXISTS guard_gateways (origin TEXT PRIMARY KEY, seen_ms {integer} NOT NULL)",
    )


class Statements(NamedTuple):
    """SQL by which both databases do it. ``?`` stands for a parameter; the time is each statement's last."""

    beat: str
    company: str
    put: str
    after: str
    forget_gateways: str
    forget_events: str
    # Takes no parameter.
    forget_surplus: str


def statements(now: str) -> Statements:
    """``now`` is the time in SQL, with one parameter in it."""
    return Statements(
        beat=(
            f"INSERT INTO guard_gateways (origin, seen_ms) VALUES (?, {now})"  # noqa: S608 - names are ours
            " ON CONFLICT (origin) DO UPDATE SET seen_ms = excluded.seen_ms"
        ),
        company=f"SELECT 1 FROM guard_gateways WHERE origin <> ? AND seen_ms > {now} - {BELIEVED_MS} LIMIT 1",  # noqa: S608
        put=f"INSERT INTO guard_events (origin, events, time_ms) VALUES (?, ?, {now})",  # noqa: S608
        after=(
            "SELECT place, origin, events FROM guard_events"  # noqa: S608
            f" WHERE place > ? AND time_ms > {now} - {KEPT_MS} ORDER BY place LIMIT {READ_MAX}"
        ),
        forget_gateways=f"DELETE FROM guard_gateways WHERE seen_ms <= {now} - {KEPT_MS}",  # noqa: S608
        forget_events=f"DELETE FROM guard_events WHERE time_ms <= {now} - {KEPT_MS}",  # noqa: S608
        forget_surplus=(
            f"DELETE FROM guard_events WHERE place <= (SELECT MAX(place) FROM guard_events) - {BATCHES_MAX}"  # noqa: S608
        ),
    )
