"""Reading a gateway's ledger from beside it, request by request, whichever database it is in."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from benchmarks.invoice import attempts_of
from router.clock import SystemClock
from router.ledger import RequestQuery
from router.stores import open_sql_ledger

if TYPE_CHECKING:
    from benchmarks.invoice import Attempt
    from benchmarks.stack import GatewayProcess
    from router.ledger import RequestRow

SETTLE_S = 60.0


def books_of(gateway: GatewayProcess) -> tuple[list[RequestRow], list[Attempt]]:
    """Every request of the ledger, and every attempt."""

    async def read() -> tuple[list[RequestRow], list[Attempt]]:
        ledger = await open_sql_ledger(gateway.ledger_url, home=gateway.home, clock=SystemClock())
        try:
            rows = [row async for row in ledger.requests(RequestQuery())]
            attempts: list[Attempt] = []
            for row in rows:
                found = await ledger.request(row.decision_id)
                assert found is not None
                attempts += attempts_of(found[1])
            return rows, attempts
        finally:
            await ledger.aclose()

    return asyncio.run(read())


def open_intents(gateway: GatewayProcess) -> int:
    """How many attempts the ledger holds open now."""

    async def read() -> int:
        ledger = await open_sql_ledger(gateway.ledger_url, home=gateway.home, clock=SystemClock())
        try:
            return int((await ledger.reads.fetch("SELECT COUNT(*) FROM open_intents"))[0][0])
        finally:
            await ledger.aclose()

    return asyncio.run(read())


def wait_settled(gateway: GatewayProcess) -> int:
    """Wait until no attempt is open, at most a minute; returns how many still are."""
    deadline_s = time.monotonic() + SETTLE_S
    while (count := open_intents(gateway)) and time.monotonic() < deadline_s:
        time.sleep(0.2)
    return count
