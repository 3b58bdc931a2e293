"""Random interleavings of calls that share budgets: each one a few workers whose steps come in any order.

A worker reserves, extends, is billed by a vendor, settles or voids; it asks twice where an answer was lost, and may die
between any two steps. Beside the workers time passes, leases run out, and once in a while the gateway is restarted and
rebuilds its book from the ledger. What is right is kept apart from it: the vendors' bill, and the ledger's charges.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Protocol

from router.budgets import Balance, Claim, Grant, OpenHold, Window
from router.budgets.book import Book

if TYPE_CHECKING:
    from collections.abc import Iterator

START_MS = 1_793_000_000_000
HOUR_MS = 3_600_000
LEASE_MS = 60_000
WINDOWS = tuple(
    Window(START_MS - START_MS % HOUR_MS + step * HOUR_MS, START_MS - START_MS % HOUR_MS + (step + 1) * HOUR_MS)
    for step in range(-1, 2)
)
WORKERS = (2, 9)
MOST_NANOUSD = 60
LIMIT_NANOUSD = (1, 200)


class Purse(Protocol):
    """A way to keep a budget."""

    def reserve(self, now_ms: int, name: str, claims: tuple[Claim, ...], least: int, most: int) -> int | None:
        """How much a call may cost, from ``least`` to ``most``; None where it may not be made."""
        ...

    def extend(self, now_ms: int, name: str, extra: int) -> bool:
        """Whether it may cost so much more."""
        ...

    def settle(self, now_ms: int, name: str, actual: int) -> None:
        """It has cost so much."""
        ...

    def void(self, now_ms: int, name: str) -> None:
        """It was not billed."""
        ...

    def expire(self, now_ms: int) -> None:
        """Close what was left behind."""
        ...

    def restart(self, now_ms: int) -> None:
        """Its process has died and another one begins."""
        ...

    def check(self) -> None:
        """Note what must not be, after a step."""
        ...


@dataclass(slots=True)
class Entry:
    """An attempt as the ledger has it."""

    claims: tuple[Claim, ...]
    accounts: tuple[str, ...]
    held: int
    lease_ms: int
    charged: int | None = None
    is_expired: bool = False


@dataclass(slots=True)
class Strict:
    """Reservations in the book, and the ledger that the gateway writes beside it."""

    limits: dict[str, int]
    book: Book = field(default_factory=Book)
    entries: dict[str, Entry] = field(default_factory=dict)
    found: Counter[str] = field(default_factory=Counter)

    def reserve(self, now_ms: int, name: str, claims: tuple[Claim, ...], least: int, most: int) -> int | None:
        """Hold what fits."""
        self.found["transitions"] += 1
        answer = self.book.reserve(now_ms, name, claims, least_nanousd=least, most_nanousd=most, lease_ms=LEASE_MS)
        if not isinstance(answer, Grant):
            return None
        if name not in self.entries:
            self.entries[name] = Entry(claims, answer.accounts, answer.held_nanousd, now_ms + LEASE_MS)
        return answer.held_nanousd

    def extend(self, now_ms: int, name: str, extra: int) -> bool:
        """Hold more, all or nothing."""
        self.found["transitions"] += 1
        is_granted = isinstance(self.book.extend(now_ms, name, extra, lease_ms=LEASE_MS), Grant)
        if is_granted:
            entry = self.entries[name]
            entry.held, entry.lease_ms = entry.held + extra, max(entry.lease_ms, now_ms + LEASE_MS)
        return is_granted

    def settle(self, now_ms: int, name: str, actual: int) -> None:
        """Charge the bill."""
        self.found["transitions"] += 1
        self.book.settle(now_ms, name, actual)
        self._close(name, actual)

    def void(self, now_ms: int, name: str) -> None:
        """Give it back."""
        self.found["transitions"] += 1
        self.book.void(now_ms, name)
        self._close(name, 0)

    def expire(self, now_ms: int) -> None:
        """Charge what is past its lease in full."""
        self.found["transitions"] += 1
        for name, charged in self.book.expire(now_ms):
            entry = self.entries[name]
            entry.charged, entry.is_expired = charged, True

    def restart(self, now_ms: int) -> None:
        """Another book, from what the ledger says; those who could have settled late have died too."""
        self.found["restarts"] += 1
        self.book = Book()
        charged: Counter[str] = Counter()
        for entry in self.entries.values():
            entry.is_expired = False
            for account in entry.accounts:
                charged[account] += entry.charged or 0
        holds = [
            OpenHold(name, entry.held, entry.accounts, entry.lease_ms)
            for name, entry in self.entries.items()
            if entry.charged is None
        ]
        self.book.rebuild(now_ms, [Balance(account, amount, 0) for account, amount in charged.items()], holds)

    def check(self) -> None:
        """Nothing is ever held below zero or granted past a hard limit."""
        for account, limit in self.limits.items():
            stands = self.book.balance(account)
            self.found["overshoots"] += stands.settled_nanousd + stands.held_nanousd > limit
            self.found["negative"] += stands.held_nanousd < 0 or stands.settled_nanousd < 0

    def close(self, now_ms: int) -> None:
        """After the last lease: nothing is held, and every account is the sum of the ledger's charges."""
        self.expire(now_ms + 2 * LEASE_MS)
        sums: Counter[str] = Counter()
        for entry in self.entries.values():
            self.found["unclosed"] += entry.charged is None
            for account in entry.accounts:
                sums[account] += entry.charged or 0
        for account in sums.keys() | self.limits.keys():
            stands = self.book.balance(account)
            self.found["held_at_end_nanousd"] += stands.held_nanousd
            self.found["off_nanousd"] += abs(stands.settled_nanousd - sums[account])
        self.found["charged_nanousd"] += sum(entry.charged or 0 for entry in self.entries.values())

    def _close(self, name: str, charge: int) -> None:
        entry = self.entries[name]
        if entry.charged is None or entry.is_expired:
            entry.charged, entry.is_expired = charge, False


