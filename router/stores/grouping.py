"""What requests can be grouped by, and how their sums are named."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from router.errors import RequestError
from router.ledger import RequestTotals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.ledger import RequestRow

COLUMN_OF_GROUP = {
    "team": "team",
    "project": "project",
    "key": "key_id",
    "model": "model",
    "tier": "quality_tier",
    "promise": "promise",
}
TAG_PREFIX = "tag:"
# Moments by how finely they are told, in UTC; each text sorts as its time does.
MOMENTS = {"day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H:00Z", "minute": "%Y-%m-%dT%H:%MZ"}


def require_groups(group_by: Sequence[str]) -> None:
    """Raise RequestError unless every name can be grouped by."""
    for name in group_by:
        is_tag = name.startswith(TAG_PREFIX) and len(name) > len(TAG_PREFIX)
        if name not in COLUMN_OF_GROUP and name not in MOMENTS and not is_tag:
            known = ", ".join([*COLUMN_OF_GROUP, *MOMENTS, "tag:<name>"])
            raise RequestError(f"cannot group by {name!r}; known: {known}", param="group_by")


def group_value_of(row: RequestRow, name: str) -> str | None:
    """The row's value for a group-by name."""
    if name.startswith(TAG_PREFIX):
        return row.tags.get(name.removeprefix(TAG_PREFIX))
    if name in MOMENTS:
        return datetime.fromtimestamp(row.time_ms // 1000, tz=UTC).strftime(MOMENTS[name])
    value = getattr(row, COLUMN_OF_GROUP[name])
    return None if value is None else str(value)


def in_order(totals: Sequence[RequestTotals]) -> tuple[RequestTotals, ...]:
    """Groups by their values, the unallocated (None) last."""
    return tuple(sorted(totals, key=lambda each: [(value is None, value or "") for value in each.group]))


def dearest_of(totals: Sequence[RequestTotals], most: int) -> tuple[RequestTotals, ...]:
    """The ``most`` dearest groups, the one without any value among them, and one group of no name for the rest."""

    def order(each: RequestTotals) -> tuple[object, ...]:
        is_named = any(value is not None for value in each.group)
        return is_named, -each.cost_nanousd, [(value is None, value or "") for value in each.group]

    ordered = sorted(totals, key=order)
    rest = ordered[most:]
    if not rest:
        return tuple(ordered)
    sums = {name: sum(getattr(each, name) for each in rest) for name in SUMMED}
    return (*ordered[:most], RequestTotals(group=(), **sums))


SUMMED = tuple(each.name for each in fields(RequestTotals) if each.name != "group")
