"""The tables' contract, against the simplest table that keeps it: a dictionary in order of use."""

from __future__ import annotations

from operator import attrgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from router.guards import tables
from router.guards.state import ROOT_PACKING, Root
from router.guards.tables import NEWEST_MAX, Bounded

SPENT = attrgetter("spent_nanousd")


def roots(size: int, *, is_packed: bool = True) -> Bounded[int, Root]:
    return Bounded(size, SPENT, ROOT_PACKING if is_packed else None)


@pytest.mark.parametrize("is_packed", [True, False])
def test_a_flood_of_new_scopes_does_not_push_out_what_burns_money(*, is_packed: bool) -> None:
    table = roots(4_000, is_packed=is_packed)
    for key in range(200):
        table.put(key, Root(spent_nanousd=10**9))
    for key in range(200, 50_000):
        table.put(key, Root(spent_nanousd=key % 7))
        assert len(table) <= 4_000
    assert all(table.peek(key) == Root(spent_nanousd=10**9) for key in range(200))
    assert len(table) > 3_400


def test_what_is_spent_after_a_record_was_packed_keeps_it_too() -> None:
    table = roots(2_000)
    for key in range(1_000):
        table.put(key, Root())
    burning = table.get(0)
    assert burning is not None
    burning.spent_nanousd = 10**9
    for key in range(1_000, 20_000):
        table.put(key, Root(spent_nanousd=1))
    assert table.spent_of(0) == 10**9
    assert table.spent_of(1) == 0
    assert table.peek(1) is None


def test_among_equals_the_longest_unused_goes() -> None:
    table: Bounded[int, int] = Bounded(3, lambda _: 0)
    for key in (1, 2, 3):
        table.put(key, key)
    table.get(1)
    table.put(4, 4)
    assert [key for key, _ in table.items()] == [3, 1, 4]


def test_what_is_asked_for_again_and_again_stays() -> None:
    table = roots(2_000)
    for key in range(30_000):
        table.put(key, Root(agents=key))
        assert table.get(0) is not None
    assert table.peek(1) is None


def test_a_record_may_be_changed_while_others_are_got() -> None:
    table = roots(4_000)
    for key in range(3_000):
        table.put(key, Root())
    root = table.get(0)
    assert root is not None
    for key in range(1, NEWEST_MAX):
        table.get(key)
    root.agents = 9
    for key in range(1_000, 2_000):
        table.get(key)
    assert table.peek(0) == Root(agents=9)


def test_to_peek_uses_nothing_and_gives_a_copy_of_what_is_packed() -> None:
    table = roots(3)
    for key in (1, 2, 3):
        table.put(key, Root())
    peeked = table.peek(1)
    assert peeked is not None
    peeked.agents = 5
    assert table.peek(1) == Root()
    table.put(4, Root())
    assert table.peek(1) is None


def test_a_number_without_room_in_its_field_is_kept_all_the_same() -> None:
    table = roots(1_000)
    table.put(1, Root(agents=2**40, spent_nanousd=2**80))
    for key in range(2, 5_000):
        table.put(key, Root())
    assert table.peek(1) == Root(agents=2**40, spent_nanousd=2**80)
    assert table.spent_of(1) == 2**80


def test_records_are_found_by_a_number_among_new_and_packed_ones() -> None:
    table: Bounded[int, Root] = Bounded(
        4_000,
        SPENT,
        tables.Packing(Root, always={"agents": "Q", "hour.at_ms": "q"}, seldom={"depth": "I", "hour.amount": "d"}),
    )
    for key in range(2_000):
        table.put(key, Root(agents=key % 100, depth=key))
    found = table.having("agents", 7)
    assert sorted(key for key, _ in found) == list(range(7, 2_000, 100))
    assert all(root.depth == key for key, root in found)
    assert table.having("agents", 100) == []
    assert table.having("agents", 7 + 2**64) == []


class Tables(RuleBasedStateMachine):
    """A small table beside a dictionary: equal while there is room, and never past its bound."""

    keys = st.integers(0, 40)

    def __init__(self) -> None:
        super().__init__()
        self.table = roots(24)
        self.model: dict[int, Root] = {}

    @rule(key=keys, spent=st.integers(0, 10**12), depth=st.integers(0, 3))
    def put(self, key: int, spent: int, depth: int) -> None:
        before = {name: root.spent_nanousd for name, root in self.model.items()}
        self.model.pop(key, None)
        self.model[key] = Root(spent_nanousd=spent, depth=depth)
        self.table.put(key, Root(spent_nanousd=spent, depth=depth))
        left = {name for name, _ in self.table.items()}
        for name in [name for name in self.model if name not in left]:
            oldest = [each for each in self.model if each != key][:3]
            assert name in oldest
            assert before[name] <= max(before[each] for each in oldest)
            assert any(each in left for each in oldest)
            assert all(before[each] >= before[name] for each in oldest if each in left)
        self.model = {name: root for name, root in self.model.items() if name in left}

    @rule(key=keys, more=st.integers(1, 10**9))
    def spend(self, key: int, more: int) -> None:
        root = self.table.get(key)
        assert (root is None) == (key not in self.model)
        if root is not None:
            root.spent_nanousd += more
            root.hour.add(more, more)
            known = self.model.pop(key)
            known.spent_nanousd += more
            known.hour.add(more, more)
            self.model[key] = known

    @rule(key=keys)
    def drop(self, key: int) -> None:
        self.table.drop(key)
        self.model.pop(key, None)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def peek(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model)))
        assert self.table.peek(key) == self.model[key]
        assert self.table.spent_of(key) == self.model[key].spent_nanousd

    @invariant()
    def is_equal_and_bounded(self) -> None:
        assert len(self.table) == len(self.model) <= 24
        assert list(self.table.items()) == list(self.model.items())


TestTables = Tables.TestCase


@settings(max_examples=30)
@given(st.lists(st.integers(0, 400), max_size=600), st.integers(1, 40))
def test_numbers_are_kept_like_records(keys: list[int], size: int) -> None:
    table: Bounded[int, int] = Bounded(size, lambda number: number)
    for key in keys:
        table.put(key, key * 2)
        assert len(table) <= size
        assert table.get(key) == key * 2
