"""What holding and charging money costs a request in each store: microseconds, and round trips to a server.

Five hard claims a call, as a request has under company, team, project, key and session. With leases there are four:
sessions are too many to be leased, so their claims would be asked for each time. Add a store to STORES and it is
measured beside the others.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from redis import Redis

from benchmarks.figures import percentile, significant
from benchmarks.postgres import PostgresServer
from benchmarks.redis_server import RedisServer
from benchmarks.turns import SOCKET_NAME, Turns
from router.budgets import Claim, Grant
from router.budgets.windows import windows_around
from router.clock import SystemClock
from router.stores.budgets import open_budgets
from router.stores.budgets.leased import LeasedBudgets
from router.stores.budgets.redis import RedisBudgets
from router.stores.redis import Server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from router.ledger import Spend
    from router.ports import BudgetStore

SCOPES = ("company", "team", "project", "key", "session")
LIMIT_NANOUSD = 10**15
LEASE_MS = 900_000
AT_ONCE = 64
WARM_UP_PAIRS = 60
TURNS_PAIRS = 50
# Claims are leased once they have come a few times: enough calls that this does not count.
LEASED_TURNS_PAIRS = 2_000
LEASE_SHARE = 0.02


class Counting(Protocol):
    """Counts the round trips to a server."""

    @property
    def count(self) -> int:
        """So far."""
        ...


@dataclass(frozen=True, slots=True)
class Scripts:
    """Counts the scripts that a Redis ran: each is a round trip."""

    url: str

    @property
    def count(self) -> int:
        """So far, by the server's own statistics."""
        with Redis.from_url(self.url) as client:
            found: Any = client.info("commandstats")
        return sum(found.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))


@dataclass(frozen=True, slots=True)
class Priced:
    """A store to measure: how it is opened, and, where it has a server, the same through a counter of round trips."""

    open: Callable[[], Awaitable[BudgetStore]]
    turns: Counting | None = None
    open_counted: Callable[[], Awaitable[BudgetStore]] | None = None
    scopes: tuple[str, ...] = SCOPES
    turns_pairs: int = TURNS_PAIRS


def _memory(_: ExitStack) -> Priced:
    return Priced(lambda: open_budgets("memory://"))


def _sqlite(stack: ExitStack) -> Priced:
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tollgate-budgets-"))
    return Priced(lambda: open_budgets(f"sqlite:///{Path(folder) / 'ledger.sqlite'}"))


def _postgres(stack: ExitStack) -> Priced:
    server = PostgresServer()
    stack.callback(server.close)
    server.start()
    url = server.create_database()
    turns = stack.enter_context(Turns(server.folder / SOCKET_NAME))
    counted = url.replace(str(server.folder), str(turns.folder))
    return Priced(lambda: open_budgets(url), turns, lambda: open_budgets(counted))


def _redis(stack: ExitStack) -> Priced:
    server = RedisServer()
    stack.callback(server.close)
    server.start()
    return Priced(lambda: _open_redis(server.url), Scripts(server.url), lambda: _open_redis(server.url))


async def _open_redis(url: str) -> BudgetStore:
    store = RedisBudgets(Server(url), known=_nothing, settling_s=0.0)
    await store.start()
    return store


async def _spent_nothing(accounts: Sequence[str]) -> Mapping[str, Spend]:  # noqa: ARG001  # no gateway dies here
    return {}


async def _nothing(reserved: Sequence[str]) -> tuple[tuple[()], tuple[()], tuple[()]]:  # noqa: ARG001  # none of it
    return (), (), ()


def _leased(store: Callable[[ExitStack], Priced]) -> Callable[[ExitStack], Priced]:
    """The store behind leases of a fiftieth of what is left."""

    def opened(stack: ExitStack) -> Priced:
        found = store(stack)

        def over(open_store: Callable[[], Awaitable[BudgetStore]]) -> Callable[[], Awaitable[BudgetStore]]:
            async def leased() -> BudgetStore:
                return LeasedBudgets(await open_store(), SystemClock(), lambda: LEASE_SHARE, _spent_nothing)

            return leased

        counted = None if found.open_counted is None else over(found.open_counted)
        return Priced(over(found.open), found.turns, counted, SCOPES[:-1], LEASED_TURNS_PAIRS)

    return opened


