"""What guards ruled, read from the ledger's entries.

Stops, releases and exemptions hold at every gateway, and after a restart. What each gateway counted is its own unless
it is told otherwise (`router.stores.guards.sql`): by rulings alone, a loop that spreads itself evenly over n of them
would be stopped n times later, and a recursion whose calls never meet their parents at one gateway not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.guards import ruled_of
from router.ledger import TripQuery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.clock import Clock
    from router.guards import Event
    from router.ledger import GuardTrip
    from router.ports import Ledger

# The longest stop: what is older has ended.
KEPT_MS = 86_400_000
# Entries are written in the background, and clocks differ: so much is read again each time.
OVERLAP_MS = 30_000
TRIPS_MAX = 10_000


class LedgerGuards:
    """Implements router.ports.GuardStore: nothing has to be told, since every trip is an entry already."""

    every_s = 1.0

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._from_ms: int | None = None
        self._known: dict[tuple[object, ...], int] = {}

    async def publish(self, events: Sequence[Event]) -> None:
        """Nothing to do."""

    def noted(self, trip: GuardTrip) -> None:
        """One of this gateway's own: it is not to be taken in again."""
        self._known[_name_of(trip)] = trip.time_ms

    async def read(self) -> list[Event]:
        """What others ruled since the last time, oldest first; at first all that may still hold."""
        now_ms = self._clock.now_ms()
        from_ms = now_ms - KEPT_MS if self._from_ms is None else self._from_ms - OVERLAP_MS
        found = [trip async for trip in self._ledger.trips(TripQuery(from_ms=from_ms), limit=TRIPS_MAX)]
        self._from_ms = now_ms
        fresh = [trip for trip in reversed(found) if _name_of(trip) not in self._known]
        for trip in fresh:
            self.noted(trip)
        for name in [name for name, time_ms in self._known.items() if time_ms < now_ms - KEPT_MS]:
            del self._known[name]
        return [event for trip in fresh if (event := ruled_of(trip)) is not None]

    async def aclose(self) -> None:
        """Nothing to let go of: the ledger is not ours."""


def _name_of(trip: GuardTrip) -> tuple[object, ...]:
    return trip.guard_id, trip.time_ms, trip.guard, trip.action, trip.by, trip.decision_id
