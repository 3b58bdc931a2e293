"""What moves by itself in a prompt that says the same again: clocks and counters.

A loop that writes the time into its prompt never sends the same bytes twice. Taking every number out would make a
table of figures or a list of tickets look like a loop, so a number counts as moving only if it moves like a clock:
between two requests it went on by as much time as passed between them. Whoever asks for the weekday of a thousand dates
is no clock.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from router.prompt import encode_text

if TYPE_CHECKING:
    from collections.abc import Callable

DAY_S = 86_400.0
EPOCH_DIGITS = {10: 1.0, 13: 1e3, 16: 1e6, 19: 1e9}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# Between a clock that is read and a request that arrives lie queues; both are read twice.
SLACK_S = 5.0
SLACK_SHARE = 0.5
STAMPS_MAX = 8
# A text above this is read at both ends; between them digits are left out.
READ_CHARS = 16_384
# `Wednesday, September 23, 2026 at`: no longer than this before the number that it ends in.
REACH = 32
WITHOUT_COUNT = "\\1\\2\x01"
BARED = "\x02"

# Letters are ASCII's alone, so that a number that stands between Chinese characters is a word of its own; a formatter
# may put a narrow space before `PM`.
FLAGS = re.IGNORECASE | re.ASCII
_SPACE = r"[\s\u00a0\u202f]"
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DAY_NAME = r"(?:\b(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,?\s+)"
_HALF = rf"(?:[上下]午|午[前後]|오[전후]){_SPACE}?"
# `18h05`, `18.05 Uhr`, and with the words for hour, minute and second that Chinese, Japanese and Korean have.
_OTHER_CLOCK = (
    rf"\d{{1,2}}{_SPACE}?h{_SPACE}?\d{{2}}\b|\d{{1,2}}\.\d{{2}}(?:\.\d{{2}})?{_SPACE}uhr\b"
    rf"|(?:{_HALF})?\d{{1,2}}{_SPACE}?[時时點点시]{_SPACE}?\d{{1,2}}{_SPACE}?[分분]"
    rf"(?:{_SPACE}?\d{{1,2}}(?:\.\d{{1,9}})?{_SPACE}?[秒초])?"
)
_CLOCK = rf"(?:(?:{_HALF})?\d{{1,2}}:\d{{2}}(?::\d{{2}}(?:[.,]\d{{1,9}})?)?(?:{_SPACE}?[ap]\.?m\b\.?)?|{_OTHER_CLOCK})"
_ZONE = r"(?:\s?(?:z\b|utc\b|gmt\b|[+-]\d{2}:?\d{2}\b))?"
STAMP = re.compile(
    rf"{_DAY_NAME}?(?P<iso>\b\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}})(?:(?:[t_ ]|,\s|\sat\s){_CLOCK}{_ZONE})?"
    rf"|{_DAY_NAME}?(?P<named>\b{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s+\d{{4}})?|\b\d{{1,2}}\s+{_MONTH}(?:,?\s+\d{{4}})?)"
    rf"(?:(?:,|\sat)?\s+{_CLOCK}{_ZONE})?"
    rf"|{_DAY_NAME}?(?P<slash>\b\d{{1,2}}[-/.]\d{{1,2}}[-/.]\d{{2,4}})(?:,?\s+{_CLOCK}{_ZONE})?"
    rf"|(?P<signed>\b\d{{4}}{_SPACE}?[年년]{_SPACE}?\d{{1,2}}{_SPACE}?[月월]{_SPACE}?\d{{1,2}}{_SPACE}?[日일號号])"
    rf"(?:{_SPACE}*{_CLOCK}{_ZONE})?"
    rf"|{_DAY_NAME}?(?<![0-9a-z_])(?P<clock>{_CLOCK}){_ZONE}"
    r"|\b(?P<compact>20\d{6}[t_ -]?\d{6})z?\b"
    r"|\b(?P<epoch>1\d{9}(?:\d{3}|\d{6}|\d{9})?)(?:\.\d{1,9})?\b",
    FLAGS,
)
COUNTER = re.compile(
    r"\b(iteration|iter|attempt|try|retry|step|round|turn|loop|tick|poll|heartbeat|cycle|run|seq|sequence|nonce)"
    r"(\W{0,3})\d{1,12}\b(?:\s?(?:/|of)\s?\d{1,12}\b)?",
    FLAGS,
)
CLOCK_PARTS = re.compile(
    rf"([下後후]?)(?:午|{_SPACE})*(\d{{1,2}})(?::|{_SPACE}?[h時时點点시]{_SPACE}?|\.(?=\d{{2}}(?:\.\d{{2}})?{_SPACE}uhr))"
    rf"(\d{{1,2}})(?:(?::|\.|{_SPACE}?[分분]{_SPACE}?)(\d{{1,2}}(?:[.,]\d{{1,9}})?))?(?:{_SPACE}?([ap])\.?m)?",
    FLAGS,
)
DIGITS = b"0123456789"
NUMBER = re.compile(r"[0-9]+")
ID_LIKE = re.compile(r"\b(?=\w*\d)[0-9a-zA-Z_-]{6,}\b|\d+(?:[.,:/-]\d+)*", re.ASCII)
# Of more numbers than twice this, those at the two ends alone may be a mere name of the call; the rest is what it
# tells.
OUTERMOST = 2
OTHER_DIGIT = re.compile(r"(?![0-9])\d")
# Arabic, Persian, Devanagari, Bengali, Thai, full-width.
ZEROS = (0x660, 0x6F0, 0x966, 0x9E6, 0xE50, 0xFF10)
WESTERN = {zero + digit: str(digit) for zero in ZEROS for digit in range(10)}
# What ids a text holds, among the times that it names: they may move at will.
ID_RESOLUTION_S = -1.0
# A date that names no year is read as one of 2000.
NO_YEAR = 2_000
NO_YEAR_S = tuple(datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (NO_YEAR, NO_YEAR + 1))
# In what a tool was asked or said, a day this far off is what it is about, and no clock.
FAR_S = 1.5 * DAY_S


class Stamp(NamedTuple):
    """A time that a text names: seconds, in days where ``has_date`` is False; and how finely it is told, in seconds."""

    at_s: float
    resolution_s: float
    has_date: bool


def western(text: str) -> str:
    """The text with the digits of other scripts as 0 to 9; the text itself where it has none."""
    return text if text.isascii() or not OTHER_DIGIT.search(text) else text.translate(WESTERN)


def normalised(text: str, now_s: float | None = None) -> tuple[str, tuple[Stamp, ...]]:
    """The text without its times and counters, and the times that it names, at most eight.

    With ``now_s`` only what may be a clock's time is left out: days stay, and times of days far from now.
    Linear in the text; beyond 16,384 characters only the two ends are read, and between them all digits are left out.
    """
    if len(text) > READ_CHARS:
        half = READ_CHARS // 2
        head, first = normalised(text[:half], now_s)
        tail, last = normalised(text[-half:], now_s)
        return head + _without_digits(text[half:-half]) + tail, (first + last)[:STAMPS_MAX]
    found: list[Stamp] = []

    def out(match: re.Match[str]) -> str:
        stamp = _stamp_of(match)
        if stamp is None or (now_s is not None and _is_told(stamp, now_s)):
            return match.group()
        if len(found) < STAMPS_MAX:
            found.append(stamp)
        return "\x00"

    def read(part: str) -> str:
        return COUNTER.sub(WITHOUT_COUNT, STAMP.sub(out, part))

    return _read_at_numbers(text, read), tuple(found)


def _is_told(stamp: Stamp, now_s: float) -> bool:
    """Whether a time is what a text is about: work is done day by day, and hour by hour of days that are past."""
    if not stamp.has_date:
        return False
    if stamp.resolution_s >= DAY_S:
        return True
    if NO_YEAR_S[0] <= stamp.at_s < NO_YEAR_S[1]:
        now_s += NO_YEAR_S[0] - datetime(datetime.fromtimestamp(now_s, UTC).year, 1, 1, tzinfo=UTC).timestamp()
    return abs(stamp.at_s - now_s) > FAR_S


def bare(text: str) -> str:
    """The text without numbers and whatever looks like an id; of more than four the first two and the last two go.

    So a counter or a name at either end is seen through, and a row of figures is not. The text itself where it has
    none; a long one as ``normalised`` reads it.
    """
    found: list[str] = []

    def out(match: re.Match[str]) -> str:
        found.append(match.group())
        return BARED

    without = read_ends(text, lambda part: ID_LIKE.sub(out, part))
    if len(found) <= 2 * OUTERMOST:
        return without if found else text
    between = without.split(BARED)
    if len(between) != len(found) + 1:  # it held the sign itself
        return without
    kept = [BARED] * OUTERMOST + found[OUTERMOST:-OUTERMOST] + [BARED] * OUTERMOST
    return between[0] + "".join(one + two for one, two in zip(kept, between[1:], strict=True))


def read_ends(text: str, read: Callable[[str], str]) -> str:
    """The text with what stands around its numbers read anew; a long one as ``normalised`` reads it."""
    if len(text) > READ_CHARS:
        half = READ_CHARS // 2
        return read_ends(text[:half], read) + _without_digits(text[half:-half]) + read_ends(text[-half:], read)
    return _read_at_numbers(text, read)


def _without_digits(text: str) -> str:
    return encode_text(text).translate(None, DIGITS).decode("utf-8", "replace")


def _read_at_numbers(text: str, read: Callable[[str], str]) -> str:
    """The text with what stands around its numbers read anew: no expression is tried on the rest of it."""
    raw = encode_text(text)
    if len(raw.translate(None, DIGITS)) == len(raw):
        return text
    done, kept = 0, []
    for start, end in _spans_of(text):
        kept += [text[done:start], read(text[start:end])]
        done = end
    return "".join((*kept, text[done:]))


def _spans_of(text: str) -> list[tuple[int, int]]:
    """Where numbers stand, with what may belong to them on both sides."""
    spans: list[tuple[int, int]] = []
    for match in NUMBER.finditer(text):
        start, end = max(match.start() - REACH, 0), match.end() + REACH
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def moved_as_clock(before: tuple[Stamp, ...], after: tuple[Stamp, ...], elapsed_s: float) -> bool:
    """Whether every time stayed or went on as the clock did between two requests, ``elapsed_s`` apart."""
    if len(before) != len(after):
        return False
    return all(_is_clock(one, two, elapsed_s) for one, two in zip(before, after, strict=True))


def ids_stamp(number: int) -> Stamp:
    """What ids a text holds, by their digest, as one of its stamps."""
    return Stamp(float(number >> 12), ID_RESOLUTION_S, has_date=False)


def ids_moved(before: tuple[Stamp, ...], after: tuple[Stamp, ...]) -> bool:
    """Whether two texts that are the same else hold different ids."""
    ids = [[each for each in stamps if each.resolution_s == ID_RESOLUTION_S] for stamps in (before, after)]
    return bool(ids[1]) and ids[0] != ids[1]


def _is_clock(before: Stamp, after: Stamp, elapsed_s: float) -> bool:
    if before.at_s == after.at_s or before.resolution_s == after.resolution_s == ID_RESOLUTION_S:
        return True
    moved_s = after.at_s - before.at_s
    if max(before.resolution_s, after.resolution_s) >= DAY_S:  # a date: tomorrow's report is not today's again
        return elapsed_s >= DAY_S / 2 and abs(moved_s - elapsed_s) <= DAY_S
    if not (before.has_date and after.has_date):
        moved_s = (moved_s + DAY_S / 2) % DAY_S - DAY_S / 2
        elapsed_s = elapsed_s % DAY_S
    slack_s = SLACK_S + SLACK_SHARE * abs(elapsed_s) + max(before.resolution_s, after.resolution_s)
    return abs(moved_s - elapsed_s) <= slack_s


def _stamp_of(match: re.Match[str]) -> Stamp | None:
    """The time that was matched; None where it is none that a clock shows."""
    kind, text = match.lastgroup, match.group()
    if kind == "epoch":
        digits = match.group("epoch")
        return Stamp(int(digits) / EPOCH_DIGITS[len(digits)], 1.0, has_date=True)
    try:
        if kind == "compact":
            return _compact(match.group("compact"))
        day = _day_s(kind or "", match)
    except (ValueError, OverflowError):
        return None
    clock = CLOCK_PARTS.search(text)
    if clock is None:
        return None if day is None else Stamp(day, DAY_S, has_date=True)
    seconds = _clock_s(clock)
    resolution_s = 60.0 if clock.group(4) is None else 1.0
    return Stamp(seconds if day is None else day + seconds, resolution_s, has_date=day is not None)


def _clock_s(clock: re.Match[str]) -> float:
    hours, minutes = int(clock.group(2)), int(clock.group(3))
    if clock.group(1) or clock.group(5):
        hours = hours % 12 + (12 if clock.group(1) or clock.group(5).lower() == "p" else 0)
    seconds = float(clock.group(4).replace(",", ".")) if clock.group(4) else 0.0
    return hours * 3_600 + minutes * 60 + seconds


def _compact(digits: str) -> Stamp:
    plain = "".join(NUMBER.findall(digits))
    at = datetime.strptime(plain, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return Stamp(at.timestamp(), 1.0, has_date=True)


def _day_s(kind: str, match: re.Match[str]) -> float | None:
    """The day's beginning; None for a time without a date. Which of two small numbers is the month does not matter."""
    if kind == "clock":
        return None
    text = match.group(kind)
    numbers = [int(each) for each in NUMBER.findall(text)]
    if kind in ("iso", "signed"):
        year, month, day = numbers
    elif kind == "named":
        month = next(index for index, name in enumerate(MONTHS, 1) if name in text.lower())
        day, year = (numbers[0], numbers[1]) if len(numbers) > 1 else (numbers[0], NO_YEAR)
    else:
        one, two, year = numbers
        month, day = (two, one) if one > 12 else (one, two)  # noqa: PLR2004  # months of a year
    return datetime(year, month, day, tzinfo=UTC).timestamp()
