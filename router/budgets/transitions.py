"""What each transition changes, on whatever accounts and reservations are at hand: the one state machine of budgets.

```
reserve -> open --settle--> settled
            |-- void ----> voided
            '-- expire --> expired --settle, void--> settled, voided   (the charge is corrected)
```

Pure and told the time. The book in memory keeps everything at hand; a database's store loads the rows that a
transaction is about, lets this change them, and writes back what is named in ``changed_*``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from router.budgets.terms import ENDLESS_MS, NOBODY, Balance, Denial, Expired, Grant, Window
from router.money import AMOUNT_NANOUSD_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from router.budgets.terms import Claim, OpenHold

HOUR_MS = 3_600_000
# What is settled or given back stays known for as long as a caller may still ask again because an answer was lost;
# what was charged by its lease, for as long as its true cost may still come in.
CLOSED_KEPT_MS = HOUR_MS // 4
EXPIRED_KEPT_MS = 24 * HOUR_MS
# Longer than the last correction of an account may take after the account last changed.
ACCOUNT_KEPT_MS = EXPIRED_KEPT_MS + HOUR_MS
# No window of a rebuilt account, whose end nobody told, is longer.
WINDOW_MS_MAX = 32 * 24 * HOUR_MS

ReservationState: TypeAlias = Literal["open", "settled", "voided", "expired"]


class Term(NamedTuple):
    """A claim as it was reserved under: its limit, and the account of the window that it fell into."""

    account: str
    budget: str
    owner: str
    limit_nanousd: int
    is_hard: bool
    end_ms: int

    def room_in(self, account: Account | None) -> int:
        """What may still be held; a soft claim has no bound but the integers' own."""
        limit = self.limit_nanousd if self.is_hard else AMOUNT_NANOUSD_MAX
        return limit if account is None else limit - account.settled_nanousd - account.held_nanousd


@dataclass(slots=True)
class Account:
    """One owner's share of one budget in one window. ``open_holds`` counts the reservations that are open in it."""

    end_ms: int
    settled_nanousd: int = 0
    held_nanousd: int = 0
    open_holds: int = 0
    touched_ms: int = 0

    @property
    def forget_ms(self) -> int:
        """From when on nobody can need it again, unless something is still open in it."""
        return ENDLESS_MS if self.end_ms >= ENDLESS_MS else max(self.end_ms, self.touched_ms) + ACCOUNT_KEPT_MS


@dataclass(slots=True)
class Reservation:
    """A hold and what became of it. ``granted`` is the answer to ``reserve``; one that was rebuilt has no terms."""

    accounts: tuple[str, ...]
    terms: tuple[Term, ...]
    granted: Grant
    held_nanousd: int
    lease_expires_ms: int
    state: ReservationState = "open"
    charged_nanousd: int = 0
    closed_ms: int = 0

    @property
    def forget_ms(self) -> int:
        """From when on a closed one is forgotten."""
        return self.closed_ms + (EXPIRED_KEPT_MS if self.state == "expired" else CLOSED_KEPT_MS)


def require_amounts(*amounts_nanousd: int) -> None:
    """Assert what every transition takes: amounts from zero up to what a database's integer holds, smallest first."""
    assert 0 <= amounts_nanousd[0] <= amounts_nanousd[-1] <= AMOUNT_NANOUSD_MAX, amounts_nanousd


def window_at(windows: Sequence[Window], now_ms: int) -> Window:
    """The newest window that has begun; where the clocks are a window and more apart, the nearest there is."""
    for window in reversed(windows):
        if window.start_ms <= now_ms:
            return window
    return windows[0]


def terms_of(claims: Iterable[Claim], now_ms: int) -> tuple[Term, ...]:
    """The claims in the windows that are now."""
    found = []
    for claim in claims:
        window = window_at(claim.windows, now_ms)
        account = claim.account(window)
        found.append(Term(account, claim.budget, claim.owner, claim.limit_nanousd, claim.is_hard, window.end_ms))
    return tuple(found)


