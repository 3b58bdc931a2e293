"""Guards of several gateways over each store: what one saw or ruled holds at the others, and after a restart."""

from __future__ import annotations

import asyncio
import importlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.leak_play import Choice
from benchmarks.redis_server import RedisServer
from router.chat import Message, Request, Text
from router.clock import SystemClock
from router.errors import BudgetStoreUnavailableError, LedgerUnavailableError, LoopDetectedError, RouterError
from router.guarding import share
from router.guards import Keeper
from router.ledger import TripQuery
from router.policy import Caller, Guards, Terms
from router.stores import open_ledger
from router.stores.guards import open_guard_store
from router.stores.guards.ledger import LedgerGuards
from router.stores.guards.redis import RedisGuards
from router.stores.guards.sql import BATCHES_MAX, SqlGuards
from router.stores.memory import MemoryLedger
from router.stores.redis import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from router.ports import GuardStore, Ledger
    from router.stores.guards.sql import Statements

USD = 1_000_000_000
CALLER = Caller(key_id="k1", team="search")
CLOCK = SystemClock()


@dataclass
class Site:
    """What gateways share, and one more gateway's guards over it."""

    ledger: Ledger
    store_of: Callable[[Ledger], GuardStore]
    opened: list[GuardStore] = field(default_factory=list)

    async def gateway(self) -> Gateway:
        store = self.store_of(self.ledger)
        self.opened.append(store)
        gateway = Gateway(store, self.ledger)
        await gateway.catch_up()
        return gateway


class Gateway:
    def __init__(self, store: GuardStore, ledger: Ledger) -> None:
        self.store = store

        def report(trip: Any) -> None:
            store.noted(trip)
            ledger.append_later(trip)

        self.keeper = Keeper(b"salt" * 8, report)

    async def catch_up(self) -> None:
        """One turn of the sharing."""
        if self.keeper.outbox:
            await self.store.publish(self.keeper.outbox)
            self.keeper.outbox.clear()
        self.keeper.fold(await self.store.read())

    def ask(self, text: str = "Again?", *, bounds: Guards | None = None) -> RouterError | None:
        request = Request("openai_chat", "auto", (Message("user", (Text(text),)),), {}, body_bytes=100)
        try:
            self.keeper.admit(request, CALLER, Terms(), Choice("dec_1", USD), bounds or Guards(), CLOCK.now_ms())
        except RouterError as error:
            return error
        return None

    def until_stopped(self) -> None:
        for _ in range(12):
            if isinstance(self.ask(), LoopDetectedError):
                return
        raise AssertionError("nothing stopped it")


