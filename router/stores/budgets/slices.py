"""What a gateway keeps of money that a shared store holds for it: slices, the calls in them, and who asks for more."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from router.budgets import Grant


@dataclass(slots=True)
class Slice:
    """Money that the store holds for this gateway, and what of it calls hold or have spent."""

    name: str
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
    """How often claims were asked for lately, what was left the last time, and their slice."""

    since_s: float
    calls: int = 0
    headroom_nanousd: int | None = None
    is_known: bool = False
    slice: Slice | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
