from __future__ import annotations

import random
import string
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.leak_agents import FRIDAY_MS, STAMPS
from benchmarks.leak_loops import INDIC
from router.guards.volatile import Stamp, bare, ids_moved, ids_stamp, moved_as_clock, normalised, western


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


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("现在是2026年11月6日 18时05分09秒。", "现在是2026年11月6日 18时05分39秒。"),
        ("現在は午後6時5分です", "現在は午後6時6分です"),
        ("지금은 2026년 11월 6일 오후 6시 05분", "지금은 2026년 11월 6일 오후 6시 06분"),
        (f"الآن {'2026-11-06 18:05:09'.translate(INDIC)}", f"الآن {'2026-11-06 18:05:39'.translate(INDIC)}"),
        ("Es ist 18.05 Uhr", "Es ist 18.06 Uhr"),
        ("Il est 18h05", "Il est 18h06"),
        ("At 6:05:09\u202fPM", "At 6:05:39\u202fPM"),
        ("20261106 180509 run", "20261106 180539 run"),
    ],
)
def test_a_clock_in_other_scripts_is_seen_through(one: str, two: str) -> None:
    elapsed_s = 30 if "39" in western(two) else 60
    assert again(western(one), western(two), elapsed_s)
    assert not again(western(one), western(two), 7_200)


def test_what_a_tool_is_asked_about_is_no_clock() -> None:
    now_s = datetime(2026, 11, 6, 18, 5, tzinfo=UTC).timestamp()
    for told in ('{"day":"2026-03-01"}', '{"from":"2026-03-01T05:00:00Z"}', "on Mar 1 05:00"):
        assert normalised(told, now_s) == (told, ())
        assert normalised(told)[0] != told
    assert normalised("at 2026-11-06T18:04:59Z", now_s)[0] == normalised("at 2026-11-06T18:05:09Z", now_s)[0]
    assert normalised("at Nov  6 18:04:59", now_s)[0] == normalised("at Nov  6 18:05:09", now_s)[0]


def test_of_many_numbers_the_outermost_alone_are_out() -> None:
    assert bare("1 2 3 4 5 6") == bare("9 8 3 4 7 0")
    assert bare("1 2 3 4 5 6") != bare("1 2 9 4 5 6")
    assert bare("1 2 3 4") == bare("5 6 7 8")
    assert bare("no number") == "no number"
    assert bare("1 \x02 3 4 5 6") == bare("7 \x02 8 9 0 7")


def test_ids_move_at_will_and_times_do_not() -> None:
    one, two = (Stamp(60.0, 1.0, has_date=False), ids_stamp(5 << 20)), (Stamp(90.0, 1.0, has_date=False), ids_stamp(1))
    assert moved_as_clock(one, two, 30)
    assert not moved_as_clock(one, two, 600)
    assert ids_moved(one, two)
    assert not ids_moved(one, one)
    assert not ids_moved(one, one[:1])
