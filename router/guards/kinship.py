"""Whose call is it? The conversation that a request goes on with, and the lineage that it descends from.

Content counts before what a client says: a request that goes on with a conversation belongs to it, whatever its headers
name. A ticket places what nothing in the content places; and where both do, the deeper place holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.guards.fingerprints import is_strong, mixed, pieces
from router.guards.reading import prompt_pieces, said_digest
from router.guards.state import scope_id_of
from router.money import NANO_PER_USD
from router.prompt import text_of

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
# A shorter answer has no piece that could be found again in what grew.
PROVEN_CHARS_MIN = 40
# Of a prompt that holds an answer so much else is new, or more: a further chapter goes into the summary so far.
STEP_SHARE = 0.3
STEP = 0x53544550
# A completion at the cursor: short beside the text, and cheap.
EDIT_SHARE = 0.1
EDIT_NANOUSD = NANO_PER_USD // 100
# A turn that another agent of the lineage wrote is its words but for what they are wrapped in.
ECHO_SHARE = 0.8
# A first question that so many ask, such a share of whom go on in words of their own, is a button; no loop does.
BUTTON_ASKED_MIN = 20
GREETING_CHARS_MAX = 64
# So long an answer is given to one alone.
OWN_CHARS_MIN = 200
BUTTON_SHARE = 0.15


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


def place_of(
    book: Book, reading: Reading, request: Request, key: bytes, ticket: Ticket | None, now_ms: int, cost_nanousd: int
) -> Place:
    """The request's place in what is known; ``cost_nanousd`` is what it may cost."""
    found = _continued(book, reading)
    if found is not None:
        return _further(book, reading, request, key, now_ms, found)
    grown = _grown(book, reading, request, key, now_ms)
    if grown is not None:
        name, node, new_chars = grown
        if ticket is not None:
            depth = max(ticket.depth + 1, node.depth)
            return Place(ticket.root, name, depth, is_agent=True, is_fast=True, new_chars=new_chars)
        return Place(node.root, name, node.depth, is_agent=False, is_fast=True, new_chars=new_chars)
    again = book.nodes.peek(reading.whole)
    if again is not None and not _is_common(book, again, asked=1):
        return Place(again.root, 0, again.depth, is_agent=False, is_fast=False, new_chars=reading.turn_chars)
    return _begun(book, reading, request, key, ticket, now_ms, cost_nanousd)


def _continued(book: Book, reading: Reading) -> tuple[int, Node] | None:
    """The request before: the longest beginning that is known, or where an answer in it was given."""
    for prefix in reversed(reading.prefixes[:-1]):
        node = book.nodes.get(prefix)
        if node is not None:
            # Whoever keeps the first turn and drops some of those after it goes on from the last answer all the same.
            later = _last_said(book, reading)
            return later if later is not None and _is_later(book, later[1], node) else (prefix, node)
    return _last_said(book, reading)


def _is_later(book: Book, later: Node, node: Node) -> bool:
    if later.calls <= node.calls:
        return False
    return later.root == node.root or (_is_common(book, node) and later.said_chars >= OWN_CHARS_MIN)


def _last_said(book: Book, reading: Reading) -> tuple[int, Node] | None:
    for said in reversed(reading.said):
        name = book.answers.get(said) if said else None
        node = book.nodes.get(name) if name else None
        if name and node is not None:
            return name, node
    return None


def _further(book: Book, reading: Reading, request: Request, key: bytes, now_ms: int, found: tuple[int, Node]) -> Place:
    """A conversation goes on. What others of its lineage wrote brings it nothing new, at whatever pace they write."""
    name, node = found
    root, is_fast, new_chars = node.root, _is_near(book, node, now_ms), reading.turn_chars
    if _is_common(book, node):
        root = mixed(ROOT, reading.whole)
    elif reading.kind == "user" and has_kin(book, root):
        author = _echoed(book, request, key, root)
        if author is not None:
            is_fast, new_chars = is_fast or _is_near(book, author, now_ms), 0
    return Place(root, name, node.depth, is_agent=False, is_fast=is_fast, new_chars=new_chars)


def _is_common(book: Book, node: Node, asked: int = 0) -> bool:
    """Whether a conversation begins as others of other people do: with a greeting, or with a button's words.

    ``asked`` is how often it was besides what is known.
    """
    if node.calls != 1 or not node.opening:
        return False
    pattern = book.patterns.peek(node.opening)
    is_button = pattern is not None and pattern.asked >= BUTTON_ASKED_MIN and has_replies(book, node.opening)
    is_again = pattern is not None and pattern.asked + asked > 1
    return is_button or (is_again and node.context_chars <= GREETING_CHARS_MAX)


def has_replies(book: Book, opening: int) -> bool:
    """Whether people go on from a first question."""
    pattern = book.patterns.peek(opening)
    return pattern is not None and pattern.replied >= BUTTON_SHARE * pattern.asked


def has_kin(book: Book, root: int) -> bool:
    """Whether more than one conversation belongs to the lineage."""
    known = book.roots.peek(root)
    return (known is not None and known.agents > 1) or book.heads.peek(mixed(STEP, root)) is not None


