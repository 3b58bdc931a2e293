"""The composition root: the only file that names concrete classes. Everything else is told what it works with."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import uvicorn
from prometheus_client import CollectorRegistry

from router import heap
from router.admission import Admission
from router.clock import SystemClock
from router.config.hosts import HOSTS, deployments_of, has_any_key
from router.config.labels import LabelWatch
from router.config.prices import load_catalog
from router.config.watch import PolicyWatch
from router.cooldown import Cooldowns
from router.dispatch import Dispatch
from router.errors import ConfigError, RouterError, StoreError
from router.gateway import Gateway, InForce
from router.guarding import Guarding, share
from router.guards import Keeper
from router.listening import bind
from router.money import NANO_PER_USD
from router.providers import open_session, providers_of
from router.quality import load_quality_model
from router.server import Idempotency, ServerParts, create_app
from router.server.budgets import budget_routes
from router.server.chargeback import chargeback_routes
from router.server.contexts import context_routes
from router.server.dashboard import dashboard_routes
from router.server.guards import guard_routes
from router.server.http_protocol import ShapedHttpProtocol
from router.server.reports import report_routes
from router.server.webhook import WebhookTeller
from router.simulator import SimulatorProcess
from router.stores import open_ledger, sqlite_path_of
from router.stores.budgets import open_budget_store
from router.stores.budgets.allowing import AllowingBudgets
from router.stores.budgets.leased import LeasedBudgets
from router.stores.guards import open_guard_store
from router.stream import Background
from router.telemetry import LOGGER_NAME, Telemetry, exposition, start_logging
from router.treasury import Treasury

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path

    from fastapi import APIRouter

    from router.calibration import Calibrations
    from router.catalog import PriceSchedule, PriceTier
    from router.config.settings import Settings
    from router.config.watch import PolicyStatus
    from router.ledger import GuardTrip
    from router.policy import Policy
    from router.ports import BudgetStore, Deployment, Ledger

log = logging.getLogger(LOGGER_NAME)

SALT_BYTES = 32
LEASE_SWEEP_S = 15.0
SHUTDOWN_GRACE_S = 20.0
# Longer than the 60 seconds for which load balancers usually keep an idle connection: whoever closes first must be the
# one that would send on it, or requests are lost on the way.
KEEP_ALIVE_S = 75
CLOSING_GRACE_S = 5.0
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Assembled:
    """A gateway that is ready to serve."""

    app: object
    gateway: Gateway
    ledger: Ledger
    is_simulated: bool
    needs_key: bool


def load_salt(home: Path) -> bytes:
    """This installation's salt for prompt and session hashes, made on first use, readable by its owner alone."""
    path = home / "salt"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(SALT_BYTES))
        salt = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{home}: cannot be used as TOLLGATE_HOME: {error.strerror}") from error
    if len(salt) != SALT_BYTES:
        raise ConfigError(f"{path}: expected {SALT_BYTES} bytes, found {len(salt)}; remove it to make a new one")
    return salt


def in_force_of(policy: Policy, deployments: Mapping[str, Deployment], calibrations: Calibrations) -> InForce:
    """The policy with every model that has no key marked as unreachable."""
    models = {name: replace(model, is_reachable=name in deployments) for name, model in policy.models.items()}
    return InForce(replace(policy, models=models), deployments, calibrations)


