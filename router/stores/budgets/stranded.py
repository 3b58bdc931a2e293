"""What a gateway that died had leased and not spent goes back: its slices are corrected to what the ledger says.

Calls move from slice to slice, so no slice's cost can be told from its calls. What can be told is the cost of all calls
that were granted under the same claims by the same gateway: a chain of slices. Each of its calls' intents names the
chain beside its budgets' accounts, so the ledger keeps the chain's sum; and the name of each slice says what the slices
before it in the chain were settled at. A slice that its lease charged in full cost what its successor's name adds to
its own, and the last of a chain the rest of the ledger's sum, in which a call that is still open counts at its hold.

Nothing is ever charged more than the lease did. A chain that this ledger knows nothing of stays charged in full.
"""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, Final, NamedTuple

from router.budgets.terms import CHAIN_PREFIX
from router.budgets.transitions import EXPIRED_KEPT_MS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence

    from router.budgets import Expired
    from router.clock import Clock
    from router.ledger import Spend
    from router.ports import BudgetStore

# Slices of one chain run out at most a lease apart; the last tells what the one before it cost.
WAIT_S: Final = 75.0
WAITING_MAX: Final = 10_000
NAME: Final = re.compile(r"lease-([0-9a-f]+)-([0-9]+)-([0-9]+)-([0-9]+)")


class SliceName(NamedTuple):
    """Which slice of which chain of which gateway, and what all before it in the chain were settled at."""

    origin: str
    chain: int
    number: int
    before_nanousd: int

    def __str__(self) -> str:
        return f"lease-{self.origin}-{self.chain}-{self.number}-{self.before_nanousd}"

    @property
    def account(self) -> str:
        """The account under which the ledger sums what the chain's calls cost."""
        return f"{CHAIN_PREFIX}{self.origin}/{self.chain}"


def slice_named(text: str) -> SliceName | None:
    """The slice of that name; None where it is no slice's."""
    found = NAME.fullmatch(text)
    return None if found is None else SliceName(found[1], *map(int, found.groups()[1:]))


class Waiting(NamedTuple):
    """A slice that its lease charged, and when this gateway saw that."""

    name: SliceName
    charged_nanousd: int
    seen_s: float


class Stranded:
    """Slices that their leases charged in full, until what they really cost is known here."""

    def __init__(
        self, store: BudgetStore, spend: Callable[[Sequence[str]], Awaitable[Mapping[str, Spend]]], clock: Clock
    ) -> None:
        self._store, self._spend, self._clock = store, spend, clock
        self._waiting: dict[str, Waiting] = {}

    def note(self, expired: Iterable[Expired], told: Container[str]) -> None:
        """Remember the slices among them, but for those whose cost is going to be ``told`` by their own gateway."""
        seen_s = self._clock.monotonic_s()
        for each in expired:
            name = slice_named(each.reservation_id)
            if name is not None and each.reservation_id not in told and len(self._waiting) < WAITING_MAX:
                self._waiting[each.reservation_id] = Waiting(name, each.charged_nanousd, seen_s)

    async def give_back(self) -> int:
        """Correct what is due, and return how much that gave back. Raises StoreError where ledger or store is away."""
        due = self._due()
        if not due:
            return 0
        spent = await self._spend([chain[-1].name.account for chain in due])
        returned_nanousd = 0
        for chain in due:
            known = spent.get(chain[-1].name.account)
            ends = [after.name.before_nanousd for _, after in pairwise(chain)]
            if known is not None:
                ends.append(known.settled_nanousd + known.open_nanousd)
            for each, end in zip_longest(chain, ends):
                cost = each.charged_nanousd if end is None or known is None else max(0, end - each.name.before_nanousd)
                if cost < each.charged_nanousd:
                    await self._store.settle(str(each.name), cost)
                    returned_nanousd += each.charged_nanousd - cost
                del self._waiting[str(each.name)]
        return returned_nanousd

    def _due(self) -> list[list[Waiting]]:
        """Whole chains, each in the order of its slices, whose last one ran out long enough ago."""
        now_s = self._clock.monotonic_s()
        chains: dict[tuple[str, int], list[Waiting]] = defaultdict(list)
        for name, each in tuple(self._waiting.items()):
            if now_s - each.seen_s > EXPIRED_KEPT_MS / 1000:
                del self._waiting[name]  # the store has forgotten it
            else:
                chains[each.name.origin, each.name.chain].append(each)
        return [
            sorted(chain, key=lambda each: each.name.number)
            for chain in chains.values()
            if all(now_s - each.seen_s >= WAIT_S for each in chain)
        ]
