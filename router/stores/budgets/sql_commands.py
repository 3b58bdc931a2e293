"""What is asked of a database's budgets, and how a transaction's rows become the state machine's values and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import orjson

from router.budgets.terms import Grant, storable
from router.budgets.transitions import Account, Reservation, Term, Transitions, terms_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Sequence

    from router.budgets.terms import Balance, Claim, OpenHold

Row: TypeAlias = "tuple[Any, ...]"
BATCH_MAX = 128
EXPIRE_MAX = 500
FORGET_EVERY_MS = 60_000


@dataclass(slots=True, eq=False)
class Command:
    """One transition in its turn, and where its answer goes. ``amount_nanousd`` is what it holds or charges."""

    action: Literal["reserve", "extend", "settle", "void", "expire", "balances", "rebuild"]
    reservation_id: str = ""
    claims: Sequence[Claim] = ()
    least_nanousd: int = 0
    amount_nanousd: int = 0
    lease_ms: int = 0
    balances: Sequence[Balance] = ()
    holds: Sequence[OpenHold] = ()
    closed: Sequence[str] = ()
    waiter: asyncio.Future[Any] | None = None
    answer: Any = None

    @property
    def is_alone(self) -> bool:
        """Whether it wants a transaction for itself."""
        return self.action in ("expire", "rebuild")

    @property
    def is_abandoned(self) -> bool:
        """Whether it must not begin any more: who wanted to hold money has gone away meanwhile."""
        return self.action in ("reserve", "extend") and self.waiter is not None and self.waiter.cancelled()


def gathered(queue: list[Command]) -> list[Command]:
    """The next transaction's commands, taken from the front; those that nobody waits for any more are left out."""
    found: list[Command] = []
    taken = 0
    for command in queue[:BATCH_MAX]:
        if command.is_alone and found:
            break
        taken += 1
        if not command.is_abandoned:
            found.append(command)
        if command.is_alone:
            break
    del queue[:taken]
    return found


def reservations_of(commands: Iterable[Command]) -> list[str]:
    """The reservations that the commands are about, each once, in the order that rows are locked in."""
    found = {command.reservation_id for command in commands if command.reservation_id}
    for command in commands:
        found.update(hold.reservation_id for hold in command.holds)
        found.update(command.closed)
    return sorted(found)


def accounts_of(commands: Iterable[Command]) -> set[str]:
    """The accounts that the commands name; of a claim those of all its windows, since the time is the store's."""
    found: set[str] = set()
    for command in commands:
        for claim in command.claims:
            found.update(claim.account(window) for window in claim.windows)
        found.update(balance.account for balance in command.balances)
        for hold in command.holds:
            found.update(hold.accounts)
    return found


def apply(command: Command, state: Transitions, now_ms: int) -> None:
    """Carry out one command on what was loaded, and note its answer; not where its caller has left meanwhile."""
    if command.is_abandoned:
        return
    name = command.reservation_id
    match command.action:
        case "reserve":
            command.answer = state.reserve(
                now_ms,
                name,
                command.claims,
                least_nanousd=command.least_nanousd,
                most_nanousd=command.amount_nanousd,
                lease_ms=command.lease_ms,
            )
        case "extend":
            command.answer = state.extend(now_ms, name, command.amount_nanousd, lease_ms=command.lease_ms)
        case "settle":
            state.settle(now_ms, name, command.amount_nanousd)
        case "void":
            state.void(now_ms, name)
        case "balances":
            command.answer = tuple(state.balance(term.account) for term in terms_of(command.claims, now_ms))
        case "rebuild":
            state.rebuild(now_ms, command.balances, command.holds, command.closed)
        case "expire":
            due = sorted(state.reservations, key=lambda each: state.reservations[each].lease_expires_ms)
            expired = [state.expire(now_ms, each) for each in due]
            command.answer = tuple(each for each in expired if each is not None)


# --- rows, in the order of the schema's columns ---------------------------------------------------------------------


def load_account(state: Transitions, row: Sequence[Any]) -> None:
    """Take one row of budget_accounts."""
    name, end_ms, settled, held, open_holds, touched_ms = row
    state.accounts[name] = Account(end_ms, settled, held, open_holds, touched_ms)


def load_reservation(state: Transitions, row: Sequence[Any]) -> None:
    """Take one row of budget_reservations, its last three columns as parsed JSON."""
    name, reservation_state, held, charged, lease_expires_ms, closed_ms, accounts, terms, granted = row
    names = tuple(accounts)
    state.reservations[name] = Reservation(
        names,
        tuple(Term(names[place], budget, owner, *rest) for place, budget, owner, *rest in terms),
        Grant(name, granted["held_nanousd"], names, granted["headroom_nanousd"], tuple(granted["over"])),
        held,
        lease_expires_ms,
        reservation_state,
        charged,
        closed_ms,
    )


def account_row(state: Transitions, name: str) -> Row:
    """One account as a row."""
    account = state.accounts[name]
    return (
        name,
        account.end_ms,
        account.settled_nanousd,
        account.held_nanousd,
        account.open_holds,
        account.touched_ms,
    )


def reservation_row(state: Transitions, name: str) -> Row:
    """One reservation as a row, its last three values to be written as JSON."""
    known = state.reservations[name]
    places = {account: place for place, account in enumerate(known.accounts)}
    terms = [[places[term.account], storable(term.budget), storable(term.owner), *term[3:]] for term in known.terms]
    granted = {
        "held_nanousd": known.granted.held_nanousd,
        "headroom_nanousd": known.granted.headroom_nanousd,
        "over": [storable(budget) for budget in known.granted.over],
    }
    return (
        name,
        known.state,
        known.held_nanousd,
        known.charged_nanousd,
        known.lease_expires_ms,
        known.closed_ms,
        known.accounts,
        terms,
        granted,
    )


def as_json(value: object) -> str:
    """Compact JSON text."""
    return orjson.dumps(value).decode()