def _echoed(book: Book, request: Request, key: bytes, root: int) -> Node | None:
    """Whose answer the newest turn is, where somebody of the same lineage gave it."""
    parts = request.messages[-1].parts
    whole = book.answers.peek(said_digest(key, parts))
    node = book.nodes.peek(whole) if whole else None
    if node is not None and node.root == root:
        return node
    found = pieces(key, [text_of(parts)])
    authors = [book.nodes.peek(name) for each in found if (name := book.pieces.peek(each))]
    kin = [each for each in authors if each is not None and each.root == root]
    return max(kin, key=lambda each: each.done_ms) if kin and len(kin) >= ECHO_SHARE * len(found) else None


def _grown(book: Book, reading: Reading, request: Request, key: bytes, now_ms: int) -> tuple[int, Node, int] | None:
    """The request before, where this one holds its one long turn with more behind it, the last answer among it.

    An editor that asks for a completion at every key sends the same text with a little more, too, and not the answer.
    """
    name = book.heads.get(reading.head) if reading.head else None
    node = book.nodes.get(name) if name else None
    if not name or node is None or name == reading.whole or not _is_near(book, node, now_ms):
        return None
    more = reading.turn_chars - node.context_chars
    if not 0 < more <= max(GROWTH_SHARE * node.context_chars, GROWTH_CHARS) or not 0 < node.said_chars <= more:
        return None
    if node.said_chars >= PROVEN_CHARS_MIN:
        known = (book.pieces.peek(each) for each in prompt_pieces(request, key, book.templates, reading.system_name))
        if name not in known:
            return None
    return name, node, more - node.said_chars


def _begun(
    book: Book, reading: Reading, request: Request, key: bytes, ticket: Ticket | None, now_ms: int, cost_nanousd: int
) -> Place:
    author, is_step = _author(book, reading, request, key, now_ms)
    name, parent = author or (0, None)
    is_edit = parent is not None and cost_nanousd <= EDIT_NANOUSD and _is_edited(book, reading, parent)
    depth = 0 if parent is None else parent.depth + (not is_step and not is_edit)
    if ticket is not None and (parent is None or ticket.depth + 1 >= depth):
        return Place(ticket.root, 0, ticket.depth + 1, is_agent=True, is_fast=False, new_chars=reading.turn_chars)
    if parent is None:
        root = mixed(ROOT, reading.whole, now_ms)
        return Place(root, 0, 0, is_agent=False, is_fast=False, new_chars=reading.turn_chars)
    # The first that goes on from an answer with much else is its next step; further ones are agents beside it.
    is_first = is_step and book.heads.peek(mixed(STEP, name)) is None
    if is_step:
        book.heads.put(mixed(STEP, name), name)
        book.heads.put(mixed(STEP, parent.root), name)
    is_agent = not is_first and not is_edit
    return Place(parent.root, 0, depth, is_agent=is_agent, is_fast=False, new_chars=reading.turn_chars)


def _is_edited(book: Book, reading: Reading, author: Node) -> bool:
    """Whether this is the text that was sent just before with a short answer worked in, as an editor sends it."""
    name = book.heads.peek(reading.head) if reading.head else None
    node = book.nodes.peek(name) if name else None
    return node is not None and node.root == author.root and author.said_chars <= EDIT_SHARE * reading.turn_chars


def _author(
    book: Book, reading: Reading, request: Request, key: bytes, now_ms: int
) -> tuple[tuple[int, Node] | None, bool]:
    """The deepest node whose answer, given moments ago, stands in what this conversation opens with.

    And whether so much else stands there that this is a step of work on further input. What was in such a prompt once
    is new no more: a template is not taken for input twice.
    """
    if not len(book.pieces):
        return None, False
    counts: dict[int, int] = {}
    found = list(prompt_pieces(request, key, book.templates, reading.system_name))
    new = []
    for piece in found:
        name = book.pieces.get(piece)
        if name is None:
            new.append(piece)
        elif name:
            counts[name] = counts.get(name, 0) + (PIECES_MIN if is_strong(piece) else 1)
    nodes = [(name, book.nodes.peek(name)) for name, count in counts.items() if count >= PIECES_MIN]
    fresh = [(name, node) for name, node in nodes if node is not None and _is_near(book, node, now_ms)]
    if not fresh:
        return None, False
    for piece in new:
        book.pieces.put(piece, 0)
    return max(fresh, key=lambda each: each[1].depth), len(new) >= STEP_SHARE * len(found)


def _is_near(book: Book, node: Node, now_ms: int) -> bool:
    """Whether what looks like kin is kin: it came at once, or its lineage is on the ladder and only waits."""
    case = book.cases.peek(scope_id_of("lineage", node.root))
    is_held = case is not None and (case.is_stopped or case.strikes > 0)
    return is_held or _is_fast(node, now_ms)


def _is_fast(node: Node, now_ms: int) -> bool:
    done = node.done_ms >= node.asked_ms and now_ms - node.done_ms <= FAST_DONE_MS
    return (node.done_ms > 0 and done) or now_ms - node.asked_ms <= FAST_ASKED_MS
