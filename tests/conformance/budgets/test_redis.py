"""What only Redis can do to budgets: forget, restart, stall, be another's; and what is refused at start."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from benchmarks.redis_server import RedisServer
from router.budgets import Balance, Claim, Denial, Grant, OpenHold
from router.budgets.terms import ASIDE
from router.clock import SystemClock
from router.errors import BudgetStoreUnavailableError, ConfigError
from router.money import AMOUNT_NANOUSD_MAX
from router.stores import open_ledger
from router.stores.budgets import open_budget_store
from router.stores.budgets.allowing import AllowingBudgets
from router.stores.budgets.leased import LeasedBudgets
from router.stores.budgets.memory import MemoryBudgets
from router.stores.budgets.redis import RedisBudgets
from router.stores.budgets.stranded import SliceName
from router.stores.memory import MemoryLedger
from router.stores.redis import ANSWER_S, CONNECT_S, Server
from tests.conformance.budgets.stands import ENDLESS, LEASE_MS, claim_of, ids_expired, nothing
from tests.lines import START_MS, StillClock, intent_line, settlement_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from router.ports import BudgetStore, Ledger
    from router.stores.budgets import Known

BOUND_S = CONNECT_S + ANSWER_S + 2.0


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """One that may be killed."""
    running = RedisServer()
    running.start()
    yield running
    running.close()


class Book:
    """What the ledger knows, and how often it was asked."""

    def __init__(self) -> None:
        self.balances: list[Balance] = []
        self.holds: list[OpenHold] = []
        self.closed: list[str] = []
        self.asked = 0
        self.reserved: list[str] = []

    async def __call__(self, reserved: Sequence[str]) -> Known:
        self.asked += 1
        self.reserved = sorted(reserved)
        await asyncio.sleep(0.05)
        return self.balances, self.holds, self.closed


def store_of(url: str, known: Any = nothing, **changes: Any) -> RedisBudgets:
    return RedisBudgets(Server(url), known=known, settling_s=0.05, **changes)


@pytest.fixture
async def opened(server: RedisServer) -> AsyncIterator[tuple[RedisBudgets, Book]]:
    book = Book()
    store = store_of(server.url, book)
    await store.start()
    yield store, book
    await store.aclose()


async def held(store: Any, name: str, *claims: Claim, most: int = 10) -> Grant | Denial:
    found: Grant | Denial = await store.reserve(
        name, claims or (claim_of(100),), least_nanousd=1, most_nanousd=most, lease_ms=LEASE_MS
    )
    return found


async def held_again(store: RedisBudgets, name: str, *claims: Claim, most: int = 10) -> Grant | Denial:
    """As soon as the store answers again."""
    for _ in range(200):
        try:
            return await held(store, name, *claims, most=most)
        except BudgetStoreUnavailableError:
            await asyncio.sleep(0.05)
    raise AssertionError("it never answered again")


async def test_flushed_it_grants_nothing_before_it_was_told_what_the_ledger_knows(
    server: RedisServer, opened: tuple[RedisBudgets, Book]
) -> None:
    store, book = opened
    claim = claim_of(100)
    grant = await held(store, "a-1", claim, most=70)
    assert isinstance(grant, Grant)
    book.balances = [Balance(grant.accounts[0], 25, 0)]
    book.holds = [OpenHold("a-1", 70, grant.accounts, START_MS + 10**9)]
    await store._server.client.flushall()
    with pytest.raises(BudgetStoreUnavailableError, match="lost its memory"):
        await held(store, "b-1", claim, most=1)
    found = await held_again(store, "b-1", claim, most=50)
    assert isinstance(found, Grant)
    assert found.held_nanousd == 5
    await store.settle("a-1", 30)
    (balance,) = await store.balances((claim,))
    assert (balance.settled_nanousd, balance.held_nanousd) == (55, 5)


async def test_several_gateways_tell_it_once(server: RedisServer) -> None:
    book = Book()
    stores = [store_of(server.url, book) for _ in range(4)]
    await asyncio.gather(*(store.start() for store in stores))
    assert book.asked == 1
    await asyncio.gather(*(held_again(store, f"a-{index}") for index, store in enumerate(stores)))
    for store in stores:
        await store.aclose()


async def test_killed_and_started_again_it_is_told_again_although_its_file_is_whole(
    server: RedisServer, opened: tuple[RedisBudgets, Book]
) -> None:
    store, book = opened
    await held(store, "a-1", most=60)
    server.kill()
    began_s = time.monotonic()
    with pytest.raises(BudgetStoreUnavailableError):
        await held(store, "b-1")
    assert time.monotonic() - began_s < BOUND_S
    server.start()
    found = await held_again(store, "c-1", most=100)
    assert book.asked == 2
    assert isinstance(found, Grant)
    assert found.held_nanousd == 40, "the file was whole: what it held is held"
    assert book.reserved == ["a-1"], "the ledger was asked whether it has ended meanwhile"


async def test_started_again_without_its_file_it_knows_what_the_ledger_does(
    server: RedisServer, opened: tuple[RedisBudgets, Book]
) -> None:
    store, book = opened
    grant = await held(store, "a-1", most=60)
    assert isinstance(grant, Grant)
    book.holds = [OpenHold("a-1", 60, grant.accounts, START_MS + 10**9)]
    server.kill()
    for path in server.folder.iterdir():
        if path.suffix in (".aof", ".rdb"):
            path.unlink()
    server.start()
    found = await held_again(store, "c-1", most=100)
    assert isinstance(found, Grant)
    assert found.held_nanousd == 40


async def test_stalled_it_refuses_in_bounded_time_and_goes_on_afterwards(
    server: RedisServer, opened: tuple[RedisBudgets, Book]
) -> None:
    store, _ = opened
    await held(store, "a-1")
    server.pause()
    began_s = time.monotonic()
    with pytest.raises(BudgetStoreUnavailableError, match="does not answer"):
        await held(store, "b-1")
    assert time.monotonic() - began_s < BOUND_S
    server.resume()
    assert isinstance(await held_again(store, "c-1"), Grant)


async def test_out_of_memory_it_refuses_says_so_and_takes_half_of_nothing(
    server: RedisServer, opened: tuple[RedisBudgets, Book]
) -> None:
    store, _ = opened
    await held(store, "a-1", most=30)
    with Redis.from_url(server.url) as client:
        client.config_set("maxmemory", 1)
        for _ in range(2):
            with pytest.raises(BudgetStoreUnavailableError, match=r"is out of memory \(maxmemory\)"):
                await held(store, "b-1", most=30)
        client.config_set("maxmemory", 0)
    assert (await store.balances((claim_of(100),)))[0].held_nanousd == 30
    await store.settle("a-1", 20)
    found = await held(store, "c-1", most=100)
    assert isinstance(found, Grant)
    assert found.held_nanousd == 80


async def test_a_primary_that_became_a_replica_is_left_for_where_its_name_leads(
    server: RedisServer, opened: tuple[RedisBudgets, Book]
) -> None:
    """After a failover the old connections live on, and every one of them would refuse for ever."""
    store, _ = opened
    await held(store, "a-1", most=30)
    with Redis.from_url(server.url) as client:
        client.replicaof("127.0.0.1", "1")
        with pytest.raises(BudgetStoreUnavailableError, match="is a replica now"):
            await held(store, "b-1")
        before = client.info("stats")["total_connections_received"]
        with pytest.raises(BudgetStoreUnavailableError, match="is a replica now"):
            await held(store, "b-1")
        assert client.info("stats")["total_connections_received"] == before + 1
        client.replicaof("NO", "ONE")
    assert isinstance(await held_again(store, "c-1"), Grant)


async def test_scripts_that_were_flushed_are_sent_again(server: RedisServer, opened: tuple[RedisBudgets, Book]) -> None:
    store, _ = opened
    await held(store, "a-1")
    with Redis.from_url(server.url) as client:
        client.script_flush()
        client.client_kill_filter(_type="normal", skipme=True)
    assert isinstance(await held_again(store, "b-1"), Grant)
    assert (await store.balances((claim_of(100),)))[0].held_nanousd == 20


async def test_many_at_once_wait_for_a_connection(opened: tuple[RedisBudgets, Book]) -> None:
    store, _ = opened
    claim = claim_of(400)
    found = await asyncio.gather(*(held(store, f"a-{number}", claim, most=1) for number in range(500)))
    assert sum(isinstance(each, Grant) for each in found) == 400


async def test_time_is_the_servers(server: RedisServer) -> None:
    store = store_of(server.url)
    await store.start()
    claim = claim_of(100)
    await store.reserve("a-1", (claim,), least_nanousd=1, most_nanousd=10, lease_ms=20)
    await asyncio.sleep(0.1)
    assert await ids_expired(store) == ("a-1",)
    await store.aclose()


AMOUNTS = st.one_of(st.integers(0, 3), st.integers(0, AMOUNT_NANOUSD_MAX), st.integers(10**9 - 2, 10**9 + 2))


@given(steps=st.lists(st.tuples(AMOUNTS, AMOUNTS, AMOUNTS, st.booleans()), min_size=1, max_size=6))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_amounts_are_exact_up_to_what_an_integer_holds(redis_url: str, steps: list[tuple[int, int, int, bool]]) -> None:
    async def both() -> None:
        clock, prefix = StillClock(), f"test:{{{secrets.token_hex(6)}}}:"
        store = store_of(redis_url, clock=clock, prefix=prefix)
        await store.start()
        model = MemoryBudgets(clock)
        for index, (limit, wanted, actual, is_hard) in enumerate(steps):
            claims = (claim_of(max(limit, 1), is_hard=is_hard), claim_of(AMOUNT_NANOUSD_MAX, "all", ""))
            for each in (store, model):
                each.answer = await each.reserve(  # type: ignore[attr-defined]
                    f"a-{index}", claims, least_nanousd=min(wanted, 1), most_nanousd=wanted, lease_ms=LEASE_MS
                )
            assert store.answer == model.answer  # type: ignore[attr-defined]
            for each in (store, model):
                each.more = await each.extend(f"a-{index}", limit, lease_ms=LEASE_MS)  # type: ignore[attr-defined]
            assert store.more == model.more  # type: ignore[attr-defined]
            for each in (store, model):
                await each.settle(f"a-{index}", actual)
            assert await store.balances(claims) == await model.balances(claims)
        await store.aclose()

    asyncio.run(both())


# --- at start ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://x", "redis://", "localhost:6379", "redis://host:port/0", "unix:///tmp/x"])
def test_a_url_that_names_no_redis_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError, match="REDIS_URL") as caught:
        Server(url.replace("://", "://user:hunter2@") if "://" in url else url)
    assert "hunter2" not in caught.value.message


async def test_one_that_may_drop_keys_is_refused_with_the_reason(server: RedisServer) -> None:
    found = Server(server.url)
    await found.client.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(ConfigError, match="maxmemory-policy allkeys-lru, which may drop"):
        await found.require_sound()
    await found.client.config_set("maxmemory-policy", "noeviction")
    await found.require_sound()
    await found.client.replicaof("127.0.0.1", "9")
    with pytest.raises(ConfigError, match="is a replica"):
        await found.require_sound()
    await found.aclose()


async def test_an_older_version_and_a_wrong_password_are_refused(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Server(server.url)

    async def old() -> dict[str, str]:
        return {"redis_version": "5.0.14", "role": "master"}

    monkeypatch.setattr(found.client, "info", old)
    with pytest.raises(ConfigError, match=r"is Redis 5\.0\.14; 6\.2 or newer"):
        await found.require_sound()
    await found.client.config_set("requirepass", "sesame")
    await found.aclose()
    wrong = Server(server.url.replace("redis://", "redis://:hunter2@"))
    with pytest.raises(ConfigError, match="refuses the user or the password") as caught:
        await wrong.require_sound()
    assert "hunter2" not in caught.value.message
    await wrong.aclose()


async def test_nobody_there_is_said_in_bounded_time() -> None:
    gone = Server("redis://127.0.0.1:9/0")
    with pytest.raises(BudgetStoreUnavailableError, match=r"127\.0\.0\.1:9 does not answer"):
        await gone.require_sound()
    await gone.aclose()


async def test_what_leases_cost_is_an_account_of_the_ledgers_and_no_budgets(
    server: RedisServer, tmp_path: Path
) -> None:
    ledger, claim = MemoryLedger(), Claim("company", "", 100, True, (ENDLESS,))
    account, chain = claim.account(ENDLESS), SliceName("ab12", 1, 2, 0).account
    await ledger.append(intent_line("d1", accounts=(account, chain), hold_nanousd=30))
    store = await open_budget_store(server.url, None, ledger, home=tmp_path)
    async with asyncio.timeout(10):
        while True:
            with suppress(BudgetStoreUnavailableError):
                ((_, settled, reserved),) = await store.balances([claim])
                break
            await asyncio.sleep(0.05)
    assert (settled, reserved) == (0, 30)
    names = Redis.from_url(server.url).keys("*")
    assert any(b"d1-1" in name for name in names)
    assert not any(ASIDE.encode() in name for name in names)
    await store.aclose()


# --- told again, nothing is charged twice -----------------------------------------------------------------------------


class Site:
    """A gateway's budgets as they are composed, over a Redis of its own and the ledger that tells it again."""

    def __init__(self, server: RedisServer, ledger: Ledger, shared: BudgetStore, share: float) -> None:
        self.server, self.ledger, self.shared = server, ledger, shared
        self.claim = Claim("company", "", 1_000, True, (ENDLESS,))
        leased = LeasedBudgets(shared, SystemClock(), lambda: share, ledger.spend)
        self.store = AllowingBudgets(leased, lambda: 500, Unheard(), SystemClock())

    async def begin(self, name: str) -> None:
        """A call that is held, or allowed, and whose intent is in the ledger."""
        answer = await self.store.reserve(
            f"{name}-1", (self.claim,), least_nanousd=1, most_nanousd=20, lease_ms=600_000
        )
        assert isinstance(answer, Grant)
        time_ms = SystemClock().now_ms()
        hold = answer.held_nanousd
        await self.ledger.append(intent_line(name, time_ms=time_ms, accounts=answer.accounts, hold_nanousd=hold))

    async def write_end(self, name: str, cost: int) -> None:
        """The call has ended, as the ledger has it."""
        self.ledger.append_later(settlement_line(name, time_ms=SystemClock().now_ms(), cost_nanousd=cost))
        await self.ledger.spend()

    async def until(self, ask: Callable[[], Awaitable[Any]]) -> None:
        """Ask until the store answers."""
        async with asyncio.timeout(20):
            while True:
                with suppress(BudgetStoreUnavailableError):
                    await ask()
                    return
                await asyncio.sleep(0.05)

    async def stands(self) -> tuple[int, int]:
        ((_, settled, reserved),) = await self.shared.balances([self.claim])
        return settled, reserved