def require_keys(settings: Settings, *, has_keys: bool) -> None:
    """An address that others can reach needs keys: refuse to start without. Raises ConfigError."""
    if not has_keys and settings.host not in LOOPBACK:
        raise ConfigError(
            f"refusing to listen on {settings.host} without keys: make one with `tollgate keys create --team NAME`, "
            "or listen on 127.0.0.1"
        )


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's place among others: what its parent has for all of them (router.workers).

    ``urls`` are the simulated vendors', None where vendors are real; ``metrics`` the folder in which all count;
    ``told`` is called with the banner once the worker is ready.
    """

    sock: socket.socket
    urls: Mapping[str, str] | None
    metrics: Path
    told: Callable[[str], None]


@contextlib.asynccontextmanager
async def assembled(settings: Settings, place: Place | None = None) -> AsyncIterator[Assembled]:
    """Build every part in order, and take them down in reverse. Raises ConfigError and StoreError."""
    clock, salt = SystemClock(), load_salt(settings.home)
    catalog = load_catalog()
    quality = load_quality_model(None)
    registry = CollectorRegistry()
    telemetry = Telemetry(registry)
    async with contextlib.AsyncExitStack() as stack:
        watch = PolicyWatch(settings, catalog)
        require_keys(settings, has_keys=watch.key_ring is not None)
        urls = stack.enter_context(vendors_of(watch.policy, settings)) if place is None else place.urls
        deployments = deployments_of(watch.policy, settings.env, urls)
        ledger = await open_ledger(settings.ledger_url, home=settings.home, clock=clock)
        stack.push_async_callback(ledger.aclose)
        labels = LabelWatch(settings.home, ledger, clock, quality.revision)
        current = [in_force_of(watch.policy, deployments, labels.in_force)]

        def swap(policy: Policy) -> None:
            deployments = deployments_of(policy, settings.env, urls)
            current[0] = in_force_of(policy, deployments, labels.in_force)
            telemetry.calibrations_told(len(labels.refused()), labels.alarms())

        def told(status: PolicyStatus) -> None:
            telemetry.policy_broken.set(status.broken is not None)
            parts.keys = watch.key_ring

        budgets = await budgets_of(settings, watch, ledger, telemetry, clock)
        treasury = Treasury(budgets, telemetry.budgets, clock, salt)
        stack.push_async_callback(close_in_turn, treasury, budgets)
        session = await stack.enter_async_context(open_session())
        stack.push_async_callback((background := Background()).aclose, SHUTDOWN_GRACE_S)
        admission = Admission(ledger, telemetry, clock, treasury)
        dispatch = Dispatch(providers_of(session), admission, ledger, clock, cooldowns_of(watch.policy))
        hooks = WebhookTeller(session, lambda: watch.policy.guards.webhook, settings.env, telemetry.guards, clock)
        guarding = await stack.enter_async_context(guarded(settings, ledger, telemetry, clock, salt, hooks))
        gateway = Gateway(lambda: current[0], quality, guarding, admission, dispatch, clock, background, salt)
        parts = ServerParts(
            gateway=gateway,
            ledger=ledger,
            keys=watch.key_ring,
            admin_key=settings.admin_key,
            policy_status=lambda: watch.status,
            clock=clock,
            registry=registry,
            metrics=partial(exposition, registry, None if place is None else place.metrics),
            idempotency=Idempotency(ledger, clock),
            salt=salt,
            calibrations_refused=labels.refused,
            check_budgets=partial(budgets.balances, ()),
            are_guards_away=lambda: guarding.keeper.is_away,
        )
        telemetry.calibrations_told(len(labels.refused()), labels.alarms())
        app = create_app(parts, *routes_of(parts, budgets, guarding.keeper))
        with contextlib.suppress(NotImplementedError, ValueError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, watch.wake)
        watching = asyncio.ensure_future(watch.run(swap, told))
        sweeping = asyncio.ensure_future(sweep_leases(ledger, budgets, clock))
        calibrating = asyncio.ensure_future(labels.run(lambda: watch.policy, lambda: swap(watch.policy)))
        stack.push_async_callback(stop_all, watching, sweeping, calibrating)
        yield Assembled(app, gateway, ledger, is_simulated=urls is not None, needs_key=watch.key_ring is not None)


async def budgets_of(
    settings: Settings, watch: PolicyWatch, ledger: Ledger, telemetry: Telemetry, clock: SystemClock
) -> BudgetStore:
    """The store of budgets, leased from where the policy says so, with what it allows while the store is away."""
    urls = settings.redis_url, settings.ledger_url
    shared = await open_budget_store(*urls, ledger, home=settings.home, clock=clock)
    leased = LeasedBudgets(shared, clock, lambda: watch.policy.budget_lease_share, ledger.spend, telemetry.budgets)
    return AllowingBudgets(leased, lambda: watch.policy.budget_allowance_nanousd, telemetry.budgets, clock)


def routes_of(parts: ServerParts, budgets: BudgetStore, keeper: Keeper) -> tuple[APIRouter, ...]:
    """What is served beside the hot route."""
    return (
        report_routes(parts),
        chargeback_routes(parts),
        context_routes(parts),
        budget_routes(parts, budgets),
        guard_routes(parts, keeper),
        dashboard_routes(),
    )


@contextlib.asynccontextmanager
async def guarded(
    settings: Settings, ledger: Ledger, telemetry: Telemetry, clock: SystemClock, salt: bytes, hooks: WebhookTeller
) -> AsyncIterator[Guarding]:
    """The guards, which know what others ruled before. Each trip is an entry, a count and a line in the log."""
    store = open_guard_store(settings.redis_url, settings.ledger_url, ledger, clock, home=settings.home)

    def report(trip: GuardTrip) -> None:
        store.noted(trip)
        ledger.append_later(trip)
        telemetry.guards.tripped(trip)
        hooks.tell(trip)

    keeper = Keeper(salt, report)
    try:
        with contextlib.suppress(StoreError):
            keeper.fold(await store.read())
        tasks = asyncio.ensure_future(share(keeper, store)), asyncio.ensure_future(hooks.run())
        yield Guarding(keeper, clock)
        await stop_all(*tasks)
    finally:
        await store.aclose()


async def close_in_turn(treasury: Treasury, budgets: BudgetStore) -> None:
    """Tell the store what it still has to be told, then let it go: what is left over is closed by its lease."""
    await treasury.aclose(CLOSING_GRACE_S)
    await budgets.aclose()


def cooldowns_of(policy: Policy) -> Cooldowns:
    """The deployments' health, as the policy at start wants it kept."""
    return Cooldowns(policy.upstream.cooldown_failures, policy.upstream.cooldown_s)


