"""Budgets in Redis: one script for each transition, over all accounts of a call at once, on the server's own time.

Every key has one hash tag, so that a cluster keeps them together. Redis may forget: flushed, started without its file,
or failed over to a copy that is behind. A marker names the run of the server that was told what the ledger knows; to
any other run nothing is granted until one gateway, under a lock, has told it again: settled money by account, and the
holds of calls that are open.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from router.budgets import Balance, Denial, Expired, Grant
from router.budgets.transitions import end_of, require_amounts
from router.errors import BudgetStoreUnavailableError, RouterError
from router.stores.redis import ANSWER_S, REDIS_ERRORS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from router.budgets import Claim, OpenHold
    from router.clock import Clock
    from router.stores.redis import Server

    Word: TypeAlias = bytes | str | int
    Known: TypeAlias = tuple[Sequence[Balance], Sequence[OpenHold], Sequence[str]]

PREFIX = "tollgate:{budgets}:"
EXPIRED_AT_ONCE = 500
TOLD_AT_ONCE = 500
# What was granted before the loss has its intent in the ledger within this time, and is told again with the rest.
SETTLING_S = 2.0
LOCK_MS = 30_000
RETRY_S = 0.5
log = logging.getLogger("tollgate")


@cache
def script_of(name: str) -> str:
    """The script of a transition."""
    folder = files("router.stores.budgets")
    head = (folder / "redis_head.lua").read_text(encoding="utf-8")
    body = (folder / f"redis_{name}.lua").read_text(encoding="utf-8")
    return f"local IS_REBUILD = {str(name == 'rebuild').lower()}\n{head}\n{body}"


class RedisBudgets:
    """Implements router.ports.BudgetStore. ``known`` reads from the ledger what a Redis without memory is told.

    It is given the reservations that Redis still has open, and returns balances, holds, and what of it is closed.
    """

    def __init__(
        self,
        server: Server,
        *,
        known: Callable[[Sequence[str]], Awaitable[Known]],
        clock: Clock | None = None,
        prefix: str = PREFIX,
        settling_s: float = SETTLING_S,
    ) -> None:
        self._server = server
        self._known = known
        self._clock = clock
        self._prefix = prefix
        self._settling_s = settling_s
        self._scripts = {
            name: server.client.register_script(script_of(name))
            for name in ("reserve", "extend", "close", "expire", "balances", "rebuild")
        }
        self._telling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Tell a Redis that knows nothing yet, or no longer, what the ledger knows. Raises as the transitions do."""
        try:
            await self._run("balances", ())
        except BudgetStoreUnavailableError:
            if self._telling is None:
                raise
            await self._telling

    async def reserve(
        self, reservation_id: str, claims: Sequence[Claim], *, least_nanousd: int, most_nanousd: int, lease_ms: int
    ) -> Grant | Denial:
        """Hold as much as fits in every hard claim, from ``least`` to ``most``."""
        require_amounts(least_nanousd, most_nanousd)
        arguments: list[Word] = [reservation_id, least_nanousd, most_nanousd, lease_ms]
        for claim in claims:
            hard = int(claim.is_hard)
            arguments += [_text(claim.budget), _text(claim.owner), claim.limit_nanousd, hard, len(claim.windows)]
            for window in claim.windows:
                arguments += [window.start_ms, window.end_ms, _text(claim.account(window))]
        return _answer_of(reservation_id, await self._run("reserve", arguments))

    async def extend(self, reservation_id: str, extra_nanousd: int, *, lease_ms: int) -> Grant | Denial:
        """Hold so much more, all or nothing, and renew the lease."""
        require_amounts(extra_nanousd)
        return _answer_of(reservation_id, await self._run("extend", (reservation_id, extra_nanousd, lease_ms)))

    async def settle(self, reservation_id: str, actual_nanousd: int) -> None:
        """Charge what it cost and give back the rest."""
        require_amounts(actual_nanousd)
        await self._run("close", (reservation_id, actual_nanousd, "settled"))

    async def void(self, reservation_id: str) -> None:
        """Give all of it back."""
        await self._run("close", (reservation_id, 0, "voided"))

    async def expire(self) -> tuple[Expired, ...]:
        """Charge every hold whose lease has run out in full."""
        found: list[Expired] = []
        while True:
            words = iter((await self._run("expire", (EXPIRED_AT_ONCE,)))[1:])
            batch = [Expired(name.decode(), int(charged)) for name, charged in zip(words, words, strict=True)]
            found += batch
            if len(batch) < EXPIRED_AT_ONCE:
                return tuple(found)

    async def balances(self, claims: Sequence[Claim]) -> tuple[Balance, ...]:
        """The claims' accounts in the window that is now."""
        arguments: list[Word] = []
        for claim in claims:
            arguments.append(len(claim.windows))
            for window in claim.windows:
                arguments += [window.start_ms, _text(claim.account(window))]
        values = iter((await self._run("balances", arguments))[1:])
        return tuple(
            Balance(account.decode(), int(settled), int(held))
            for account, settled, held in zip(values, values, values, strict=True)
        )

    async def rebuild(self, balances: Sequence[Balance], holds: Sequence[OpenHold], closed: Sequence[str] = ()) -> None:
        """Bring accounts up to what the ledger says. Grants again when it returns."""
        for names in _batches(closed):
            await self._run("rebuild", _told_of((), (), names))
        for some in _batches(balances):
            await self._run("rebuild", _told_of(some, (), ()))
        for others in _batches(holds):
            await self._run("rebuild", _told_of((), others, ()))
        await self._run("rebuild", (*_told_of((), (), ()), 1))

    async def aclose(self) -> None:
        """Let go of the connections."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)
        await self._server.aclose()

    async def _run(self, name: str, arguments: Iterable[Word]) -> list[bytes]:
        time_ms = "" if self._clock is None else str(self._clock.now_ms())
        try:
            async with asyncio.timeout(ANSWER_S):
                if not self._server.run_id:
                    await self._server.client.ping()
                everything = [self._prefix, time_ms, self._server.run_id, *arguments]
                reply: list[bytes] = await self._scripts[name](keys=[f"{self._prefix}marker"], args=everything)
        except REDIS_ERRORS as error:
            raise await self._server.failed(error) from None
        if reply[0] == b"lost":
            self._tell_soon()
            message = f"Redis at {self._server.where} has lost its memory, and is being told what the ledger knows"
            raise BudgetStoreUnavailableError(message)
        return reply

    def _tell_soon(self) -> None:
        if self._telling is None or self._telling.done():
            self._telling = asyncio.ensure_future(self._tell())

    async def _tell(self) -> None:
        """Under a lock tell Redis what the ledger knows; wait where another gateway is at it."""
        lock, mine = f"{self._prefix}telling", secrets.token_hex(8)
        client = self._server.client
        try:
            while not await client.set(lock, mine, nx=True, px=LOCK_MS):
                await asyncio.sleep(RETRY_S)
                if await client.get(f"{self._prefix}marker") == self._server.run_id.encode():
                    return
            log.warning("redis lost its memory", extra={"fields": {"redis": self._server.where}})
            await asyncio.sleep(self._settling_s)
            # What its file brought back may have been settled since: the ledger is asked about it too.
            found: list[Any] = await client.zrange(f"{self._prefix}leases", 0, -1)
            balances, holds, closed = await self._known([name.decode() for name in found])
            await self.rebuild(balances, holds, closed)
            fields = {"redis": self._server.where, "accounts": len(balances), "holds": len(holds)}
            log.warning("redis told what the ledger knows", extra={"fields": fields})
            await client.delete(lock)
        except (*REDIS_ERRORS, RouterError) as error:
            log.warning("redis not told yet", extra={"fields": {"error": type(error).__name__}})


def _told_of(balances: Sequence[Balance], holds: Sequence[OpenHold], closed: Sequence[str]) -> list[Word]:
    found: list[Word] = [len(balances), len(holds), len(closed), *closed]
    for each in balances:
        found += [_text(each.account), each.settled_nanousd, end_of(each.account)]
    for hold in holds:
        found += [hold.reservation_id, hold.held_nanousd, hold.lease_expires_ms, len(hold.accounts)]
        for account in hold.accounts:
            found += [_text(account), end_of(account)]
    return found


def _batches(items: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    rest = iter(items)
    while batch := tuple(islice(rest, TOLD_AT_ONCE)):
        yield batch


def _text(name: str) -> bytes:
    return name.encode("utf-8", "backslashreplace")


def _answer_of(reservation_id: str, reply: list[bytes]) -> Grant | Denial:
    kind, *values = (each.decode() for each in reply)
    if kind == "granted":
        held, headroom, accounts, over = json.loads(values[0])
        left = int(headroom) if headroom else None
        return Grant(reservation_id, int(held), tuple(json.loads(accounts)), left, tuple(json.loads(over)))
    budget, owner, limit, settled, held, wanted, resets = values
    return Denial(
        budget, owner, int(limit), int(settled), int(held), int(wanted), int(float(resets)) if resets else None
    )
