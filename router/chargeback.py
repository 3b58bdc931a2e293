"""Who is charged what: the ledger's realised cost by owner, so that the rows sum to it to the nano-dollar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.ledger import RequestTotals
from router.money import usd_of
from router.savings import usd_range

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# A tag may have any number of values: behind so many owners, all cheaper ones share one row.
OWNERS_MAX = 1_000
METHOD = (
    "cost: the ledger's realised cost of every attempt, failed and escalated ones and checks included, by the key and "
    "the tags that the request had; a request belongs to the time it came in. What has no owner is the unallocated "
    f"row; behind {OWNERS_MAX} owners, the unallocated among them, all cheaper ones are the rest row: owners, "
    "unallocated and rest sum to the totals exactly. The counterfactual is modelled and no part of any cost."
)
SUMS = tuple(name for name in RequestTotals.__dataclass_fields__ if name not in ("group", "groups"))


def charge_fields(totals: RequestTotals) -> dict[str, object]:
    """What one row says. ``input`` counts all input tokens, those read from a cache among them."""
    return {
        "requests": totals.requests,
        "attempts": totals.attempts,
        "answered": totals.answered,
        "rejected": totals.rejected,
        "failed": totals.failed,
        "tokens": {
            "input": totals.input_tokens,
            "cache_read": totals.cache_read_tokens,
            "output": totals.output_tokens,
        },
        "cost_usd": usd_of(totals.cost_nanousd),
        "unanswered_cost_usd": usd_of(totals.failed_cost_nanousd),
        "counterfactual": {
            "premium_cost_usd": usd_range(
                totals.premium_low_nanousd, totals.premium_point_nanousd, totals.premium_high_nanousd
            )
        },
    }


def chargeback_report(
    found: Sequence[RequestTotals], *, names: Sequence[str], from_text: str, to_text: str
) -> dict[str, object]:
    """The report as plain JSON values, from groups as ``Ledger.totals`` gives them with ``most``.

    The totals are the sum of the rows, so that no request settled between two readings can part them.
    """
    nobody = tuple([None] * len(names))
    owners = [each for each in found if each.group not in (nobody, ())]
    unallocated = next((each for each in found if each.group == nobody), RequestTotals(nobody, *([0] * 14)))
    rest = next((each for each in found if not each.group and names), None)
    return {
        "from": from_text,
        "to": to_text,
        "group_by": list(names),
        "currency": "USD",
        "totals": charge_fields(summed(found)),
        "owners": [{"owner": _owner_of(names, each), **charge_fields(each)} for each in owners],
        "unallocated": {"owner": None, **charge_fields(unallocated)},
        "rest": None if rest is None else {"owners": rest.groups, **charge_fields(rest)},
        "method": METHOD,
    }


def _owner_of(names: Sequence[str], totals: RequestTotals) -> Mapping[str, str | None]:
    return dict(zip(names, totals.group, strict=True))


def summed(found: Sequence[RequestTotals]) -> RequestTotals:
    """All groups together."""
    return RequestTotals(group=(), **{name: sum(getattr(each, name) for each in found) for name in SUMS})