def end_of(account: str) -> int:
    """The latest end that an account's window may have, by its id; endless where the id does not tell its start."""
    _, _, rest = account.partition("/")
    start, _, _ = rest.partition("/")
    return int(start) + WINDOW_MS_MAX if start.isdecimal() and int(start) > 0 else ENDLESS_MS


class Transitions:
    """Changes accounts and reservations in place, and names what it changed."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.reservations: dict[str, Reservation] = {}
        self.changed_accounts: set[str] = set()
        self.changed_reservations: set[str] = set()

    def reserve(
        self,
        now_ms: int,
        reservation_id: str,
        claims: Sequence[Claim],
        *,
        least_nanousd: int,
        most_nanousd: int,
        lease_ms: int,
    ) -> Grant | Denial:
        """Hold as much as fits, from ``least`` to ``most``; a denial changes nothing, a known id has its old answer."""
        require_amounts(least_nanousd, most_nanousd)
        known = self.reservations.get(reservation_id)
        if known is not None:
            return known.granted
        terms = terms_of(claims, now_ms)
        room = self._room(terms)
        held = min(most_nanousd, room)
        if held < least_nanousd:
            return self._denied(terms, least_nanousd)
        accounts = tuple(dict.fromkeys(term.account for term in terms))
        for term in terms:
            account = self._touched(term.account, now_ms)
            account.end_ms = term.end_ms
        for name in accounts:
            account = self.accounts[name]
            account.held_nanousd += held
            account.open_holds += 1
        grant = self._granted(reservation_id, held, accounts, terms)
        self.reservations[reservation_id] = Reservation(accounts, terms, grant, held, now_ms + lease_ms)
        self.changed_reservations.add(reservation_id)
        return grant

    def extend(self, now_ms: int, reservation_id: str, extra_nanousd: int, *, lease_ms: int) -> Grant | Denial:
        """Hold so much more or nothing. One that is closed, unknown, or rebuilt without its limits is denied."""
        known = self.reservations.get(reservation_id)
        if known is None or known.state != "open" or (known.accounts and not known.terms):
            return Denial(NOBODY, NOBODY, 0, 0, 0, extra_nanousd, None)
        if self._room(known.terms) < extra_nanousd:
            return self._denied(known.terms, extra_nanousd)
        for name in known.accounts:
            self._touched(name, now_ms).held_nanousd += extra_nanousd
        known.held_nanousd += extra_nanousd
        known.lease_expires_ms = max(known.lease_expires_ms, now_ms + lease_ms)
        self.changed_reservations.add(reservation_id)
        return self._granted(reservation_id, known.held_nanousd, known.accounts, known.terms)

    def settle(self, now_ms: int, reservation_id: str, actual_nanousd: int) -> None:
        """Charge what it cost; the charge of one that expired becomes that, any other that is closed stays."""
        self._close(now_ms, reservation_id, actual_nanousd, "settled")

    def void(self, now_ms: int, reservation_id: str) -> None:
        """Charge nothing; one that expired is corrected to that."""
        self._close(now_ms, reservation_id, 0, "voided")

    def expire(self, now_ms: int, reservation_id: str) -> Expired | None:
        """Charge the whole hold where it is open and its lease has run out; None where that is not so."""
        known = self.reservations.get(reservation_id)
        if known is None or known.state != "open" or known.lease_expires_ms > now_ms:
            return None
        self._close(now_ms, reservation_id, known.held_nanousd, "expired")
        return Expired(reservation_id, known.held_nanousd)

    def rebuild(
        self, now_ms: int, balances: Iterable[Balance], holds: Iterable[OpenHold], closed: Iterable[str] = ()
    ) -> None:
        """Raise settled money to what the balances say, and hold what is not known to be held.

        What the balances hold of the ``closed`` is not charged again: neither by what is held here, nor by their lease,
        nor by who tells it later.
        """
        for name in closed:
            if name not in self.reservations:
                grant = Grant(name, 0, (), None)
                self.reservations[name] = Reservation((), (), grant, 0, now_ms, "voided", closed_ms=now_ms)
                self.changed_reservations.add(name)
            self._close(now_ms, name, 0, "voided")
        for balance in balances:
            if self.balance(balance.account).settled_nanousd < balance.settled_nanousd:
                self._touched(balance.account, now_ms).settled_nanousd = balance.settled_nanousd
        for hold in holds:
            if hold.reservation_id in self.reservations:
                continue
            accounts = tuple(dict.fromkeys(hold.accounts))
            for name in accounts:
                account = self._touched(name, now_ms)
                account.held_nanousd += hold.held_nanousd
                account.open_holds += 1
            grant = Grant(hold.reservation_id, hold.held_nanousd, accounts, None)
            self.reservations[hold.reservation_id] = Reservation(
                accounts, (), grant, hold.held_nanousd, hold.lease_expires_ms
            )
            self.changed_reservations.add(hold.reservation_id)

    def balance(self, account: str) -> Balance:
        """The account as it stands; zero where there is none."""
        known = self.accounts.get(account)
        return Balance(account, known.settled_nanousd, known.held_nanousd) if known else Balance(account, 0, 0)

    def _close(self, now_ms: int, reservation_id: str, charge_nanousd: int, state: ReservationState) -> None:
        known = self.reservations.get(reservation_id)
        if known is None or known.state not in ("open", "expired"):
            return
        is_open = known.state == "open"
        for name in known.accounts:
            account = self._touched(name, now_ms)
            # No bill takes an account out of what a database's integer holds.
            settled = account.settled_nanousd + charge_nanousd - known.charged_nanousd
            account.settled_nanousd = min(settled, AMOUNT_NANOUSD_MAX)
            if is_open:
                account.held_nanousd -= known.held_nanousd
                account.open_holds -= 1
        known.state, known.charged_nanousd, known.closed_ms = state, charge_nanousd, now_ms
        self.changed_reservations.add(reservation_id)

    def _room(self, terms: Iterable[Term]) -> int:
        """The tightest headroom, never below zero: nothing more is always free to hold."""
        rooms = (term.room_in(self.accounts.get(term.account)) for term in terms)
        return max(0, min(rooms, default=AMOUNT_NANOUSD_MAX))

    def _denied(self, terms: Sequence[Term], wanted_nanousd: int) -> Denial:
        tightest = min(terms, key=lambda term: term.room_in(self.accounts.get(term.account)))
        stands = self.balance(tightest.account)
        return Denial(
            budget=tightest.budget,
            owner=tightest.owner,
            limit_nanousd=tightest.limit_nanousd if tightest.is_hard else AMOUNT_NANOUSD_MAX,
            settled_nanousd=stands.settled_nanousd,
            held_nanousd=stands.held_nanousd,
            wanted_nanousd=wanted_nanousd,
            resets_ms=tightest.end_ms if tightest.end_ms < ENDLESS_MS else None,
        )

    def _granted(self, reservation_id: str, held: int, accounts: tuple[str, ...], terms: Sequence[Term]) -> Grant:
        headroom = None
        over = []
        for term in terms:
            account = self.accounts[term.account]
            left = term.limit_nanousd - account.settled_nanousd - account.held_nanousd
            if term.is_hard:
                headroom = max(0, left) if headroom is None else min(headroom, max(0, left))
            elif left < 0:
                over.append(term.budget)
        return Grant(reservation_id, held, accounts, headroom, tuple(over))

    def _touched(self, name: str, now_ms: int) -> Account:
        account = self.accounts.get(name)
        if account is None:
            account = self.accounts[name] = Account(end_of(name))
        account.touched_ms = max(account.touched_ms, now_ms)
        self.changed_accounts.add(name)
        return account
