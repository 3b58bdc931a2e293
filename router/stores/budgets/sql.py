"""Budgets over SQL: the port, in front of the writer that owns the connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from router.budgets.transitions import require_amounts
from router.errors import BudgetStoreUnavailableError
from router.stores.budgets.sql_commands import EXPIRE_MAX, Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.budgets import Balance, Claim, Denial, Expired, Grant, OpenHold

ANSWER_S = 6.0
STOPPED = "its writer has stopped"


class BudgetWriter(Protocol):
    """Carries out commands in order, several in one transaction, and answers each through its ``waiter``."""

    def put(self, command: Command) -> None:
        """Queue a command."""
        ...

    async def aclose(self) -> None:
        """Carry out what is queued, then close."""
        ...


class SqlBudgets:
    """Implements router.ports.BudgetStore over a writer.

    No answer within ``answer_s`` raises BudgetStoreUnavailableError. What was asked may have been done then: ask again
    under the same id, or void it. A caller that is cancelled while it reserves has its hold given back.
    """

    def __init__(self, writer: BudgetWriter, *, answer_s: float = ANSWER_S) -> None:
        self._writer = writer
        self._answer_s = answer_s
        self._is_closed = False

    async def reserve(
        self, reservation_id: str, claims: Sequence[Claim], *, least_nanousd: int, most_nanousd: int, lease_ms: int
    ) -> Grant | Denial:
        """Hold as much as fits in every hard claim, from ``least`` to ``most``."""
        require_amounts(least_nanousd, most_nanousd)
        command = Command(
            "reserve",
            reservation_id,
            claims,
            least_nanousd=least_nanousd,
            amount_nanousd=most_nanousd,
            lease_ms=lease_ms,
        )
        try:
            answer: Grant | Denial = await self._ask(command)
        except asyncio.CancelledError:
            if not self._is_closed:
                self._writer.put(Command("void", reservation_id))
            raise
        return answer

    async def extend(self, reservation_id: str, extra_nanousd: int, *, lease_ms: int) -> Grant | Denial:
        """Hold so much more, all or nothing, and renew the lease."""
        require_amounts(extra_nanousd)
        command = Command("extend", reservation_id, amount_nanousd=extra_nanousd, lease_ms=lease_ms)
        answer: Grant | Denial = await self._ask(command)
        return answer

    async def settle(self, reservation_id: str, actual_nanousd: int) -> None:
        """Charge what it cost and give back the rest."""
        require_amounts(actual_nanousd)
        await self._ask(Command("settle", reservation_id, amount_nanousd=actual_nanousd))

    async def void(self, reservation_id: str) -> None:
        """Give all of it back."""
        await self._ask(Command("void", reservation_id))

    async def expire(self) -> tuple[Expired, ...]:
        """Charge every hold whose lease has run out in full, some hundred at a time."""
        found: tuple[Expired, ...] = ()
        while True:
            some: tuple[Expired, ...] = await self._ask(Command("expire"))
            found += some
            if len(some) < EXPIRE_MAX:
                return found

    async def balances(self, claims: Sequence[Claim]) -> tuple[Balance, ...]:
        """The claims' accounts in the window that is now."""
        found: tuple[Balance, ...] = await self._ask(Command("balances", claims=claims))
        return found

    async def rebuild(self, balances: Sequence[Balance], holds: Sequence[OpenHold], closed: Sequence[str] = ()) -> None:
        """Bring accounts up to what the ledger says, in one transaction."""
        await self._ask(Command("rebuild", balances=balances, holds=holds, closed=closed))

    async def aclose(self) -> None:
        """Carry out what is queued and let go."""
        self._is_closed = True
        await self._writer.aclose()

    async def _ask(self, command: Command) -> Any:  # noqa: ANN401 - each action has its own answer
        if self._is_closed:
            raise BudgetStoreUnavailableError("the store of budgets is closed")
        command.waiter = asyncio.get_running_loop().create_future()
        self._writer.put(command)
        try:
            async with asyncio.timeout(self._answer_s):
                return await command.waiter
        except TimeoutError as error:
            raise BudgetStoreUnavailableError(
                f"the store of budgets has not answered within {self._answer_s:g} s"
            ) from error


def answer(commands: Sequence[Command], failure: str | None) -> None:
    """Tell those who wait; to be called in the event loop's thread."""
    for command in commands:
        if command.waiter is None or command.waiter.done():
            continue
        if failure is None:
            command.waiter.set_result(command.answer)
        else:
            command.waiter.set_exception(BudgetStoreUnavailableError(f"the store of budgets: {failure}"))
