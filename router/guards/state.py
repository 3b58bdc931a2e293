"""What guards remember: a bounded number of records, each of a bounded size, of digests, counts and money.

| record | stands for | at most | about |
|---|---|--:|--:|
| Node | a conversation up to one of its requests | 20,000 | 170 B; 550 B in an agent's conversation of 60 turns |
| Root | a lineage: a conversation and all that descend from it; or a session by its id | 20,000 | 135 B |
| Pattern | one request and all that say the same | 40,000 | 170 B |
| link | an answer, or how a long turn begins, and the node that it leads to | 20,000 each | 70 B |
| link | a piece of an answer, and the node | 50,000 | 90 B |
| Owner | a key or a team | 10,000 | 390 B |
| Case | what tripped, and how far up the ladder it is | 10,000 | 415 B |

Sizes are with the index that finds a record, all but the newest packed (``tables``); `python -m benchmarks memory`
weighs all but the last two, which full are 20 MB, and 24 MB where agents' conversations fill them. Past its bound the
cheaper half of the records that were longest unused goes: a flood of new conversations does not push out the one that
burns money.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

from router.guards.tables import Packing

if TYPE_CHECKING:
    from router.guards.volatile import Stamp

NODES_MAX = 20_000
ROOTS_MAX = 20_000
PATTERNS_MAX = 40_000
OWNERS_MAX = 10_000
CASES_MAX = 10_000
# Whose words these are matters for seconds: at ten pieces an answer, the last five thousand answers.
LINKS_MAX = 50_000
RING_MAX = 32
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
# Of a turn its digest, its fingerprint, what was called and its outline; so many turns in one piece of memory.
TURN = struct.Struct("<4Q")
BLOCK_TURNS = 8

Scope: TypeAlias = Literal["pattern", "lineage", "session", "key"]


def scope_id_of(scope: Scope, number: int) -> str:
    """The scope's name in the ledger, on the command line and in errors: a salted hash with its kind before it."""
    return f"{scope}-{number:016x}"


@dataclass(slots=True)
class Fading:
    """A sum that fades with time: after ``span_ms`` 1/e of it is left."""

    span_ms: int
    amount: float = 0.0
    at_ms: int = 0

    def now(self, now_ms: int) -> float:
        """What is left of it; a clock that steps back adds nothing."""
        if now_ms <= self.at_ms or not self.amount:
            return self.amount
        return self.amount * math.exp((self.at_ms - now_ms) / self.span_ms)

    def add(self, amount: float, now_ms: int) -> None:
        """Add to what is left."""
        left = self.amount
        if now_ms > self.at_ms:
            if left:
                left *= math.exp((self.at_ms - now_ms) / self.span_ms)
            self.at_ms = now_ms
        left += amount
        self.amount = left if left > 0 else 0.0


@dataclass(slots=True)
class Leaking:
    """A bucket that runs empty at a steady rate: GCRA's other form. ``level`` is in the unit of what is poured in."""

    level: float = 0.0
    at_ms: int = 0

    def now(self, now_ms: int, per_ms: float) -> float:
        """How full it is."""
        return max(self.level - max(now_ms - self.at_ms, 0) * per_ms, 0.0)

    def add(self, amount: float, now_ms: int, per_ms: float) -> float:
        """Pour in; returns how full it is then."""
        level = self.level
        if now_ms > self.at_ms:
            level -= (now_ms - self.at_ms) * per_ms
            self.at_ms = now_ms
        level = amount + level if level > 0 else amount
        self.level = level if level > 0 else 0.0
        return self.level


