"""What stands in a query string, parsed strictly: moments and counts."""

from __future__ import annotations

from router.clock import parse_time_ms
from router.errors import RequestError

COUNT_DIGITS_MAX = 9


def parse_moment(text: str | None, param: str, otherwise: int) -> int:
    """Milliseconds of a time in a query. Raises RequestError."""
    if not text:
        return otherwise
    try:
        return parse_time_ms(text)
    except (ValueError, OverflowError):
        raise RequestError(f"{param}: must be a time such as 2026-11-01T00:00:00Z", param=param) from None


def parse_count(text: str | None, param: str, otherwise: int, most: int) -> int:
    """A whole number in 1..most. Raises RequestError."""
    if text is None:
        return otherwise
    is_number = text.isascii() and text.isdigit() and len(text) <= COUNT_DIGITS_MAX
    if not is_number or not 1 <= int(text) <= most:
        raise RequestError(f"{param}: must be a whole number in 1..{most}", param=param)
    return int(text)