class Unheard:
    """Told what outages let pass, and deaf to it."""

    def budget_store_away(self, *, is_away: bool) -> None: ...

    def budget_allowed(self, nanousd: int) -> None: ...


@asynccontextmanager
async def site_of(server: RedisServer, folder: Path, share: float) -> AsyncIterator[Site]:
    ledger = await open_ledger(None, home=folder)
    shared = await open_budget_store(server.url, None, ledger, home=folder)
    site = Site(server, ledger, shared, share)
    try:
        await site.until(site.stands)
        yield site
    finally:
        await site.store.aclose()
        await ledger.aclose()


@pytest.mark.parametrize("keeps_file", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.2])
async def test_calls_that_end_while_redis_is_away_are_charged_once(
    server: RedisServer, tmp_path: Path, share: float, *, keeps_file: bool
) -> None:
    """Held before, and settled in the ledger before Redis is told: its own hold and the sum are the same money."""
    async with site_of(server, tmp_path, share) as site:
        for number in range(8):
            await site.begin(f"d{number}")
        for number in range(3):
            await site.write_end(f"d{number}", 10)
            await site.store.settle(f"d{number}-1", 10)
        if share == 0.0:
            await site.until(site.store.expire)
            assert await site.stands() == (30, 100)
        server.kill()
        if not keeps_file:
            for path in server.folder.glob("*.aof"):
                path.unlink()
        for number in range(3, 7):
            await site.write_end(f"d{number}", 10)
        server.start()
        await site.until(site.stands)
        for number in range(3, 7):
            await site.until(lambda number=number: site.store.settle(f"d{number}-1", 10))  # type: ignore[misc]
        await site.write_end("d7", 10)
        await site.until(lambda: site.store.settle("d7-1", 10))
        async with asyncio.timeout(20):
            while await site.stands() != (80, 0):
                await asyncio.sleep(0.1)
                assert (await site.stands())[0] <= 80


async def test_a_call_that_passed_while_redis_was_away_is_charged_once(server: RedisServer, tmp_path: Path) -> None:
    """By the ledger, which tells a Redis that lost its memory, or by its gateway: never by both."""
    async with site_of(server, tmp_path, 0.0) as site:
        server.kill()
        for name in ("a", "b"):
            await site.begin(name)
        await site.write_end("a", 10)
        await site.store.settle("a-1", 10)
        server.start()
        await site.until(site.stands)
        assert await site.stands() == (10, 20)
        await site.write_end("b", 12)
        await site.store.settle("b-1", 12)
        await site.until(site.store.expire)
        assert await site.stands() == (22, 0)
