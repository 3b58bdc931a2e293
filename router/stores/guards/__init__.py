"""Where gateways tell each other what their guards saw: a stream in Redis, or the ledger's entries alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.stores.guards.ledger import LedgerGuards

if TYPE_CHECKING:
    from router.clock import Clock
    from router.ports import GuardStore, Ledger


def open_guard_store(redis_url: str | None, ledger: Ledger, clock: Clock) -> GuardStore:
    """The stream where there is a Redis, else the ledger. Raises ConfigError for a URL that names no Redis."""
    if redis_url is None:
        return LedgerGuards(ledger, clock)
    from router.stores.guards.redis import RedisGuards  # noqa: PLC0415 - a driver loads only for those who use it
    from router.stores.redis import Server  # noqa: PLC0415

    return RedisGuards(Server(redis_url), clock)
