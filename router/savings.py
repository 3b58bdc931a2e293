"""What premium would have cost, and what was saved: modelled per request, exact where premium answered itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.catalog import cost_nanousd
from router.decision import CostRange
from router.token_priors import premium_usage_of

if TYPE_CHECKING:
    from router.policy import PolicyModel
    from router.tokens import TokenUsage


def premium_cost_of(actual: TokenUsage, routed: PolicyModel, premium: PolicyModel) -> CostRange:
    """The cost of the same request on premium's own tokens at premium's prices, in nano-USD.

    Exact, with no width, where premium answered it. The range is sorted, since a context tier can turn the order.
    """
    low, point, high = (cost_nanousd(premium.prices, usage) for usage in premium_usage_of(actual, routed, premium))
    return CostRange(min(low, point), point, max(point, high))