@dataclass(slots=True)
class CheckThenAct:
    """What many gateways do: look whether the dearest outcome still fits, call, and add up the cost afterwards."""

    spent: Counter[str] = field(default_factory=Counter)
    going: dict[str, tuple[Claim, ...]] = field(default_factory=dict)
    accounts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)

    def reserve(self, now_ms: int, name: str, claims: tuple[Claim, ...], least: int, most: int) -> int | None:
        """Look, and write nothing."""
        accounts = tuple(account_of(claim, now_ms) for claim in claims)
        may_cost = min(most, self._left(claims, accounts))
        if may_cost < least:
            return None
        self.going[name], self.accounts[name], self.asked[name] = claims, accounts, may_cost
        return may_cost

    def extend(self, now_ms: int, name: str, extra: int) -> bool:
        """Look again."""
        del now_ms
        is_granted = self.asked[name] + extra <= self._left(self.going[name], self.accounts[name])
        self.asked[name] += extra * is_granted
        return is_granted

    def settle(self, now_ms: int, name: str, actual: int) -> None:
        """Add it up, once."""
        del now_ms
        for account in self.accounts.pop(name, ()):
            self.spent[account] += actual

    def void(self, now_ms: int, name: str) -> None:
        """Nothing was added."""
        del now_ms
        self.accounts.pop(name, None)

    def _left(self, claims: tuple[Claim, ...], accounts: tuple[str, ...]) -> int:
        pairs = zip(claims, accounts, strict=True)
        return max(0, min(claim.limit_nanousd - self.spent[account] for claim, account in pairs if claim.is_hard))

    def expire(self, now_ms: int) -> None:
        """Nothing is known of what was left behind."""

    def restart(self, now_ms: int) -> None:
        """What was added up is in a database and stays."""

    def check(self) -> None:
        """It claims nothing."""


def account_of(claim: Claim, now_ms: int) -> str:
    """The claim's account at a moment."""
    return claim.account(next(window for window in reversed(claim.windows) if window.start_ms <= now_ms))


