"""Several gateways behind one address, on a virtual clock: each has guards of its own, and a real store between them.

Calls go to the gateways in turn. What each saw is published and read at the store's own interval of virtual time, as
`router.guarding.share` does it in real time: what happened since is what the others do not know yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

from benchmarks.postgres import PostgresServer
from benchmarks.redis_server import RedisServer
from router.guards import Keeper
from router.stores import open_ledger
from router.stores.guards.ledger import LedgerGuards
from router.stores.guards.redis import RedisGuards
from router.stores.guards.sql import SqlGuards
from router.stores.guards.sql_postgres import PostgresCarrier
from router.stores.guards.sql_sqlite import SqliteCarrier
from router.stores.redis import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from pathlib import Path
    from types import TracebackType
    from typing import Any

    from router.chat import Part, Request
    from router.guards import Mark, Verdict
    from router.guards.verdicts import Decided
    from router.ledger import GuardTrip
    from router.policy import Caller, Guards, Terms
    from router.ports import GuardStore, Ledger
    from router.stores.guards.sql import Carrier

    T = TypeVar("T")

SALT = b"a salt of thirty-two bytes, once"
STORES = ("memory", "sqlite", "postgresql", "redis")


@dataclass
class VirtualClock:
    """The replay's time."""

    ms: int = 0

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return self.ms

    def monotonic_s(self) -> float:
        """Seconds from nowhere in particular."""
        return self.ms / 1000


class Sites:
    """Real servers, started once for all replays."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is where SQLite's files go."""
        self.folder = folder
        self._stack = contextlib.ExitStack()
        self.redis, self.postgres = RedisServer(), PostgresServer()
        self._numbers = itertools.count()
        self._carriers: dict[str, Callable[[VirtualClock], Carrier]] = {}

    def __enter__(self) -> Self:
        self.redis.start()
        self._stack.callback(self.redis.close)
        self.postgres.start()
        self._stack.callback(self.postgres.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    async def ledger(self, store: str, clock: VirtualClock) -> Ledger:
        """A ledger of its own for one replay."""
        if store in ("memory", "redis"):
            return await open_ledger("memory://")
        if store == "sqlite":
            home = self.folder / f"replay-{next(self._numbers)}"
            home.mkdir()
            self._carriers[store] = lambda clock: SqliteCarrier(home / "ledger.sqlite", clock)
            return await open_ledger(None, home=home, clock=clock)
        url = self.postgres.create_database()
        self._carriers[store] = lambda clock: PostgresCarrier(url, clock=clock)
        return await open_ledger(url, clock=clock)

    def guards(self, store: str, ledger: Ledger, clock: VirtualClock, key: str) -> GuardStore:
        """One gateway's end of the store."""
        if store == "redis":
            return RedisGuards(Server(self.redis.url), clock, key=key)
        if store == "memory":
            return LedgerGuards(ledger, clock)
        return SqlGuards(ledger, clock, self._carriers[store](clock))


class SharedGate:
    """Implements benchmarks.leak_play.Gate for ``gateways`` keepers over one store. Close it in the end.

    With ``killed_every`` one of them dies about so often, counted in calls, and starts again: what it had not told yet
    is lost, and of the calls that it had let through nobody hears how they end.
    """

    def __init__(
        self,
        sites: Sites,
        store: str,
        gateways: int,
        report: Any,  # noqa: ANN401  # a callable
        killed_every: int | None = None,
    ) -> None:
        """``report`` is told every trip."""
        self._loop = asyncio.new_event_loop()
        self._clock = VirtualClock()
        self._ledger = self._run(sites.ledger(store, self._clock))
        self._place = (sites, store, f"leak:{secrets.token_hex(6)}")
        self._report = report
        self._stores = [self._opened(*self._place) for _ in range(gateways)]
        self._keepers = [Keeper(SALT, self._reporting(each, report)) for each in self._stores]
        self._turn = itertools.cycle(range(gateways))
        self._of_mark: dict[int, Keeper] = {}
        self._shared_ms: int | None = None
        self._killed_every = killed_every
        self._chance = random.Random(9)
        self.kills = 0

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def _opened(self, sites: Sites, store: str, key: str) -> GuardStore:
        async def opened() -> GuardStore:
            return sites.guards(store, self._ledger, self._clock, key)

        return self._run(opened())

    def _reporting(self, store: GuardStore, report: Any) -> Any:  # noqa: ANN401  # callables
        def told(trip: GuardTrip) -> None:
            report(trip)
            store.noted(trip)
            self._ledger.append_later(trip)

        return told

    def admit(
        self, request: Request, caller: Caller, terms: Terms, decision: Decided, bounds: Guards, now_ms: int
    ) -> Verdict:
        """As the gateway whose turn it is says."""
        self._share(now_ms)
        if self._killed_every is not None and self._chance.random() < 1 / self._killed_every:
            self._kill(self._chance.randrange(len(self._keepers)))
        keeper = self._keepers[next(self._turn)]
        verdict = keeper.admit(request, caller, terms, decision, bounds, now_ms)
        if verdict.mark is not None:
            self._of_mark[id(verdict.mark)] = keeper
        return verdict

    def observe(
        self, mark: Mark | None, *, now_ms: int, outcome: str, cost_nanousd: int, parts: Iterable[Part] = ()
    ) -> None:
        """Told to the gateway that let it through."""
        self._share(now_ms)
        keeper = self._keepers[0] if mark is None else self._of_mark.pop(id(mark))
        if keeper in self._keepers:
            keeper.observe(mark, now_ms=now_ms, outcome=outcome, cost_nanousd=cost_nanousd, parts=parts)

    def _kill(self, at: int) -> None:
        """Kill a gateway and start it again, which reads what may still matter."""

        async def dead() -> None:
            await self._stores[at].aclose()

        self._run(dead())
        self._stores[at] = self._opened(*self._place)
        self._keepers[at] = Keeper(SALT, self._reporting(self._stores[at], self._report))
        self.kills += 1

        async def reads() -> None:
            self._keepers[at].fold(await self._stores[at].read())

        self._run(reads())

    def _share(self, now_ms: int) -> None:
        every_ms = self._stores[0].every_s * 1000
        self._clock.ms = max(self._clock.ms, now_ms)
        if self._shared_ms is None:
            # They are up, and know of each other, before the runaway begins.
            self._run(self._all_share())
        if self._shared_ms is None or now_ms - self._shared_ms >= every_ms:
            self._shared_ms = now_ms
            self._run(self._all_share())

    async def _all_share(self) -> None:
        await self._ledger.sync()
        for keeper, store in zip(self._keepers, self._stores, strict=True):
            if keeper.outbox:
                await store.publish(keeper.outbox)
                keeper.outbox.clear()
        for keeper, store in zip(self._keepers, self._stores, strict=True):
            keeper.fold(await store.read())

    def close(self) -> None:
        """Let go of stores and ledger."""

        async def closed() -> None:
            for store in self._stores:
                await store.aclose()
            await self._ledger.aclose()

        self._run(closed())
        self._loop.close()