@pytest.fixture(params=["memory", "sqlite", "postgresql", "redis"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    ledger_url = {"sqlite": None, "postgresql": "postgres_url"}.get(request.param, "memory://")
    ledger_url = request.getfixturevalue(ledger_url) if ledger_url == "postgres_url" else ledger_url
    ledger = await open_ledger(ledger_url, home=tmp_path, clock=CLOCK)
    key = f"test:{secrets.token_hex(6)}"
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None

    def store_of(ledger: Ledger) -> GuardStore:
        if url is not None:
            return RedisGuards(Server(url), CLOCK, key=key)
        return open_guard_store(None, ledger_url, ledger, CLOCK, home=tmp_path)

    found = Site(ledger, store_of)
    yield found
    for store in found.opened:
        await store.aclose()
    await ledger.aclose()


async def test_a_stop_at_one_gateway_holds_at_the_other_and_a_release_too(site: Site) -> None:
    one, two = await site.gateway(), await site.gateway()
    one.until_stopped()
    await one.catch_up()
    await two.catch_up()
    assert isinstance(two.ask(), LoopDetectedError)
    ((scope_id, case),) = [each for each in two.keeper.cases(CLOCK.now_ms()) if each[1].is_stopped]
    assert (case.guard, case.team) == ("exact_repeat", "search")
    two.keeper.release(scope_id, CLOCK.now_ms())
    await two.catch_up()
    await one.catch_up()
    assert one.ask() is None


async def test_after_a_restart_a_stop_still_holds(site: Site) -> None:
    one = await site.gateway()
    one.until_stopped()
    await one.catch_up()
    again = await site.gateway()
    assert isinstance(again.ask(), LoopDetectedError)
    assert again.ask("Something else?") is None


async def test_an_exemption_holds_everywhere(site: Site) -> None:
    one, two = await site.gateway(), await site.gateway()
    one.until_stopped()
    ((scope_id, _),) = [each for each in one.keeper.cases(CLOCK.now_ms()) if each[1].is_stopped]
    one.keeper.exempt(scope_id, CLOCK.now_ms(), CLOCK.now_ms() + 60_000)
    await one.catch_up()
    await two.catch_up()
    for _ in range(20):
        assert two.ask() is None


async def test_a_gateway_does_not_take_in_its_own(site: Site) -> None:
    one = await site.gateway()
    one.until_stopped()
    before = [(each.is_stopped, each.strikes) for _, each in one.keeper.cases(CLOCK.now_ms())]
    await one.catch_up()
    await one.catch_up()
    assert [(each.is_stopped, each.strikes) for _, each in one.keeper.cases(CLOCK.now_ms())] == before
    assert len([trip async for trip in site.ledger.trips(TripQuery())]) == 2


async def test_a_loop_over_two_gateways_is_stopped_as_at_one(site: Site) -> None:
    one, two = await site.gateway(), await site.gateway()
    # One was alone until now, and would have told nobody of its first request.
    await one.catch_up()
    passed = 0
    for turn in range(40):
        gateway = (one, two)[turn % 2]
        passed += gateway.ask() is None
        await one.catch_up()
        await two.catch_up()
    is_shared = not isinstance(one.store, LedgerGuards)
    assert passed <= (1 if is_shared else 2) * Guards().repeats_max


@pytest.fixture(params=["sqlite", "postgresql"])
async def sql_site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    ledger_url = None if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    ledger = await open_ledger(ledger_url, home=tmp_path, clock=CLOCK)
    found = Site(ledger, lambda ledger: open_guard_store(None, ledger_url, ledger, CLOCK, home=tmp_path))
    yield found
    for store in found.opened:
        await store.aclose()
    await ledger.aclose()


async def test_a_gateway_that_is_alone_remembers_what_comes_again_and_again_beyond_its_death(sql_site: Site) -> None:
    one = await sql_site.gateway()
    for index in range(40):
        assert one.ask(f"What is the capital of country {chr(97 + index)}?") is None
        await one.catch_up()
    assert await _events_written(sql_site) == 0, "ordinary requests"
    asked = 0
    while not isinstance(one.ask("Again?"), LoopDetectedError):
        asked += 1
        await one.catch_up()
        if asked % 2 == 0:  # it dies, and nobody closes it
            one = await sql_site.gateway()
            await one.catch_up()
        assert asked <= 2 * Guards().repeats_max + 2, "counted on, but for what was not told yet"
    assert await _events_written(sql_site) > 0


async def test_a_gateway_that_is_alone_counts_a_bounded_number_and_among_them_what_comes_again(
    sql_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.stores.guards.sql.COUNTED_MAX", 40)
    one = await sql_site.gateway()
    assert isinstance(one.store, SqlGuards)
    for index in range(60):
        assert one.ask(f"What is the capital of country {chr(97 + index)}?") is None
        if index % 20 == 0:
            assert one.ask("Seldom?") is None
        await one.catch_up()
        assert len(one.store._calls) + len(one.store._calls_before) <= 40
    for index in range(60):
        assert one.ask(f"What is the capital of town {chr(97 + index)}?") is None
        if index % 8 == 0:
            assert one.ask("Often?", bounds=Guards(repeats_max=100)) is None
        await one.catch_up()
    assert await _events_written(sql_site) == 6, "what comes often, from the third of eight times on"


async def _events_written(site: Site) -> int:
    store = (await site.gateway()).store
    assert isinstance(store, SqlGuards)
    return len(await store._carrier.after(0))


async def test_a_gateway_that_is_alone_writes_no_events(sql_site: Site) -> None:
    one = await sql_site.gateway()
    assert isinstance(one.store, SqlGuards)
    alone_s = one.store.every_s
    one.ask()
    await one.catch_up()
    two = await sql_site.gateway()
    assert await two.store.read() == []
    await one.catch_up()
    assert one.store.every_s < alone_s, "now there is somebody to tell"
    one.ask()
    await one.catch_up()
    assert len(await two.store.read()) == 1
    assert await two.store.read() == [], "told once"


async def test_batches_beyond_the_bound_and_of_the_day_before_are_forgotten(
    sql_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await sql_site.gateway(), await sql_site.gateway()
    await one.catch_up()
    for text in ("one", "two", "three"):
        one.ask(text)
        await one.catch_up()
    monkeypatch.setattr("router.stores.guards.sql.FORGET_EVERY_MS", -1)
    carrier = one.store._carrier  # type: ignore[attr-defined]
    monkeypatch.setattr(f"{type(carrier).__module__}.SQL", _keeping(type(carrier).__module__, kept=1))
    await one.store.read()
    assert len(await two.store.read()) == 1, "the newest batch"


def _keeping(module: str, *, kept: int) -> Statements:
    sql: Statements = importlib.import_module(module).SQL
    return sql._replace(forget_surplus=sql.forget_surplus.replace(str(BATCHES_MAX), str(kept)))


async def test_what_cannot_be_read_in_a_batch_is_passed_over(sql_site: Site) -> None:
    one = await sql_site.gateway()
    carrier = one.store._carrier  # type: ignore[attr-defined]
    for raw in ("not json", "{}", '[["z", 1], ["a", 1, 2], 5]'):
        await carrier.put("another", raw)
    assert await one.store.read() == []


async def test_a_database_that_fails_between_events_and_rulings_loses_none(
    sql_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await sql_site.gateway(), await sql_site.gateway()
    await one.catch_up()
    one.ask()
    await one.catch_up()

    async def failing(_: object) -> list[object]:
        raise LedgerUnavailableError("away")

    with monkeypatch.context() as broken:
        broken.setattr(LedgerGuards, "read", failing)
        with pytest.raises(LedgerUnavailableError):
            await two.store.read()
    assert len(await two.store.read()) == 1


async def test_a_file_that_cannot_be_opened_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").mkdir()
    store = open_guard_store(None, None, MemoryLedger(), CLOCK, home=tmp_path)
    with pytest.raises(BudgetStoreUnavailableError, match="SQLite: unable to open"):
        await store.read()
    await store.aclose()


async def test_a_postgresql_that_is_not_there_is_an_error_in_words() -> None:
    store = open_guard_store(None, "postgresql://nobody:secret@127.0.0.1:1/none", MemoryLedger(), CLOCK)
    with pytest.raises(BudgetStoreUnavailableError, match="PostgreSQL: ") as found:
        await store.read()
    assert "secret" not in found.value.message
    await store.aclose()


# --- the carrier ------------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Any:
    running = RedisServer()
    running.start()
    yield running
    running.close()


async def test_while_redis_is_away_the_policy_decides_and_afterwards_nothing_is_missing(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.guarding.AWAY_S", 0.3)
    store, other = (RedisGuards(Server(server.url), CLOCK) for _ in range(2))
    one, two = Gateway(store, MemoryLedger()), Gateway(other, MemoryLedger())
    sharing = [asyncio.ensure_future(share(each.keeper, each.store)) for each in (one, two)]
    strict = Guards(rejects_without_state=True)
    assert one.ask(bounds=strict) is None
    server.kill()
    await _until(lambda: one.keeper.is_away)
    assert isinstance(one.ask(bounds=strict), BudgetStoreUnavailableError)
    assert one.ask() is None
    for _ in range(4):
        one.ask()
    server.start()
    await _until(lambda: not one.keeper.is_away and not one.keeper.outbox)
    await _until(lambda: isinstance(two.ask(), LoopDetectedError))
    for each in sharing:
        each.cancel()
    await asyncio.gather(*sharing, return_exceptions=True)
    await store.aclose()
    await other.aclose()


async def _until(is_so: Callable[[], bool]) -> None:
    for _ in range(300):
        if is_so():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never came")


async def test_what_another_version_wrote_is_passed_over(redis_url: str) -> None:
    key = f"test:{secrets.token_hex(6)}"
    server = Server(redis_url)
    for raw in (b"not json", b"{}", b'[["z", 1], ["a", 1, 2], 5]'):
        await server.client.xadd(key, {"from": b"other", "events": raw})
    await server.client.xadd(key, {"hello": "there"})
    store = RedisGuards(Server(redis_url), CLOCK, key=key)
    assert await store.read() == []
    await store.aclose()
    await server.aclose()


async def test_the_store_is_the_stream_where_there_is_a_redis(redis_url: str) -> None:
    ledger = MemoryLedger()
    assert isinstance(open_guard_store(None, "memory://", ledger, CLOCK), LedgerGuards)
    store = open_guard_store(redis_url, None, ledger, CLOCK)
    assert isinstance(store, RedisGuards)
    await store.aclose()
