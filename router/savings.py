"""What premium would have cost, and what was saved: modelled per request, exact where premium answered itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.catalog import cost_nanousd
from router.decide import output_tokens_max_of
from router.decision import CostRange
from router.money import usd_of
from router.token_priors import premium_usage_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.chat import Request
    from router.ledger import RequestTotals
    from router.policy import Policy, PolicyModel
    from router.tokens import TokenUsage


def premium_cost_of(
    actual: TokenUsage, routed: PolicyModel, policy: Policy, request: Request, *, is_able: bool = True
) -> CostRange:
    """The cost of the same request on premium's own tokens at premium's prices, in nano-USD.

    Exact, with no width, where premium answered it. The range is sorted, since a context tier can turn the order. Where
    premium could not have done what is asked (``is_able`` is false) the answer's own cost stands for it: nobody could
    have paid premium's price, so nothing was saved.
    """
    if not is_able:
        own = cost_nanousd(routed.prices, actual)
        return CostRange(own, own, own)
    premium = policy.premium_model
    found = premium_usage_of(
        actual,
        routed,
        premium,
        output_tokens_max=output_tokens_max_of(request, premium, policy),
        reasoning_effort=request.reasoning_effort,
    )
    low, point, high = (cost_nanousd(premium.prices, usage) for usage in found)
    return CostRange(min(low, point), point, max(point, high))


# --- the report ------------------------------------------------------------------------------------------------------

METHOD = (
    "realized cost: the ledger's lines, every attempt included. premium cost: modelled per answered request on "
    "premium's own tokens (tokenizer and answer-length priors within the request's output limit, low and high added "
    "end by end, which is conservative) at the catalogue's prices; exact where premium answered; the answer's own cost "
    "where premium cannot do what is asked (its window, its abilities). savings = premium cost - realized cost, never "
    "clamped. not measured: no sessions are held out in this version."
)


def usd_range(low: int, point: int, high: int) -> dict[str, str]:
    """Three amounts as exact decimal text."""
    return {"low": usd_of(low), "point": usd_of(point), "high": usd_of(high)}


def group_fields(totals: RequestTotals) -> dict[str, object]:
    """One row of the report."""
    cost, point = totals.cost_nanousd, totals.premium_point_nanousd
    return {
        "requests": totals.requests,
        "answered": totals.answered,
        "realized_cost_usd": usd_of(cost),
        "premium_cost_usd": usd_range(totals.premium_low_nanousd, point, totals.premium_high_nanousd),
        "savings_usd": usd_range(totals.premium_low_nanousd - cost, point - cost, totals.premium_high_nanousd - cost),
        "savings_share": round((point - cost) / point, 6) if point else None,
    }


def savings_report(
    whole: RequestTotals,
    groups: Sequence[RequestTotals],
    *,
    names: Sequence[str],
    from_text: str,
    to_text: str,
    price_revision: str,
    policy_revisions: Sequence[str],
    quality: Sequence[Mapping[str, object]],
) -> dict[str, object]:
    """The savings report as plain JSON values, in the contract's shape; the waterfall sums to the savings exactly.

    What callers saved who named a cheaper model is a step of its own: no routing did that.
    """
    failed = whole.failed_cost_nanousd
    pinned = whole.pinned_savings_nanousd
    routing = whole.premium_point_nanousd - (whole.cost_nanousd - failed) - pinned
    excluded = [
        {"why": why, "requests": count}
        for why, count in (
            ("refused before any vendor was asked", whole.rejected),
            ("no answer to compare with premium", whole.requests - whole.rejected - whole.modelled),
        )
        if count
    ]
    reached = whole.requests - whole.rejected
    return {
        "from": from_text,
        "to": to_text,
        "group_by": list(names),
        "price_revision": price_revision,
        "policy_revisions": list(policy_revisions),
        "totals": {
            **group_fields(whole),
            "measured": None,
            "measured_why": "modelled, not measured: no sessions are held out in this version",
        },
        "quality": [dict(each) for each in quality],
        "coverage": {
            "priced": 1.0 if reached else None,
            "modelled": round(whole.modelled / reached, 6) if reached else None,
            "estimated": whole.estimated,
            "excluded": excluded,
        },
        "waterfall": [
            {"step": "routing", "usd": usd_of(routing)},
            {"step": "pinned", "usd": usd_of(pinned)},
            {"step": "retries_and_escalations", "usd": usd_of(-failed)},
        ],
        "groups": [{**dict(zip(names, each.group, strict=True)), **group_fields(each)} for each in groups],
        "method": METHOD,
    }
