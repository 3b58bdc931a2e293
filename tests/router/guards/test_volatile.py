from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.leak_agents import FRIDAY_MS, STAMPS
from router.guards.volatile import bare, moved_as_clock, normalised


def again(one: str, two: str, elapsed_s: float) -> bool:
    first, stamps = normalised(one)
    second, later = normalised(two)
    return first == second and moved_as_clock(stamps, later, elapsed_s)


@pytest.mark.parametrize("stamp", sorted(set(STAMPS) - {"none"}))
@given(
    st.integers(FRIDAY_MS - 10**11, FRIDAY_MS + 10**11), st.integers(1, 7_200_000), st.sampled_from(["", "x ", "é: "])
)
def test_a_clock_in_any_format_is_seen_through(stamp: str, at_ms: int, later_ms: int, lead: str) -> None:
    form = STAMPS[stamp]
    one = f"Check the queue. {lead}Now it is {form(at_ms)}. Report."
    two = f"Check the queue. {lead}Now it is {form(at_ms + later_ms)}. Report."
    assert again(one, two, later_ms / 1000)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("What day was 2011-03-04?", "What day was 1987-12-24?"),
        ("Summarise the sales of 2026-01-01", "Summarise the sales of 2026-01-02"),
        ("Sort ticket 10001", "Sort ticket 10002"),
        ("x=17, y=401", "x=18, y=99"),
        ("Is 1009 prime?", "Is 1013 prime?"),
        ("The meeting of 09:30", "The meeting of 17:45"),
        ("Price 1700000001", "Price 1912345678"),
    ],
)
def test_numbers_that_are_work_are_no_clock(one: str, two: str) -> None:
    assert not again(one, two, 1.5)


def test_counters_are_seen_through_and_other_numbers_are_not() -> None:
    assert again("Attempt 3 of 9: go on", "attempt 4 of 9: go on".replace("attempt", "Attempt"), 1)
    assert again("iteration #17 says", "iteration #18 says", 1)
    assert not again("invoice #17 says", "invoice #18 says", 1)


def test_a_log_with_old_times_and_one_that_moves_is_the_same_log() -> None:
    log = "2026-11-01 10:00:00 start\n2026-11-01 10:00:09 stop\nnow "
    assert again(log + "2026-11-06 18:00:00", log + "2026-11-06 18:00:30", 30)
    assert not again(log + "2026-11-06 18:00:00", log.replace(":09", ":10") + "2026-11-06 18:09:30", 30)


def test_midnight_and_noon_are_no_jump() -> None:
    assert again("at 23:59:58 go", "at 00:00:03 go", 5)
    assert again("at 11:59:58 AM go", "at 12:00:03 PM go", 5)


def test_a_long_text_is_seen_through_at_both_ends_and_between() -> None:
    body = "".join(random.Random(1).choices(string.ascii_lowercase + " ", k=80_000))
    one, two = (f"{body[:40_000]} [2026-11-06T18:00:0{second}Z] {body[40_000:]}" for second in (1, 2))
    assert again(one, two, 1)
    assert not again(body, body.upper(), 1)


def test_ids_are_out_of_what_is_bare() -> None:
    assert bare("order 9f8e7d6c-12aa is late") == bare("order 0a1b2c3d-99ff is late")
    assert bare("order one is late") != bare("order two is late")


@given(st.text(max_size=400))
def test_any_text_is_read(text: str) -> None:
    plain, stamps = normalised(text)
    assert len(stamps) <= 8
    assert moved_as_clock(stamps, stamps, 0)
    assert isinstance(plain + bare(text), str)
