"""Requests that wait for money: one line for each account, in the order of their arrival.

Whoever is first in a line tries again when money came back here, and every quarter of a second besides, since money
also comes back at other gateways, by leases, and with the next window.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from router.budgets import Claim, Denial

POLL_S = 0.25
LineKey: TypeAlias = tuple[str, str]


@dataclass(slots=True, eq=False)
class Ticket:
    """One request's place in a line; ``denial`` is what it was told last."""

    denial: Denial
    called: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def line(self) -> LineKey:
        """The account that it waits for, by budget and owner."""
        return self.denial.budget, self.denial.owner


class Turns:
    """All lines of this process."""

    def __init__(self) -> None:
        self._lines: dict[LineKey, deque[Ticket]] = {}

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def ahead_of(self, claims: Iterable[Claim]) -> Denial | None:
        """What whoever waits longest for one of these accounts was told; None where nobody waits for any."""
        if not self._lines:
            return None
        lines = (self._lines.get((claim.budget, claim.owner)) for claim in claims)
        return next((line[0].denial for line in lines if line), None)

    def join(self, denial: Denial) -> Ticket:
        """A place at the end of the account's line; give it back with ``leave`` on every path."""
        ticket = Ticket(denial)
        self._lines.setdefault(ticket.line, deque()).append(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give the place back; whoever is first now may try at once."""
        line = self._lines[ticket.line]
        line.remove(ticket)
        if line:
            line[0].called.set()
        else:
            del self._lines[ticket.line]

    def stay(self, ticket: Ticket, denial: Denial) -> None:
        """Note what the ticket was told now; where another account is in the way, change to the end of its line."""
        if (denial.budget, denial.owner) == ticket.line:
            ticket.denial = denial
            return
        self.leave(ticket)
        ticket.denial = denial
        self._lines.setdefault(ticket.line, deque()).append(ticket)

    async def wait(self, ticket: Ticket, timeout_s: float) -> bool:
        """Wait for the turn, up to a poll's time for the first in line; whether the ticket may try now."""
        if self._lines[ticket.line][0] is ticket:
            timeout_s = min(timeout_s, POLL_S)
        try:
            async with asyncio.timeout(timeout_s):
                await ticket.called.wait()
        except TimeoutError:
            pass
        ticket.called.clear()
        return self._lines[ticket.line][0] is ticket

    def call(self) -> None:
        """Money came back: the first of every line may try."""
        for line in self._lines.values():
            line[0].called.set()
