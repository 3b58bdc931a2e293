"""When a budget's window begins and ends: hours, days, ISO weeks and months of a time zone, across its clock changes.

The windows of one kind tile time: each instant lies in exactly one, whatever the zone does. A day begins at the first
instant of its date, so that it has 23 or 25 hours where the clock changes, and at one o'clock where midnight is
skipped. An hour is sixty minutes aligned to the zone's own clock; only where a zone moves its clock by half an hour is
one cut short. A date that a zone skips has no window.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from router.budgets.terms import ENDLESS_MS, Window

if TYPE_CHECKING:
    from router.budgets.terms import BudgetWindow

SECOND_MS, HOUR_MS = 1_000, 3_600_000
ENDLESS = Window(0, ENDLESS_MS)


def zone_of(name: str) -> ZoneInfo:
    """The zone with this IANA name. Raises ValueError where there is none."""
    try:
        return ZoneInfo(name)
    except (LookupError, OSError, ValueError) as error:
        raise ValueError(f"`{name}` is no time zone") from error


@lru_cache(maxsize=256)
def _around(kind: BudgetWindow, zone: str, present: Window) -> tuple[Window, ...]:
    return window_at(kind, zone, present.start_ms - 1), present, window_at(kind, zone, present.end_ms)


class Windows:
    """The windows around a moment, kept as long as it is inside the present one: a look-up and two comparisons."""

    def __init__(self) -> None:
        self._found: dict[tuple[BudgetWindow, str], tuple[Window, ...]] = {}

    def around(self, kind: BudgetWindow, zone: str, now_ms: int) -> tuple[Window, ...]:
        """The previous, the present and the next window, oldest first; a ``total`` has one, without an end."""
        found = self._found.get((kind, zone))
        if found is None or not found[len(found) // 2].start_ms <= now_ms < found[len(found) // 2].end_ms:
            found = self._found[kind, zone] = windows_around(kind, zone, now_ms)
        return found


def windows_around(kind: BudgetWindow, zone: str, time_ms: int) -> tuple[Window, ...]:
    """The previous, the present and the next window, oldest first; a ``total`` has one, without an end."""
    return (ENDLESS,) if kind == "total" else _around(kind, zone, window_at(kind, zone, time_ms))


def window_at(kind: BudgetWindow, zone: str, time_ms: int) -> Window:
    """The window that holds this moment, in milliseconds since 1970."""
    if kind == "total":
        return ENDLESS
    where = zone_of(zone)
    if kind == "hour":
        return _hour_at(where, time_ms)
    first = _first_date(kind, _local(where, time_ms).date())
    # Where a clock goes back over midnight the date does too: the window is the one whose bounds hold the moment.
    while _begin_ms(where, first) > time_ms:
        first = _first_date(kind, first - timedelta(days=1))
    while (end_ms := _begin_ms(where, _next_date(kind, first))) <= time_ms:
        first = _next_date(kind, first)
    return Window(_begin_ms(where, first), end_ms)


def _first_date(kind: BudgetWindow, day: date) -> date:
    if kind == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if kind == "month" else day


def _next_date(kind: BudgetWindow, first: date) -> date:
    if kind == "month":
        return (first + timedelta(days=31)).replace(day=1)
    return first + timedelta(days=7 if kind == "week" else 1)


def _hour_at(zone: ZoneInfo, time_ms: int) -> Window:
    offset_ms = _offset_ms(zone, time_ms)
    start_ms = (time_ms + offset_ms) // HOUR_MS * HOUR_MS - offset_ms
    end_ms = start_ms + HOUR_MS
    if (_offset_ms(zone, start_ms) - offset_ms) % HOUR_MS:
        start_ms = _change_ms(zone, start_ms, time_ms)
    if (_offset_ms(zone, end_ms - SECOND_MS) - offset_ms) % HOUR_MS:
        end_ms = _change_ms(zone, time_ms, end_ms - SECOND_MS)
    return Window(start_ms, end_ms)


def _local(zone: ZoneInfo, time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms // SECOND_MS, tz=zone)


def _offset_ms(zone: ZoneInfo, time_ms: int) -> int:
    offset = _local(zone, time_ms).utcoffset()
    assert offset is not None
    return round(offset.total_seconds()) * SECOND_MS


@lru_cache(maxsize=4_096)
def _begin_ms(zone: ZoneInfo, day: date) -> int:
    """The first instant of the date, or of what follows where the zone skips its midnight."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    begin = midnight.astimezone(UTC)
    begin_ms = round(begin.timestamp()) * SECOND_MS
    if begin.astimezone(zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return begin_ms
    # Midnight is skipped: read with the offset before the change it lies at or behind it, with the one after, before.
    other_ms = round(midnight.replace(fold=1).timestamp()) * SECOND_MS
    return _change_ms(zone, min(begin_ms, other_ms), max(begin_ms, other_ms))


def _change_ms(zone: ZoneInfo, low_ms: int, high_ms: int) -> int:
    """The instant in ``(low, high]`` at which the zone's offset changes from that at ``low``; to the second."""
    low, high = low_ms // SECOND_MS, high_ms // SECOND_MS
    before_ms = _offset_ms(zone, low_ms)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_ms(zone, middle * SECOND_MS) == before_ms:
            low = middle
        else:
            high = middle
    return high * SECOND_MS
