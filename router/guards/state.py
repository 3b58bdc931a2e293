"""What guards remember: a bounded number of records, each of a bounded size, of digests, counts and money.

| record | stands for | at most | about |
|---|---|--:|--:|
| Node | a conversation up to one of its requests | 20,000 | 1.5 kB |
| Root | a lineage: a conversation and all that descend from it; or a session by its id | 20,000 | 250 B |
| Pattern | one request and all that say the same | 40,000 | 350 B |
| Owner | a key or a team | 10,000 | 300 B |
| Case | what tripped, and how far up the ladder it is | 10,000 | 400 B |

Past its bound the cheapest of the sixteen records that were longest unused goes: a flood of new conversations does not
push out the one that burns money.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from router.guards.reading import TurnKind
    from router.guards.volatile import Stamp

NODES_MAX = 20_000
ROOTS_MAX = 20_000
PATTERNS_MAX = 40_000
OWNERS_MAX = 10_000
CASES_MAX = 10_000
# Whose words these are matters for seconds: at ten pieces an answer, the last five thousand answers.
LINKS_MAX = 50_000
RING_MAX = 32
EVICT_FROM = 16
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

Scope: TypeAlias = Literal["pattern", "lineage", "session", "key"]


def scope_id_of(scope: Scope, number: int) -> str:
    """The scope's name in the ledger, on the command line and in errors: a salted hash with its kind before it."""
    return f"{scope}-{number:016x}"


class Weighed(Protocol):
    """What has spent something."""

    spent_nanousd: int


Record = TypeVar("Record", bound=Weighed)
Key = TypeVar("Key", int, str)


class Bounded(Generic[Key, Record]):
    """A table of at most ``size`` records; money keeps a record longer than use alone does."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._records: OrderedDict[Key, Record] = OrderedDict()
        # The record, without using it: the table's own method, since every request asks dozens of times.
        self.peek: Callable[[Key], Record | None] = self._records.get

    def get(self, key: Key) -> Record | None:
        """The record, from now on the most recently used one."""
        record = self.peek(key)
        if record is not None:
            self._records.move_to_end(key)
        return record

    def put(self, key: Key, record: Record) -> Record:
        """Keep it, and let go of another where there is no room."""
        records = self._records
        if key in records:
            records.move_to_end(key)
        records[key] = record
        if len(records) > self.size:
            self._let_go(key)
        return record

    def _let_go(self, key: Key) -> None:
        """Of the cheapest of those that were longest unused, whatever ``key`` has spent."""
        cheapest, least = key, math.inf
        for each, record in islice(self._records.items(), EVICT_FROM):
            spent = record.spent_nanousd
            if spent < least and each != key:
                cheapest, least = each, spent
        del self._records[cheapest]

    def drop(self, key: Key) -> None:
        """Forget it, if it is there."""
        self._records.pop(key, None)

    def items(self) -> Iterator[tuple[Key, Record]]:
        """Every record, the longest unused first."""
        return iter(tuple(self._records.items()))

    def __len__(self) -> int:
        return len(self._records)


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
        left = self.now(now_ms) + amount
        self.amount = left if left > 0 else 0.0
        self.at_ms = max(self.at_ms, now_ms)


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
        self.level = max(self.now(now_ms, per_ms) + amount, 0.0)
        self.at_ms = max(self.at_ms, now_ms)
        return self.level


@dataclass(slots=True)
class Node:
    """A conversation up to one request: everything that is counted along its own path, so that forks are apart.

    ``ring`` holds the newest 32 turns as (turn, near, call, outline). ``over_nanousd`` is what was spent past a limit.
    ``opening`` is the pattern of a conversation's first request, 0 for the others.
    """

    root: int
    depth: int
    calls: int = 0
    asked_ms: int = 0
    done_ms: int = 0
    said_chars: int = 0
    context_chars: int = 0
    ring: tuple[tuple[int, int, int, int], ...] = ()
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
    kind: TurnKind = "other"
    opening: int = 0


@dataclass(slots=True)
class Root:
    """A lineage, or a session by the id that a client gave it."""

    agents: int = 1
    depth: int = 0
    spent_nanousd: int = 0
    hour: Fading = field(default_factory=lambda: Fading(HOUR_MS))
    bucket: Leaking = field(default_factory=Leaking)


@dataclass(slots=True)
class Pattern:
    """Requests that say the same: how many lately, what those past the limit cost, what times they named last."""

    lately: Leaking = field(default_factory=Leaking)
    over: Fading = field(default_factory=lambda: Fading(HOUR_MS))
    day: Fading = field(default_factory=lambda: Fading(DAY_MS))
    spent_nanousd: int = 0
    stamps: tuple[Stamp, ...] = ()
    asked_ms: int = 0
    said: int = 0
    same_said: int = 0
    failed: int = 0
    asked: int = 0
    went_on: int = 0


@dataclass(slots=True)
class Owner:
    """A key or a team: what it spends, what of it was new work, and what it may still retry."""

    hour: Fading = field(default_factory=lambda: Fading(HOUR_MS))
    day: Fading = field(default_factory=lambda: Fading(DAY_MS))
    fresh: Fading = field(default_factory=lambda: Fading(HOUR_MS))
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


@dataclass(slots=True)
class Link:
    """From what was said to the node whose answer it was; what several answers say leads nowhere."""

    node: int
    spent_nanousd: int = 0
