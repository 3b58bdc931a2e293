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

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DAY_NAME = r"(?:\b(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,?\s+)"
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?(?:\s?[ap]\.?m\b\.?)?"
_ZONE = r"(?:\s?(?:z\b|utc\b|gmt\b|[+-]\d{2}:?\d{2}\b))?"
STAMP = re.compile(
    rf"{_DAY_NAME}?(?P<iso>\b\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}})(?:(?:[t_ ]|,\s|\sat\s){_CLOCK}{_ZONE})?"
    rf"|{_DAY_NAME}?(?P<named>\b{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s+\d{{4}})?|\b\d{{1,2}}\s+{_MONTH}(?:,?\s+\d{{4}})?)"
    rf"(?:(?:,|\sat)?\s+{_CLOCK}{_ZONE})?"
    rf"|{_DAY_NAME}?(?P<slash>\b\d{{1,2}}[-/.]\d{{1,2}}[-/.]\d{{2,4}})(?:,?\s+{_CLOCK}{_ZONE})?"
    rf"|{_DAY_NAME}?\b(?P<clock>{_CLOCK}){_ZONE}"
    r"|\b(?P<compact>20\d{6}[t_-]?\d{6})z?\b"
    r"|\b(?P<epoch>1\d{9}(?:\d{3}|\d{6}|\d{9})?)(?:\.\d{1,9})?\b",
    re.IGNORECASE,
)
COUNTER = re.compile(
    r"\b(iteration|iter|attempt|try|retry|step|round|turn|loop|tick|poll|heartbeat|cycle|run|seq|sequence|nonce)"
    r"(\W{0,3})\d{1,12}\b(?:\s?(?:/|of)\s?\d{1,12}\b)?",
    re.IGNORECASE,
)
CLOCK_PARTS = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}(?:[.,]\d{1,9})?))?(?:\s?([ap])\.?m)?", re.IGNORECASE)
DIGITS = b"0123456789"
NUMBER = re.compile(r"[0-9]+")
ID_LIKE = re.compile(r"\b(?=\w*\d)[0-9a-zA-Z_-]{6,}\b|\d+(?:[.,:/-]\d+)*")


class Stamp(NamedTuple):
    """A time that a text names: seconds, in days where ``has_date`` is False; and how finely it is told, in seconds."""

    at_s: float
    resolution_s: float
    has_date: bool


def normalised(text: str) -> tuple[str, tuple[Stamp, ...]]:
    """The text without its times and counters, and the times that it names, at most eight.

    Linear in the text; beyond 16,384 characters only the two ends are read, and between them all digits are left out.
    """
    if len(text) > READ_CHARS:
        half = READ_CHARS // 2
        head, first = normalised(text[:half])
        tail, last = normalised(text[-half:])
        return head + _without_digits(text[half:-half]) + tail, (first + last)[:STAMPS_MAX]
    found: list[Stamp] = []

    def out(match: re.Match[str]) -> str:
        stamp = _stamp_of(match)
        if stamp is None:
            return match.group()
        if len(found) < STAMPS_MAX:
            found.append(stamp)
        return "\x00"

    def read(part: str) -> str:
        return COUNTER.sub(WITHOUT_COUNT, STAMP.sub(out, part))

    return _read_at_numbers(text, read), tuple(found)


def bare(text: str) -> str:
    """The text without any number or anything that looks like an id; a long one as ``normalised`` reads it."""
    return read_ends(text, lambda part: ID_LIKE.sub("\x02", part))


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


def _is_clock(before: Stamp, after: Stamp, elapsed_s: float) -> bool:
    if before.at_s == after.at_s:
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
    resolution_s = 60.0 if clock.group(3) is None else 1.0
    return Stamp(seconds if day is None else day + seconds, resolution_s, has_date=day is not None)


def _clock_s(clock: re.Match[str]) -> float:
    hours, minutes = int(clock.group(1)), int(clock.group(2))
    if clock.group(4):
        hours = hours % 12 + (12 if clock.group(4).lower() == "p" else 0)
    seconds = float(clock.group(3).replace(",", ".")) if clock.group(3) else 0.0
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
    if kind == "iso":
        year, month, day = numbers
    elif kind == "named":
        month = next(index for index, name in enumerate(MONTHS, 1) if name in text.lower())
        day, year = (numbers[0], numbers[1]) if len(numbers) > 1 else (numbers[0], 2_000)
    else:
        one, two, year = numbers
        month, day = (two, one) if one > 12 else (one, two)  # noqa: PLR2004  # months of a year
    return datetime(year, month, day, tzinfo=UTC).timestamp()
