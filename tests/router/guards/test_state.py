from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.guards.state import Bounded, Fading, Leaking, Link, Pattern


def test_a_flood_of_new_scopes_does_not_push_out_what_burns_money() -> None:
    table: Bounded[int, Pattern] = Bounded(100)
    table.put(0, Pattern(spent_nanousd=10**9))
    for key in range(1, 10_000):
        table.put(key, Pattern(spent_nanousd=key % 7))
    assert len(table) == 100
    assert table.peek(0) is not None


def test_among_equals_the_longest_unused_goes() -> None:
    table: Bounded[int, Link] = Bounded(3)
    for key in (1, 2, 3):
        table.put(key, Link(key))
    table.get(1)
    table.put(4, Link(4))
    assert [key for key, _ in table.items()] == [3, 1, 4]


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
