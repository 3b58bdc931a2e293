from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.clock import SystemClock, iso_of, parse_time_ms


def test_the_machines_clock_is_in_utc_milliseconds_and_never_goes_back() -> None:
    clock = SystemClock()
    before = time.time_ns() // 1_000_000
    now = clock.now_ms()
    assert before <= now <= time.time_ns() // 1_000_000
    assert clock.monotonic_s() <= clock.monotonic_s()


@given(st.integers(0, 4_102_444_800_000))
def test_any_time_survives_its_text(time_ms: int) -> None:
    assert parse_time_ms(iso_of(time_ms)) == time_ms


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00.0015", 2),
        ("2026-11-01T00:00:00.000Z", 1_793_491_200_000),
    ],
)
def test_text_is_read_as_utc_unless_it_says_otherwise(text: str, time_ms: int) -> None:
    assert parse_time_ms(text) == time_ms


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "7d"])
def test_text_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time_ms(text)
