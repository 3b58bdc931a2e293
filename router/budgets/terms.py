"""The words of budgets: a budget is a rule of the policy, an account is one owner's share of it in one window."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

BudgetWindow: TypeAlias = Literal["hour", "day", "week", "month", "total"]
BudgetKind: TypeAlias = Literal["hard", "soft"]
BudgetScope: TypeAlias = Literal["all", "team", "project", "key", "session", "lineage", "request", "tag"]
WhenExhausted: TypeAlias = Literal["reject", "downgrade", "queue"]
NOBODY = ""
ENDLESS_MS = 2**53
# No budget's name begins so: what the ledger sums beside budgets, for stores of budgets to know it again. What leased
# calls cost a gateway has an account for each chain of leases, and a call that passed without the store has its own.
ASIDE = "~"
CHAIN_PREFIX = "~lease/"
ALLOWED_PREFIX = "~allow/"


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit that every owner in its scope has for itself.

    ``scope`` ``tag`` counts by the value of the tag ``tag``; ``request`` bounds a single request and needs no account.
    Requests without an owner share one account, so that leaving a name out is no way around a limit. ``owners`` narrows
    the budget to some owners, ``limits_nanousd`` gives some of them a limit of their own. ``zone`` is the IANA name of
    the time zone that windows begin in. ``queue_s`` is how long a request waits for money that is held by calls
    under way, or with ``queue`` for the next window too.
    """

    name: str
    scope: BudgetScope
    window: BudgetWindow
    limit_nanousd: int
    kind: BudgetKind = "hard"
    when_exhausted: WhenExhausted = "reject"
    tag: str | None = None
    zone: str = "UTC"
    queue_s: float = 0.0
    owners: frozenset[str] = frozenset()
    limits_nanousd: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_hard(self) -> bool:
        """Whether it may never be exceeded; a soft one counts and warns."""
        return self.kind == "hard"


def storable(text: str) -> str:
    """The text with NUL and lone surrogates written as escapes, which every store can keep."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


class Window(NamedTuple):
    """Half-open, in milliseconds since 1970."""

    start_ms: int
    end_ms: int


class Claim(NamedTuple):
    """One account that a call falls under.

    ``windows`` are the previous, the present and the next one by the caller's clock, oldest first: the store picks the
    one that holds its own time, so that the gateways' clocks need not agree. A ``total`` has one endless window.
    ``owner`` never is a secret or a prompt: names, ids and salted hashes only.
    """

    budget: str
    owner: str
    limit_nanousd: int
    is_hard: bool
    windows: tuple[Window, ...]

    def account(self, window: Window) -> str:
        """The account's id: budget, start of the window, owner, in this order since owners may hold any character.

        What a database cannot keep as text (NUL, half a surrogate pair) is spelt out.
        """
        return storable(f"{self.budget}/{window.start_ms}/{self.owner}")


class Grant(NamedTuple):
    """Money that is held. ``headroom_nanousd`` is what the tightest hard account has left beyond it, None without one.

    ``over`` names the soft budgets that are past their limit with it.
    """

    reservation_id: str
    held_nanousd: int
    accounts: tuple[str, ...]
    headroom_nanousd: int | None
    over: tuple[str, ...] = ()


class Denial(NamedTuple):
    """Nothing was written. ``headroom_nanousd`` is what the account that denied has left: limit - settled - held.

    ``is_settled`` tells that settled money alone leaves too little; else calls under way hold it, and may return some.
    ``resets_ms`` is the end of the window, None where there is none.
    """

    budget: str
    owner: str
    limit_nanousd: int
    settled_nanousd: int
    held_nanousd: int
    wanted_nanousd: int
    resets_ms: int | None

    @property
    def headroom_nanousd(self) -> int:
        """What is left; never below zero in words, though settled money may have passed a limit that was lowered."""
        return max(0, self.limit_nanousd - self.settled_nanousd - self.held_nanousd)

    @property
    def is_settled(self) -> bool:
        """Whether waiting for calls under way cannot help."""
        return self.settled_nanousd + self.wanted_nanousd > self.limit_nanousd


class Balance(NamedTuple):
    """One account as it stands."""

    account: str
    settled_nanousd: int
    held_nanousd: int


def is_aside(account: str) -> bool:
    """Whether it is the account of a chain of leases, or of a call that was allowed, and no budget's."""
    return account.startswith(ASIDE)


def allowed_account(reservation_id: str, time_ms: int) -> str:
    """Where the ledger sums what a call cost that passed without the store."""
    return f"{ALLOWED_PREFIX}{time_ms}/{reservation_id}"


def allowed_id(account: str) -> str | None:
    """The reservation whose account it is; None where it is no allowed call's."""
    return account.split("/", 2)[2] if account.startswith(ALLOWED_PREFIX) else None


class Expired(NamedTuple):
    """A reservation that its lease closed, and what that charged: all that was held."""

    reservation_id: str
    charged_nanousd: int


class OpenHold(NamedTuple):
    """A hold as the ledger's intent tells it: what a store that lost its memory has to hold again."""

    reservation_id: str
    held_nanousd: int
    accounts: tuple[str, ...]
    lease_expires_ms: int