@dataclass(slots=True)
class Node:
    """A conversation up to one request: everything that is counted along its own path, so that forks are apart.

    ``turn``, ``near``, ``call`` and ``outline`` are its newest turn's, 0 where a conversation begins; ``before`` holds
    those of the turns between, the newest 32 at least, in blocks that the nodes of one conversation share.
    ``over_nanousd`` is what was spent past a limit. ``opening`` is the pattern of a conversation's first request until
    somebody replies, then 0.
    """

    root: int
    depth: int
    calls: int = 0
    asked_ms: int = 0
    done_ms: int = 0
    said_chars: int = 0
    context_chars: int = 0
    turn: int = 0
    near: int = 0
    call: int = 0
    outline: int = 0
    before: tuple[bytes, ...] = ()
    seen_streak: int = 0
    outline_streak: int = 0
    error_streak: int = 0
    fed_streak: int = 0
    fed_chars: int = 0
    own_chars: int = 0
    recurred: int = 0
    outlined: int = 0
    neared: int = 0
    over_nanousd: int = 0
    spent_nanousd: int = 0
    opening: int = 0

    def turns(self) -> tuple[bytes, ...]:
        """Its turns but the first, in blocks, as the node that goes on from it has them before its own."""
        if not self.turn:
            return self.before
        *full, last = self.before or (b"",)
        own = TURN.pack(self.turn, self.near, self.call, self.outline)
        is_full = len(last) == BLOCK_TURNS * TURN.size
        blocks = (*full, last, own) if is_full else (*full, last + own)
        return blocks[-(RING_MAX // BLOCK_TURNS + 1) :]


def columns_of(turns: tuple[bytes, ...]) -> tuple[tuple[int, ...], ...]:
    """Of the newest 32 turns, the oldest first: the turns, the fingerprints, the calls, the outlines."""
    packed = b"".join(turns)[-RING_MAX * TURN.size :]
    numbers = struct.unpack(f"<{len(packed) // 8}Q", packed)
    return tuple(numbers[column::4] for column in range(4))


@dataclass(slots=True)
class Root:
    """A lineage, or a session by the id that a client gave it."""

    agents: int = 1
    depth: int = 0
    spent_nanousd: int = 0
    hour: Fading = field(default_factory=partial(Fading, HOUR_MS))
    bucket: Leaking = field(default_factory=Leaking)


@dataclass(slots=True)
class Pattern:
    """Requests that say the same: how many lately, what those past the limit cost, what times they named last.

    Of those that began a conversation ``went_on`` did so, and ``replied`` with a person's turn.
    """

    lately: Leaking = field(default_factory=Leaking)
    over: Fading = field(default_factory=partial(Fading, HOUR_MS))
    day: Fading = field(default_factory=partial(Fading, DAY_MS))
    spent_nanousd: int = 0
    stamps: tuple[Stamp, ...] = ()
    asked_ms: int = 0
    said: int = 0
    same_said: int = 0
    failed: int = 0
    asked: int = 0
    went_on: int = 0
    replied: int = 0


@dataclass(slots=True)
class Owner:
    """A key or a team: what it spends, what of it was new work, and what it may still retry."""

    hour: Fading = field(default_factory=partial(Fading, HOUR_MS))
    day: Fading = field(default_factory=partial(Fading, DAY_MS))
    fresh: Fading = field(default_factory=partial(Fading, HOUR_MS))
    since_ms: int = 0
    retries_left: float = 10.0
    attempts: int = 0
    retries: int = 0
    over_nanousd: int = 0
    spent_nanousd: int = 0


@dataclass(slots=True)
class Case:
    """A scope that tripped. ``quiet_ms`` is how long it must be silent before one call is let through again."""

    guard: str
    guard_id: str
    scope: str
    quiet_ms: int
    asked_ms: int
    told: int = 0
    strikes: int = 0
    is_stopped: bool = False
    probe_ms: int = 0
    refused: int = 0
    spent_nanousd: int = 0
    exempt_until_ms: int = 0
    opened_ms: int = 0
    touched_ms: int = 0
    team: str | None = None
    project: str | None = None
    key_id: str | None = None


NODE_PACKING = Packing(
    lambda: Node(0, 0),
    always={
        "root": "Q", "opening": "Q", "asked_ms": "q", "done_ms": "q", "said_chars": "I",
        "context_chars": "I", "calls": "I", "depth": "I",
    },
    seldom={
        "turn": "Q", "near": "Q", "call": "Q", "outline": "Q", "over_nanousd": "q", "seen_streak": "I",
        "outline_streak": "I", "error_streak": "I", "fed_streak": "I", "fed_chars": "I", "own_chars": "I",
        "recurred": "B", "outlined": "B", "neared": "B",
    },
    apart="before",
)  # fmt: skip
ROOT_PACKING = Packing(
    Root,
    always={"hour.amount": "d", "hour.at_ms": "q", "agents": "I"},
    seldom={"depth": "I", "bucket.level": "d", "bucket.at_ms": "q"},
)
PATTERN_PACKING = Packing(
    Pattern,
    always={
        "lately.level": "d", "lately.at_ms": "q", "day.amount": "d", "day.at_ms": "q", "said": "Q", "asked_ms": "q",
        "asked": "I",
    },
    seldom={"over.amount": "d", "over.at_ms": "q", "same_said": "I", "failed": "I", "went_on": "I", "replied": "I"},
    apart="stamps",
)  # fmt: skip
