from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.guards.state import (
    NODE_PACKING,
    PATTERN_PACKING,
    RING_MAX,
    ROOT_PACKING,
    Fading,
    Leaking,
    Node,
    Pattern,
    Root,
    columns_of,
)
from router.guards.volatile import Stamp

digests = st.integers(0, 2**64 - 1)
times = st.integers(-(2**62), 2**62)
counts = st.sampled_from((0, 1, 31, 255)) | st.integers(0, 2**32 - 1)
few = st.integers(0, 255)
amounts = st.floats(0, 1e18)
# Past every width too: what has no room in its field is kept all the same.
money = st.integers(-(2**63), 2**63 - 1) | st.integers(-(2**70), 2**70)
nodes = st.builds(
    Node, digests, counts, counts, times, times, counts, counts, digests, digests, digests, digests,
    st.lists(st.binary(min_size=32, max_size=64), max_size=3).map(tuple), counts, counts, counts, counts, counts,
    counts, few, few, few, money, money, digests,
)  # fmt: skip
fadings = st.tuples(amounts, times)
roots = st.builds(
    lambda agents, depth, spent, hour, bucket: Root(
        agents, depth, spent, Fading(Root().hour.span_ms, *hour), Leaking(*bucket)
    ),
    counts, counts, money, fadings, fadings,
)  # fmt: skip
stamps = st.lists(st.builds(Stamp, st.floats(0, 1e10), st.floats(0, 86_400), st.booleans()), max_size=8).map(tuple)
patterns = st.builds(
    lambda lately, over, day, *more: Pattern(
        Leaking(*lately), Fading(Pattern().over.span_ms, *over), Fading(Pattern().day.span_ms, *day), *more
    ),
    fadings, fadings, fadings, money, stamps, times, digests, counts, counts, counts, counts,
)  # fmt: skip


@given(nodes)
def test_a_node_that_is_packed_is_itself_again(node: Node) -> None:
    packed = NODE_PACKING.pack(node)
    assert (packed if isinstance(packed, Node) else NODE_PACKING.unpack(packed)) == node


@given(roots)
def test_a_root_that_is_packed_is_itself_again(root: Root) -> None:
    packed = ROOT_PACKING.pack(root)
    assert (packed if isinstance(packed, Root) else ROOT_PACKING.unpack(packed)) == root


@given(patterns)
def test_a_pattern_that_is_packed_is_itself_again(pattern: Pattern) -> None:
    packed = PATTERN_PACKING.pack(pattern)
    assert (packed if isinstance(packed, Pattern) else PATTERN_PACKING.unpack(packed)) == pattern


@pytest.mark.parametrize("name", [each.name for each in fields(Node)])
def test_no_field_of_a_node_is_left_out(name: str) -> None:
    node = Node(0, 0)
    setattr(node, name, (b"x" * 32,) if name == "before" else 7)
    packed = NODE_PACKING.pack(node)
    assert not isinstance(packed, Node)
    assert NODE_PACKING.unpack(packed) == node


@pytest.mark.parametrize(
    "place", ["agents", "depth", "spent_nanousd", "hour.amount", "hour.at_ms", "bucket.level", "bucket.at_ms"]
)
def test_no_field_of_a_root_is_left_out(place: str) -> None:
    root = Root()
    outer, _, name = place.rpartition(".")
    setattr(getattr(root, outer) if outer else root, name, 7)
    packed = ROOT_PACKING.pack(root)
    assert not isinstance(packed, Root)
    assert ROOT_PACKING.unpack(packed) == root


def test_a_root_holds_nothing_else() -> None:
    assert [each.name for each in fields(Root)] == ["agents", "depth", "spent_nanousd", "hour", "bucket"]


@pytest.mark.parametrize("name", [each.name for each in fields(Pattern) if each.name not in ("lately", "over", "day")])
def test_no_field_of_a_pattern_is_left_out(name: str) -> None:
    pattern = Pattern()
    setattr(pattern, name, (Stamp(1.5, 60.0, has_date=True),) if name == "stamps" else 7)
    packed = PATTERN_PACKING.pack(pattern)
    assert not isinstance(packed, Pattern)
    assert PATTERN_PACKING.unpack(packed) == pattern


def test_an_ordinary_record_takes_less_than_a_hundred_bytes() -> None:
    node = Node(2**63, 0, 1, 1_800_000_000_000, 1_800_000_000_500, 800, 1_200, opening=2**62, spent_nanousd=3 * 10**6)
    root = Root(spent_nanousd=3 * 10**6, hour=Fading(Root().hour.span_ms, 3e6, 1_800_000_000_000))
    pattern = Pattern(Leaking(1.0, 1_800_000_000_000), spent_nanousd=3 * 10**6, asked_ms=1_800_000_000_000, asked=1)
    for packed in (NODE_PACKING.pack(node), ROOT_PACKING.pack(root), PATTERN_PACKING.pack(pattern)):
        assert isinstance(packed, bytes)
        assert len(packed) <= 60


@given(st.lists(st.tuples(st.integers(1, 2**64 - 1), digests, digests, digests), max_size=80))
def test_a_conversation_knows_its_newest_turns_in_their_order(turns: list[tuple[int, int, int, int]]) -> None:
    node = Node(1, 0)
    for each in turns:
        turn, near, call, outline = each
        node = Node(1, 0, turn=turn, near=near, call=call, outline=outline, before=node.turns())
        packed = NODE_PACKING.pack(node)
        assert not isinstance(packed, Node)
        node = NODE_PACKING.unpack(packed)
    assert list(zip(*columns_of(node.turns()), strict=True)) == turns[-RING_MAX:]


def test_the_nodes_of_one_conversation_share_the_turns_of_long_ago() -> None:
    node = Node(1, 0)
    for turn in range(1, 20):
        node = Node(1, 0, turn=turn, before=node.turns())
    after = Node(1, 0, turn=20, before=node.turns())
    assert after.before[0] is node.before[0]
    assert after.before[1] is node.before[1]


@given(st.lists(st.tuples(st.floats(0, 1e9), st.integers(0, 10**7)), max_size=30))
def test_fading_never_falls_below_nothing_and_a_clock_that_steps_back_adds_nothing(
    steps: list[tuple[float, int]],
) -> None:
    fading, total = Fading(3_600_000), 0.0
    for amount, at_ms in steps:
        fading.add(amount, at_ms)
        total += amount
        assert 0 <= fading.now(at_ms) <= total + 1e-3
    assert fading.now(0) == fading.amount


def test_a_bucket_runs_empty_at_its_rate() -> None:
    bucket = Leaking()
    assert bucket.add(5, 0, 0.001) == 5
    assert bucket.now(2_000, 0.001) == 3
    assert bucket.now(10_000, 0.001) == 0
    assert bucket.now(-5, 0.001) == 5