STORES: dict[str, Callable[[ExitStack], Priced]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "postgresql": _postgres,
    "redis": _redis,
    "sqlite leased": _leased(_sqlite),
    "postgresql leased": _leased(_postgres),
    "redis leased": _leased(_redis),
}


def measured(names: Sequence[str], *, pairs: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Each store's figures: the stores take turns, the medians over the rounds are reported."""
    with ExitStack() as stack:
        priced = {name: STORES[name](stack) for name in names}
        found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for number in range(rounds):
            for name in names:
                found[name].append(asyncio.run(_round(priced[name], f"{number}", pairs)))
        return {
            name: {
                "round_trips_a_pair": asyncio.run(_turns(priced[name])),
                **{key: significant(percentile([each[key] for each in found[name]], 0.5)) for key in found[name][0]},
            }
            for name in names
        }


def claims_of(number: int, scopes: Sequence[str] = SCOPES) -> tuple[Claim, ...]:
    """One call's claims: one company, a few teams, projects and keys, many sessions."""
    windows = windows_around("day", "UTC", SystemClock().now_ms())
    owners = ("", f"t{number % 4}", f"p{number % 10}", f"k{number % 20}", f"s{number % 500}")
    return tuple(
        Claim(scope, owner, LIMIT_NANOUSD, is_hard=True, windows=windows)
        for scope, owner in zip(scopes, owners, strict=False)
    )


async def _pair(store: BudgetStore, name: str, claims: tuple[Claim, ...]) -> float:
    began = time.perf_counter()
    grant = await store.reserve(name, claims, least_nanousd=1, most_nanousd=5_000_000, lease_ms=LEASE_MS)
    assert isinstance(grant, Grant), "the limit is far away"
    await store.settle(name, 1_234_567)
    return time.perf_counter() - began


async def _round(priced: Priced, token: str, pairs: int) -> dict[str, float]:
    claims = [claims_of(number, priced.scopes) for number in range(pairs)]
    store = await priced.open()
    try:
        for number in range(WARM_UP_PAIRS):
            await _pair(store, f"{token}-w{number}", claims[number % pairs])
        alone = [await _pair(store, f"{token}-a{number}", claims[number]) for number in range(pairs)]
        queue = iter(range(pairs * 4))
        together: list[float] = []

        async def ask() -> None:
            for number in queue:
                took_s = await _pair(store, f"{token}-b{number}", claims[number % pairs])
                together.append(took_s)

        began = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
        elapsed = time.perf_counter() - began
    finally:
        await store.aclose()
    return {
        "alone_us_p50": percentile(alone, 0.5) * 1e6,
        "alone_us_p99": percentile(alone, 0.99) * 1e6,
        f"at_once_{AT_ONCE}_us_p50": percentile(together, 0.5) * 1e6,
        f"at_once_{AT_ONCE}_us_p99": percentile(together, 0.99) * 1e6,
        f"at_once_{AT_ONCE}_pairs_per_s": len(together) / elapsed,
    }


async def _turns(priced: Priced) -> float:
    """Round trips that a call waits for, one call at a time."""
    if priced.turns is None or priced.open_counted is None:
        return 0.0
    store = await priced.open_counted()
    try:
        # Whatever is prepared on first use is prepared before.
        for number in range(WARM_UP_PAIRS):
            await _pair(store, f"counted-w{number}", claims_of(number, priced.scopes))
        before = priced.turns.count
        for number in range(priced.turns_pairs):
            await _pair(store, f"counted-{number}", claims_of(number, priced.scopes))
        return (priced.turns.count - before) / priced.turns_pairs
    finally:
        await store.aclose()
