from __future__ import annotations

import pytest

from router.guards.book import Book
from router.guards.events import Asked, Done, Ruled
from router.guards.state import Case, Node, Root, scope_id_of
from router.guards.tables import NEWEST_MAX
from router.policy import Guards

NOW_MS = 1_800_000_000_000
MANY = 3 * NEWEST_MAX


def asked(whole: int, *, parent: int = 0, cost: int = 1_000) -> Asked:
    return Asked(
        time_ms=NOW_MS + whole, owner=1, team=2, session=0, root=5, parent=parent, depth=0, is_agent=False,
        is_fast=True, is_over=False, is_retry=False, expected_nanousd=cost, whole=whole, pattern=10_000 + whole,
        bare=0, turn=77, call=78, kind="tool" if parent else "user", near=0, head=0, turn_chars=10, said_chars=0,
        is_error=True, stamps=(), outline=79,
    )  # fmt: skip


def done(node: int, said: int, *, root: int = 5, cost: int = 1_000) -> Done:
    return Done(
        time_ms=NOW_MS, owner=1, team=2, session=0, root=root, node=node, pattern=node, bare=0, is_over=False,
        expected_nanousd=cost, cost_nanousd=cost, is_answered=True, said=said, said_chars=50, pieces=(said * 2 + 1,),
    )  # fmt: skip


def test_what_a_conversation_counted_is_known_after_it_was_packed() -> None:
    book, bounds = Book(), Guards()
    book.fold(asked(1), bounds)
    for turn in range(2, 6):
        book.fold(asked(turn, parent=turn - 1), bounds)
    for number in range(MANY):
        book.nodes.put(1_000 + number, Node(6, 0))
        book.patterns.put(50_000 + number, book.pattern(50_000 + number))
    node = book.next_node(asked(6, parent=5))
    assert (node.calls, node.recurred, node.outlined) == (6, 4, 4)
    assert (node.seen_streak, node.error_streak, node.spent_nanousd) == (4, 5, 5_000)
    book.fold(asked(6, parent=1), bounds)
    assert book.pattern(10_001).went_on == 2


@pytest.mark.parametrize("what", ["release", "close"])
def test_a_lineage_is_forgiven_in_what_was_packed_too(what: str) -> None:
    book, root = Book(), 2**63 + 5
    book.roots.put(root, Root(agents=300, depth=9))
    book.nodes.put(1, Node(root, 3, seen_streak=9, over_nanousd=10**9))
    book.nodes.put(2, Node(7, 3, seen_streak=9))
    for number in range(MANY):
        book.nodes.put(1_000 + number, Node(8, 0))
        book.roots.put(1_000 + number, Root())
    book.nodes.put(3, Node(root, 4, error_streak=13))
    scope_id = scope_id_of("lineage", root)
    book.cases.put(scope_id, Case("fan_out", "grd_1", "lineage", 1, NOW_MS, is_stopped=True))
    book.fold(Ruled(NOW_MS, what, scope_id, "lineage", "fan_out", "grd_1", 0, 0, None, None, None), Guards())
    assert book.nodes.peek(1) == book.nodes.peek(3) == Node(root, 0)
    assert book.nodes.peek(2) == Node(7, 3, seen_streak=9)
    assert book.roots.peek(root) == Root(agents=1, depth=0)


def test_whose_words_these_are_is_known_as_long_as_that_conversation_is_dear() -> None:
    book, bounds = Book(), Guards()
    book.nodes.size = book.answers.size = book.pieces.size = 2_000
    book.nodes.put(1, Node(5, 0, spent_nanousd=10**9))
    book.fold(done(1, 500_000), bounds)
    for number in range(2, 12_000):
        book.nodes.put(number, Node(number, 0))
        book.fold(done(number, 500_000 + number, root=number), bounds)
    assert book.answers.peek(500_000) == book.pieces.peek(1_000_001) == 1
    assert book.answers.peek(500_002) is None
    assert book.pieces.peek(1_000_005) is None


def test_what_two_lineages_say_leads_nowhere_and_what_one_says_twice_to_the_newer_node() -> None:
    book, bounds = Book(), Guards()
    for node, root in ((1, 5), (2, 5), (3, 6)):
        book.nodes.put(node, Node(root, 0))
    book.fold(done(1, 40), bounds)
    book.fold(done(2, 40), bounds)
    assert book.pieces.peek(81) == 2
    book.fold(done(3, 40, root=6), bounds)
    assert book.pieces.peek(81) == 0
    book.fold(done(1, 40), bounds)
    assert book.pieces.peek(81) == 0