@dataclass(slots=True)
class World:
    """One interleaving: whose turn it is, what time it is, and what the vendors bill."""

    chance: Random
    purse: Purse
    limits: tuple[int, int, int]
    now_ms: int = START_MS
    billed: Counter[str] = field(default_factory=Counter)

    def claims(self, number: int) -> tuple[Claim, ...]:
        """The company's, the team's, and one that only watches."""
        return (
            Claim("company", "", self.limits[0], is_hard=True, windows=WINDOWS),
            Claim("team", str(number % 2), self.limits[1], is_hard=True, windows=WINDOWS),
            Claim("watch", "", self.limits[2], is_hard=False, windows=WINDOWS),
        )

    def worker(self, number: int) -> Iterator[None]:
        """One attempt; each ``yield`` is a place where the others may come in between."""
        happens, between, purse = self.chance.random, self.chance.randint, self.purse
        name, claims = f"{number}-1", self.claims(number)
        most = between(1, MOST_NANOUSD)
        least = between(0, most)
        may_cost = purse.reserve(self.now_ms, name, claims, least, most)
        reserved_ms = self.now_ms
        yield
        while may_cost is not None and happens() < 0.1:  # noqa: PLR2004 - the answer was lost
            may_cost = purse.reserve(self.now_ms, name, claims, least, most)
            yield
        if may_cost is None or happens() < 0.08:  # noqa: PLR2004 - it dies before the vendor is called
            return
        while happens() < 0.3:  # noqa: PLR2004 - more output than was held for
            extra = between(0, MOST_NANOUSD // 3)
            if not purse.extend(self.now_ms, name, extra):
                break
            may_cost += extra
            yield
        if happens() < 0.1:  # noqa: PLR2004 - the vendor could not be reached
            for _ in range(between(1, 2)):
                purse.void(self.now_ms, name)
                yield
            return
        actual = between(0, may_cost)
        for claim in claims:
            self.billed[account_of(claim, reserved_ms)] += actual
        yield
        if happens() < 0.08:  # noqa: PLR2004 - it dies before it settles
            return
        for _ in range(between(1, 2)):
            purse.settle(self.now_ms, name, actual)
            yield

    def run(self) -> None:
        """All workers, in any order, with all that happens beside them."""
        chance = self.chance
        going = [self.worker(number) for number in range(chance.randint(*WORKERS))]
        while going:
            place = chance.randrange(len(going))
            if next(going[place], self) is self:
                going[place] = going[-1]
                going.pop()
            what = chance.random()
            if what < 0.1:  # noqa: PLR2004
                self.now_ms += chance.choice((1, LEASE_MS // 2, LEASE_MS, HOUR_MS // 3))
            elif what < 0.2:  # noqa: PLR2004
                self.purse.expire(self.now_ms)
            elif what < 0.21:  # noqa: PLR2004 - the workers die with their process
                self.purse.restart(self.now_ms)
                going.clear()
            self.purse.check()


def limits_of(chance: Random) -> tuple[int, int, int]:
    """The company's limit, a team's, and where the watch warns."""
    return chance.randint(*LIMIT_NANOUSD), chance.randint(*LIMIT_NANOUSD), chance.randint(*LIMIT_NANOUSD)


def hard_limits(limits: tuple[int, int, int]) -> dict[str, int]:
    """The limit of each hard account that there may be."""
    found = {}
    for window in WINDOWS:
        found[Claim("company", "", 0, is_hard=True, windows=()).account(window)] = limits[0]
        for team in "01":
            found[Claim("team", team, 0, is_hard=True, windows=()).account(window)] = limits[1]
    return found


def interleave(seed: int) -> Counter[str]:
    """One interleaving with the book, and the same load with check-then-act; what was found."""
    chance = Random(seed)
    limits = limits_of(chance)
    hard = hard_limits(limits)
    strict = Strict(hard)
    world = World(Random(seed), strict, limits)
    world.run()
    strict.close(world.now_ms)
    found = strict.found
    found["billed_nanousd"] += sum(amount for account, amount in world.billed.items() if account.startswith("company/"))
    found["billed_over_limit"] += any(world.billed[account] > limit for account, limit in hard.items())
    loose = World(Random(seed), CheckThenAct(), limits)
    loose.run()
    over = [(loose.billed[account], limit) for account, limit in hard.items() if loose.billed[account] > limit]
    found["loose_over_limit"] += bool(over)
    found["loose_overspent_nanousd"] += sum(amount - limit for amount, limit in over)
    found["loose_limits_nanousd"] += sum(limit for _, limit in over)
    return found
