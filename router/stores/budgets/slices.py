"""What a gateway keeps of money that a shared store holds for it: slices, the calls in them, and who asks for more."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from router.stores.budgets.stranded import SliceName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.budgets import Claim, Grant

    Key: TypeAlias = tuple[Claim, ...]

CALLS_WITHIN_S = 2.0
KEYS_MAX = 10_000


@dataclass(slots=True)
class Slice:
    """Money that the store holds for this gateway, and what of it calls hold or have spent."""

    name: SliceName
    held_nanousd: int
    accounts: tuple[str, ...]
    headroom_nanousd: int | None
    over: tuple[str, ...]
    asked_s: float
    renewed_s: float
    lock: asyncio.Lock
    spent_nanousd: int = 0
    is_void: bool = False
    open: dict[str, Call] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)

    @property
    def open_nanousd(self) -> int:
        """What calls under way hold."""
        return sum(call.held_nanousd for call in self.open.values())

    @property
    def room_nanousd(self) -> int:
        """What another call may hold; below zero where calls cost more than they held."""
        return self.held_nanousd - self.spent_nanousd - self.open_nanousd


@dataclass(slots=True)
class Call:
    """One call's hold within a slice, or, where that is void, under its own id in the store."""

    slice: Slice
    grant: Grant
    held_nanousd: int
    lease_expires_ms: int


@dataclass(slots=True)
class Demand:
    """How often claims were asked for lately, what was left the last time, and their slice.

    ``chain`` numbers the slices that follow each other here, ``settled_nanousd`` is what those that are closed cost.
    """

    since_s: float
    chain: int
    calls: int = 0
    headroom_nanousd: int | None = None
    is_known: bool = False
    slice: Slice | None = None
    settled_nanousd: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Demands:
    """Every set of claims that was asked for lately, the one that was asked for longest ago first."""

    def __init__(self) -> None:
        self._origin = secrets.token_hex(6)
        self._numbers = itertools.count(1)
        self._table: OrderedDict[Key, Demand] = OrderedDict()

    def asked(self, key: Key, now_s: float) -> Demand:
        """The claims' own, one more time; where there is no room the oldest that has no slice is forgotten."""
        demand = self._table.get(key)
        if demand is None:
            demand = self._table[key] = Demand(now_s, next(self._numbers))
            if len(self._table) > KEYS_MAX:
                oldest = next((each for each, other in self._table.items() if other.slice is None), None)
                if oldest is not None:
                    del self._table[oldest]
        self._table.move_to_end(key)
        if now_s - demand.since_s > CALLS_WITHIN_S:
            demand.since_s, demand.calls = now_s, 0
        demand.calls += 1
        return demand

    def next_name(self, demand: Demand) -> SliceName:
        """The name of the slice that follows: should it be granted, what is spent of the present one is settled."""
        spent = 0 if demand.slice is None else demand.slice.spent_nanousd
        return SliceName(self._origin, demand.chain, next(self._numbers), demand.settled_nanousd + spent)

    def begin_anew(self, demand: Demand) -> None:
        """Another chain: the store has forgotten the slice."""
        demand.slice, demand.chain, demand.settled_nanousd = None, next(self._numbers), 0

    def items(self) -> tuple[tuple[Key, Demand], ...]:
        """All of them, as they are now."""
        return tuple(self._table.items())

    def slices(self) -> Iterator[Slice]:
        """Every slice that serves."""
        return (each.slice for each in self._table.values() if each.slice is not None)
