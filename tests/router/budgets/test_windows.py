from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.budgets import Window
from router.budgets.terms import ENDLESS_MS
from router.budgets.windows import Windows, window_at, windows_around, zone_of

if TYPE_CHECKING:
    from router.budgets import BudgetWindow

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
KINDS: tuple[BudgetWindow, ...] = ("hour", "day", "week", "month")
ZONES = sorted(name for name in available_timezones() if not name.startswith(("posix", "right")) and "/" in name)
FROM_MS, TO_MS = 0, 4_000_000_000_000  # 1970 to 2096


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def local(zone: str, time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, tz=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("kind", "zone", "at", "start", "end"),
    [
        ("hour", "UTC", "2026-11-25T05:59:59.999+00:00", "2026-11-25T05:00+00:00", "2026-11-25T06:00+00:00"),
        ("hour", "Asia/Kolkata", "2026-11-25T05:40+00:00", "2026-11-25T05:30+00:00", "2026-11-25T06:30+00:00"),
        ("hour", "Asia/Kathmandu", "2026-11-25T05:40+00:00", "2026-11-25T05:15+00:00", "2026-11-25T06:15+00:00"),
        ("day", "UTC", "2026-11-25T00:00+00:00", "2026-11-25T00:00+00:00", "2026-11-26T00:00+00:00"),
        ("day", "Asia/Kolkata", "2026-11-25T18:29+00:00", "2026-11-24T18:30+00:00", "2026-11-25T18:30+00:00"),
        # Berlin: 23 hours when summer time begins, 25 when it ends.
        ("day", "Europe/Berlin", "2026-03-29T12:00+00:00", "2026-03-28T23:00+00:00", "2026-03-29T22:00+00:00"),
        ("day", "Europe/Berlin", "2026-10-25T12:00+00:00", "2026-10-24T22:00+00:00", "2026-10-25T23:00+00:00"),
        # The hour that Berlin has twice is two windows, the one that it skips none.
        ("hour", "Europe/Berlin", "2026-10-25T00:30+00:00", "2026-10-25T00:00+00:00", "2026-10-25T01:00+00:00"),
        ("hour", "Europe/Berlin", "2026-10-25T01:30+00:00", "2026-10-25T01:00+00:00", "2026-10-25T02:00+00:00"),
        # A Monday is the first day of the week, a Sunday night the last of it.
        ("week", "Europe/Berlin", "2026-11-29T22:59+00:00", "2026-11-22T23:00+00:00", "2026-11-29T23:00+00:00"),
        ("week", "UTC", "2027-01-01T00:00+00:00", "2026-12-28T00:00+00:00", "2027-01-04T00:00+00:00"),
        ("month", "UTC", "2028-02-29T23:00+00:00", "2028-02-01T00:00+00:00", "2028-03-01T00:00+00:00"),
        ("month", "UTC", "2027-02-28T23:00+00:00", "2027-02-01T00:00+00:00", "2027-03-01T00:00+00:00"),
        ("month", "UTC", "2026-12-31T23:59+00:00", "2026-12-01T00:00+00:00", "2027-01-01T00:00+00:00"),
        ("month", "America/New_York", "2026-11-30T23:00+00:00", "2026-11-01T04:00+00:00", "2026-12-01T05:00+00:00"),
        # Santiago skips midnight: the day begins at one o'clock. Havana has it twice: at the first.
        ("day", "America/Santiago", "2026-09-06T12:00+00:00", "2026-09-06T04:00+00:00", "2026-09-07T03:00+00:00"),
        ("day", "America/Havana", "2026-11-01T12:00+00:00", "2026-11-01T04:00+00:00", "2026-11-02T05:00+00:00"),
        ("day", "America/Havana", "2026-11-01T05:30+00:00", "2026-11-01T04:00+00:00", "2026-11-02T05:00+00:00"),
        # Samoa skipped the 30th of December 2011: the 31st follows the 29th.
        ("day", "Pacific/Apia", "2011-12-30T09:00+00:00", "2011-12-29T10:00+00:00", "2011-12-30T10:00+00:00"),
        ("day", "Pacific/Apia", "2011-12-30T11:00+00:00", "2011-12-30T10:00+00:00", "2011-12-31T10:00+00:00"),
        # Lord Howe moves its clock by half an hour: one hour is cut short.
        ("hour", "Australia/Lord_Howe", "2026-10-03T15:10+00:00", "2026-10-03T14:30+00:00", "2026-10-03T15:30+00:00"),
        ("hour", "Australia/Lord_Howe", "2026-10-03T15:40+00:00", "2026-10-03T15:30+00:00", "2026-10-03T16:00+00:00"),
        # Toronto, 1987 and before 2011 in St John's: the change came a minute past midnight, back into the day before.
        ("day", "America/St_Johns", "2010-11-07T03:00+00:00", "2010-11-07T02:30+00:00", "2010-11-08T03:30+00:00"),
    ],
)
def test_the_window_of_a_moment(kind: BudgetWindow, zone: str, at: str, start: str, end: str) -> None:
    assert window_at(kind, zone, ms(at)) == Window(ms(start), ms(end))


@given(st.sampled_from(KINDS), st.sampled_from(ZONES), st.integers(FROM_MS, TO_MS))
def test_windows_tile_time_in_every_zone(kind: BudgetWindow, zone: str, time_ms: int) -> None:
    previous, present, following = windows_around(kind, zone, time_ms)
    assert present.start_ms <= time_ms < present.end_ms
    assert (previous.end_ms, following.start_ms) == (present.start_ms, present.end_ms)
    for window in (previous, present, following):
        assert window.start_ms < window.end_ms
        for inside in (window.start_ms, (window.start_ms + window.end_ms) // 2, window.end_ms - 1):
            assert window_at(kind, zone, inside) == window
    if kind == "hour":
        assert present.end_ms - present.start_ms <= HOUR_MS
        return
    # Two windows begin on different dates, and no later than the first instants of those dates.
    dates = [local(zone, window.start_ms).date() for window in (previous, present, following)]
    assert all(one < other for one, other in pairwise(dates))


@given(st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]), st.integers(10**12, 2 * 10**12))
def test_a_day_is_the_date_of_its_zone(zone: str, time_ms: int) -> None:
    window = window_at("day", zone, time_ms)
    assert {local(zone, each).date() for each in (window.start_ms, time_ms, window.end_ms - 1)} == {
        local(zone, time_ms).date()
    }
    assert local(zone, window_at("week", zone, time_ms).start_ms).isoweekday() == 1
    assert local(zone, window_at("month", zone, time_ms).start_ms).day == 1


def test_a_total_has_one_window_without_an_end() -> None:
    assert windows_around("total", "UTC", ms("2026-11-25T00:00+00:00")) == (Window(0, ENDLESS_MS),)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../../etc/passwd", "/etc/localtime", "UTC\0", "x" * 999])
def test_what_is_no_zone_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match="is no time zone"):
        zone_of(name)


def test_kept_windows_move_on_with_time_and_back() -> None:
    windows = Windows()
    noon = ms("2026-11-25T12:00+00:00")
    for at_ms in (noon, noon + 1, noon + DAY_MS, noon + 2 * DAY_MS, noon, datetime(1999, 1, 1, tzinfo=UTC).year):
        assert windows.around("day", "Europe/Berlin", at_ms) == windows_around("day", "Europe/Berlin", at_ms)
    assert windows.around("total", "UTC", noon) == windows_around("total", "UTC", noon)
