"""What requests can be grouped by, and how their sums are named."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from router.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.ledger import RequestRow, RequestTotals

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
