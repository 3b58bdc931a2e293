"""What stands in a query string, parsed strictly: moments and counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.clock import parse_time_ms
from router.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

COUNT_DIGITS_MAX = 9
GROUPS_MAX = 4
TAG_PREFIX = "tag:"
TAG_NAME_MAX = 64
WEEK_MS = 7 * 86_400_000


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


def parse_span(query: Mapping[str, str], now_ms: int) -> tuple[int, int]:
    """``from`` and ``to`` in milliseconds, the last week without them. Raises RequestError."""
    to_ms = parse_moment(query.get("to"), "to", now_ms)
    from_ms = parse_moment(query.get("from"), "from", to_ms - WEEK_MS)
    if from_ms >= to_ms:
        raise RequestError("from: must be before `to`", param="from")
    return from_ms, to_ms


def parse_names(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Group-by names of ``team,tag:feature``: the known ones, and any tag. Raises RequestError."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        is_tag = name.startswith(TAG_PREFIX) and 0 < len(name) - len(TAG_PREFIX) <= TAG_NAME_MAX
        if name not in known and not is_tag:
            raise RequestError(f"group_by: {', '.join(known)} or tag:<name>", param="group_by")
    if len(names) > GROUPS_MAX or len(set(names)) < len(names):
        raise RequestError(f"group_by: at most {GROUPS_MAX} different names", param="group_by")
    return names
