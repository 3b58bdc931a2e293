"""Whose call is it? The conversation that a request goes on with, and the lineage that it descends from.

Content counts before what a client says: a request that goes on with a conversation belongs to it, whatever its headers
name. A ticket places what nothing in the content places; and where both do, the deeper place holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.guards.fingerprints import is_strong, mixed
from router.guards.reading import prompt_pieces
from router.guards.state import scope_id_of

if TYPE_CHECKING:
    from router.chat import Request
    from router.guards.book import Book
    from router.guards.reading import Reading
    from router.guards.state import Node
    from router.lineage import Ticket

# One short piece may be a phrase; two of them, or a long one, are not.
PIECES_MIN = 2
# Sets a lineage's number apart from other digests of the request that it begins with.
ROOT = 0x524F4F54
# People take longer than this between an answer and what they write, or between two requests of one conversation.
FAST_DONE_MS = 5_000
FAST_ASKED_MS = 10_000
# A prompt that grows is the same conversation in one message: longer each time, by at most this.
GROWTH_SHARE = 0.5
GROWTH_CHARS = 16_384


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request stands. ``parent`` is the node that it goes on from, 0 where a conversation begins.

    ``is_agent``: it begins a conversation below another. ``is_fast``: it came at a machine's pace. ``new_chars`` is
    what its newest turn brings.
    """

    root: int
    parent: int
    depth: int
    is_agent: bool
    is_fast: bool
    new_chars: int


def place_of(book: Book, reading: Reading, request: Request, key: bytes, ticket: Ticket | None, now_ms: int) -> Place:
    """The request's place in what is known."""
    found = _continued(book, reading)
    if found is not None:
        name, node = found
        return Place(
            node.root,
            name,
            node.depth,
            is_agent=False,
            is_fast=_is_near(book, node, now_ms),
            new_chars=reading.turn_chars,
        )
    grown = _grown(book, reading, now_ms)
    if grown is not None:
        name, node, new_chars = grown
        if ticket is not None:
            depth = max(ticket.depth + 1, node.depth)
            return Place(ticket.root, name, depth, is_agent=True, is_fast=True, new_chars=new_chars)
        return Place(node.root, name, node.depth, is_agent=False, is_fast=True, new_chars=new_chars)
    again = book.nodes.peek(reading.whole)
    if again is not None:
        return Place(again.root, 0, again.depth, is_agent=False, is_fast=False, new_chars=reading.turn_chars)
    return _begun(book, reading, request, key, ticket, now_ms)


def _continued(book: Book, reading: Reading) -> tuple[int, Node] | None:
    for prefix in reversed(reading.prefixes[:-1]):
        node = book.nodes.get(prefix)
        if node is not None:
            return prefix, node
    for said in reversed(reading.said):
        name = book.answers.get(said)
        node = book.nodes.get(name) if name else None
        if name and node is not None:
            return name, node
    return None


def _grown(book: Book, reading: Reading, now_ms: int) -> tuple[int, Node, int] | None:
    """The request before, where this one holds its one long turn with more behind it, the last answer among it."""
    name = book.heads.get(reading.head) if reading.head else None
    node = book.nodes.get(name) if name else None
    if not name or node is None or name == reading.whole or not _is_near(book, node, now_ms):
        return None
    more = reading.turn_chars - node.context_chars
    if not 0 < more <= max(GROWTH_SHARE * node.context_chars, GROWTH_CHARS) or more < node.said_chars:
        return None
    return name, node, more - node.said_chars


def _begun(book: Book, reading: Reading, request: Request, key: bytes, ticket: Ticket | None, now_ms: int) -> Place:
    parent = _author(book, request, key, now_ms)
    depth = 0 if parent is None else parent.depth + 1
    if ticket is not None and (parent is None or ticket.depth + 1 >= depth):
        return Place(ticket.root, 0, ticket.depth + 1, is_agent=True, is_fast=False, new_chars=reading.turn_chars)
    if parent is not None:
        return Place(parent.root, 0, depth, is_agent=True, is_fast=False, new_chars=reading.turn_chars)
    root = mixed(ROOT, reading.whole, now_ms)
    return Place(root, 0, 0, is_agent=False, is_fast=False, new_chars=reading.turn_chars)


def _author(book: Book, request: Request, key: bytes, now_ms: int) -> Node | None:
    """The deepest node whose answer, given moments ago, stands in what this conversation opens with."""
    if not len(book.pieces):
        return None
    counts: dict[int, int] = {}
    for piece in prompt_pieces(request, key, book.templates):
        name = book.pieces.get(piece)
        if name:
            counts[name] = counts.get(name, 0) + (PIECES_MIN if is_strong(piece) else 1)
    nodes = [book.nodes.peek(name) for name, count in counts.items() if count >= PIECES_MIN]
    fresh = [node for node in nodes if node is not None and _is_near(book, node, now_ms)]
    return max(fresh, key=lambda node: node.depth, default=None)


def _is_near(book: Book, node: Node, now_ms: int) -> bool:
    """Whether what looks like kin is kin: it came at once, or its lineage is on the ladder and only waits."""
    case = book.cases.peek(scope_id_of("lineage", node.root))
    is_held = case is not None and (case.is_stopped or case.strikes > 0)
    return is_held or _is_fast(node, now_ms)


def _is_fast(node: Node, now_ms: int) -> bool:
    done = node.done_ms >= node.asked_ms and now_ms - node.done_ms <= FAST_DONE_MS
    return (node.done_ms > 0 and done) or now_ms - node.asked_ms <= FAST_ASKED_MS
