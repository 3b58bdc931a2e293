"""What guards tell each other: every gateway folds its own events at once and those of the others as they arrive.

An event is a flat list of JSON's own kinds, so that any store can carry it. It holds digests and numbers alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from router.guards.volatile import Stamp

if TYPE_CHECKING:
    from router.guards.reading import TurnKind


class Asked(NamedTuple):
    """A request was let through. ``parent`` is 0 for a conversation that begins; ``expected`` is what it may cost.

    ``outline`` is 0 where a turn that is no tool's holds no opaque id, or where an older gateway wrote the event.
    """

    time_ms: int
    owner: int
    team: int
    session: int
    root: int
    parent: int
    depth: int
    is_agent: bool
    is_fast: bool
    is_over: bool
    is_retry: bool
    expected_nanousd: int
    whole: int
    pattern: int
    bare: int
    turn: int
    call: int
    kind: TurnKind
    near: int
    head: int
    turn_chars: int
    said_chars: int
    is_error: bool
    stamps: tuple[Stamp, ...]
    outline: int = 0


class Done(NamedTuple):
    """A call has ended. ``said`` is the answer's digest, 0 where nothing is known of it."""

    time_ms: int
    owner: int
    team: int
    session: int
    root: int
    node: int
    pattern: int
    bare: int
    is_over: bool
    expected_nanousd: int
    cost_nanousd: int
    is_answered: bool
    said: int
    said_chars: int
    pieces: tuple[int, ...]


class Ruled(NamedTuple):
    """A scope moved on the ladder: ``stop``, ``strike``, ``touch``, ``probe``, ``close``, ``release``, ``exempt``."""

    time_ms: int
    what: str
    scope_id: str
    scope: str
    guard: str
    guard_id: str
    quiet_ms: int
    until_ms: int
    team: str | None
    project: str | None
    key_id: str | None


Event: TypeAlias = Asked | Done | Ruled


def plain_of(event: Event) -> list[object]:
    """The event as JSON carries it."""
    if isinstance(event, Asked):
        return ["a", *event[:-2], [list(stamp) for stamp in event.stamps], event.outline]
    return ["d" if isinstance(event, Done) else "r", *event]


def event_of(plain: object) -> Event | None:
    """The event; None for what is none of this version: another version's gateway may write to the same store."""
    if not isinstance(plain, list) or len(plain) < 2:  # noqa: PLR2004  # a letter and a time
        return None
    letter, *values = plain
    try:
        if letter == "a":
            asked = Asked(*values)
            return asked._replace(stamps=tuple(Stamp(*each) for each in asked.stamps))
        if letter == "d":
            done = Done(*values)
            return done._replace(pieces=tuple(done.pieces))
        return Ruled(*values) if letter == "r" else None
    except TypeError:
        return None
