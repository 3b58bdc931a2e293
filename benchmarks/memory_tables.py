"""The guards' tables, full and weighed: what each takes by ``tracemalloc``, with the index that finds its records."""

from __future__ import annotations

import gc
import random
import tracemalloc
from typing import TYPE_CHECKING, Any

from router.guards.book import Book
from router.guards.events import Asked, Done
from router.policy import Guards

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.guards.events import Event

EVENTS = 45_000
PIECES = 10
TURNS, AT_ONCE = 60, 40
# The links ask the nodes what they have spent, so the nodes go last.
TABLES = ("heads", "pieces", "answers", "patterns", "roots", "nodes")
NOW_MS, STEP_MS, COST_NANOUSD = 1_800_000_000_000, 300, 3_000_000


def weighed() -> dict[str, Any]:
    """Megabytes and bytes a record of each table after 45,000 requests of two kinds of traffic.

    ``questions``: each begins a conversation, says a number, and gets an answer of its own. ``agents``: 40
    conversations at once of 60 turns each, most of them tools' results.
    """
    return {kind: _weighed(kind) for kind in ("questions", "agents")}


def _weighed(kind: str) -> dict[str, Any]:
    book, bounds = Book(), Guards()
    tracemalloc.start(1)
    try:
        for event in events_of(kind):
            book.fold(event, bounds)
        tables: dict[str, dict[str, float]] = {}
        for name in TABLES:
            records, before = len(getattr(book, name)), _traced_bytes()
            delattr(book, name)
            size = before - _traced_bytes()
            tables[name] = {"records": records, "mb": round(size / 1e6, 2), "bytes_each": round(size / max(records, 1))}
    finally:
        tracemalloc.stop()
    return {"tables": tables, "mb": round(sum(each["mb"] for each in tables.values()), 1)}


def _traced_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def events_of(kind: str) -> Iterator[Event]:
    """What a keeper would fold of such traffic: numbers of the size of digests, drawn from a fixed seed."""
    draw = random.Random(1)
    running: list[list[int]] = [[] for _ in range(AT_ONCE)]
    for number in range(EVENTS):
        nodes = running[number % AT_ONCE]
        if kind == "questions" or len(nodes) >= TURNS:
            nodes.clear()
        is_begun = not nodes
        root = draw.getrandbits(64) if is_begun else nodes[0]
        asked = _asked(draw, NOW_MS + STEP_MS * number, root, 0 if is_begun else nodes[-1])
        nodes += (root, asked.whole) if is_begun else (asked.whole,)
        yield asked
        yield _done(draw, asked)


def _asked(draw: random.Random, time_ms: int, root: int, parent: int) -> Asked:
    digest = draw.getrandbits
    return Asked(
        time_ms=time_ms, owner=1, team=2, session=0, root=root, parent=parent, depth=0, is_agent=False,
        is_fast=bool(parent), is_over=False, is_retry=False, expected_nanousd=COST_NANOUSD + draw.randrange(10**6),
        whole=digest(64), pattern=digest(64), bare=digest(64), turn=digest(64), call=digest(64) if parent else 0,
        kind="tool" if parent else "user", near=digest(64) if parent else 0, head=0 if parent else digest(64),
        turn_chars=1_200, said_chars=800 if parent else 0, is_error=False, stamps=(),
        outline=digest(64) if parent else 0,
    )  # fmt: skip


def _done(draw: random.Random, asked: Asked) -> Done:
    return Done(
        time_ms=asked.time_ms + 100, owner=1, team=2, session=0, root=asked.root, node=asked.whole,
        pattern=asked.pattern, bare=asked.bare, is_over=False, expected_nanousd=asked.expected_nanousd,
        cost_nanousd=COST_NANOUSD, is_answered=True, said=draw.getrandbits(64), said_chars=800,
        pieces=tuple(draw.getrandbits(64) for _ in range(PIECES)),
    )  # fmt: skip
