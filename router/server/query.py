"""What stands in a query string, parsed strictly: moments and counts, and no name that nothing would act on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from router.clock import parse_time_ms
from router.errors import RequestError
from router.misspelt import meant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import QueryParams

COUNT_DIGITS_MAX = 9
GROUPS_MAX = 4
TAG_PREFIX = "tag:"
TAG_NAME_MAX = 64
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS
AGO = re.compile(r"(\d{1,5})([hdw])", re.ASCII)
# In a query a plus that was not encoded is a blank.
PLUS_LOST = re.compile(r"(T[^ ]+) (\d\d:?\d\d)$", re.ASCII)
UNIT_MS = {"h": HOUR_MS, "d": DAY_MS, "w": WEEK_MS}
SPAN_NAMES = ("from", "to", "since")


def in_query(name: str, meaning: str, schema: Mapping[str, object]) -> dict[str, object]:
    """The parameter as the OpenAPI document has it."""
    return {"name": name, "in": "query", "description": meaning, "required": False, "schema": schema}


# What a route that takes a span says of it in the OpenAPI document.
SPAN_PARAMETERS: dict[str, list[dict[str, object]]] = {
    "parameters": [
        in_query(name, meaning, {"type": "string"})
        for name, meaning in (
            ("from", "The first moment, such as `2026-11-01T00:00:00Z`; a week before `to` without it"),
            ("to", "The moment after the last; now without it"),
            ("since", "Instead of `from`: a span until now such as `7d`, `12h` or `2w`, or a time"),
        )
    ]
}


def require_known(query: QueryParams, *known: str) -> None:
    """Raise RequestError for a parameter that the route does not take, or that stands twice.

    Ignored, either would answer another question.
    """
    for name in query:
        if len(query.getlist(name)) > 1:
            raise RequestError(f"{name}: stands twice: send one, with commas between names", param=name)
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise RequestError(f"{name}: no parameter of this route; {takes}{meant(name, known)}", param=name)


def parse_ago(text: str, now_ms: int) -> int | None:
    """Milliseconds of ``7d``, ``12h`` or ``2w`` ago; None where the text is no such span."""
    match = AGO.fullmatch(text)
    return None if match is None else max(0, now_ms - int(match[1]) * UNIT_MS[match[2]])


def parse_moment(text: str | None, param: str, otherwise: int) -> int:
    """Milliseconds of a time in a query. Raises RequestError."""
    if not text:
        return otherwise
    try:
        return parse_time_ms(PLUS_LOST.sub(r"\1+\2", text))
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
    """``from`` (or ``since``) and ``to`` in milliseconds, the last week without them. Raises RequestError."""
    to_ms = parse_moment(query.get("to"), "to", now_ms)
    name = "since" if "since" in query else "from"
    if name == "since" and "from" in query:
        raise RequestError("since: stands beside `from`: send one of them", param="since")
    ago_ms = parse_ago(query["since"], now_ms) if name == "since" else None
    from_ms = parse_moment(query.get(name), name, to_ms - WEEK_MS) if ago_ms is None else ago_ms
    if from_ms >= to_ms:
        raise RequestError(f"{name}: must be before `to`", param=name)
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