@contextlib.contextmanager
def vendors_of(policy: Policy, settings: Settings) -> Iterator[Mapping[str, str] | None]:
    """None where there is a key for real ones; else the simulator in a process of its own, URLs by provider.

    It bills contract prices where the policy has them.
    """
    if not settings.must_simulate and has_any_key(policy, settings.env):
        yield None
        return
    contracts = {
        model.provider_model: contract_of(model.prices) for model in policy.models.values() if model.has_contract_price
    }
    try:
        with SimulatorProcess(seed=settings.simulator_seed, prices_override=contracts) as simulator:
            urls = simulator.urls
            hosts = {name: urls.host(name) for name, host in HOSTS.items() if host.wire == "openai"}
            yield {"anthropic": urls.anthropic, "gemini": urls.gemini, **hosts}
    except OSError as error:
        raise ConfigError(str(error)) from error


def contract_of(prices: PriceSchedule) -> dict[str, object]:
    """A contract's prices in USD per million tokens, by the simulator's names of the buckets."""
    above = [{"input_tokens": tier.above_input_tokens, **tier_of(tier)} for tier in prices.tiers[1:]]
    return {**tier_of(prices.base), "above": above}


def tier_of(prices: PriceTier) -> dict[str, Decimal]:
    """One tier of it."""
    buckets = {
        "input": prices.input,
        "output": prices.output_text,
        "reasoning": prices.output_reasoning,
        "cache_read": prices.cache_read,
        "cache_write_5m": prices.cache_write_5m,
        "cache_write_1h": prices.cache_write_1h,
    }
    return {bucket: Decimal(price) / NANO_PER_USD for bucket, price in buckets.items()}


async def stop_all(*tasks: asyncio.Task[None]) -> None:
    """Cancel the tasks and wait for their ends."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def sweep_leases(ledger: Ledger, budgets: BudgetStore, clock: SystemClock) -> None:
    """Close what a crash left open, now and every few seconds; a store that is away is tried again."""
    while True:
        try:
            closed = await ledger.close_expired(clock.now_ms())
            if closed:
                log.warning("leases closed", extra={"fields": {"intents": closed}})
        except RouterError as error:
            log.warning("leases not swept", extra={"fields": {"error_code": error.code}})
        try:
            expired = await budgets.expire()
            if expired:
                log.warning("holds expired", extra={"fields": {"reservations": len(expired)}})
        except RouterError as error:
            log.warning("holds not swept", extra={"fields": {"error_code": error.code}})
        await asyncio.sleep(LEASE_SWEEP_S)


async def run(settings: Settings, place: Place | None = None) -> None:
    """Serve until a signal says stop."""
    heap.give_back()
    sock = bind(settings.host, settings.port) if place is None else place.sock
    try:
        async with assembled(settings, place) as ready:
            config = uvicorn.Config(
                ready.app,  # type: ignore[arg-type]
                http=ShapedHttpProtocol,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                proxy_headers=False,  # nothing here asks where a request came from
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=int(SHUTDOWN_GRACE_S),
            )
            banner = banner_of(settings, ready, sock.getsockname()[1])
            if place is None:
                print(banner, flush=True)  # noqa: T201  # the product's first words
            else:
                place.told(banner)
            heap.set_aside()
            await uvicorn.Server(config).serve(sockets=[sock])
    finally:
        sock.close()


def ledger_text(settings: Settings) -> str:
    """Where the ledger lies, without what its address may hold of secrets."""
    path = sqlite_path_of(settings.ledger_url, settings.home)
    if path is not None:
        return str(path)
    url = urlsplit(settings.ledger_url or "")
    return f"{url.scheme}://{url.hostname}{url.path}" if url.hostname else "in memory: it ends with this process"


def banner_of(settings: Settings, ready: Assembled, port: int) -> str:
    """What a newcomer reads first: where it is, what is real, and a request that works as pasted."""
    url = f"http://[{settings.host}]:{port}" if ":" in settings.host else f"http://{settings.host}:{port}"
    policy = ready.gateway.policy
    vendors = (
        "no provider key found: the vendors are simulated (answers carry no wisdom; wires, prices and ledger are real)"
        if ready.is_simulated
        else "vendors: " + ", ".join(sorted({each.vendor for each in policy.models.values() if each.is_reachable}))
    )
    tier = policy.default_tier
    key = " -H 'Authorization: Bearer YOUR_KEY'" if ready.needs_key else ""
    keys = "in force" if ready.needs_key else "none: whoever reaches this machine's loopback may ask"
    return f"""
  Tollgate  {url}   policy {policy.name}, premium {policy.premium}
  {vendors}
  dashboard  {url}/dashboard
  report     {url}/v1/reports/savings?group_by=model
  ledger     {ledger_text(settings)}
  keys       {keys}

  curl -i {url}/v1/chat/completions -H 'Content-Type: application/json' -H 'X-Quality-Tier: {tier}'{key} \\
    -d '{{"model": "auto", "messages": [{{"role": "user", "content": "What is the capital of France?"}}]}}'
"""


def serve(settings: Settings, place: Place | None = None) -> None:
    """Run the gateway on uvloop until it is told to stop. Raises ConfigError and StoreError."""
    import uvloop  # noqa: PLC0415  # Windows has none, and every other command does without

    listener = start_logging(settings.log_level)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            uvloop.run(run(settings, place))
    finally:
        listener.stop()
