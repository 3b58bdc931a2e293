"""What the caller asks of the routing: a pinned model, a named tier, or a tolerance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.errors import (
    ModelNotAllowedError,
    ModelNotFoundError,
    TierNotAllowedError,
    UnknownQualityTierError,
)

if TYPE_CHECKING:
    from router.chat import Request
    from router.policy import Caller, Policy, Terms

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Ask:
    """What the caller wants of the routing: a pinned model, or a tolerance with the tier that named it."""

    pinned: str | None
    quality_tier: str | None
    tolerance: float


def default_tier_of(policy: Policy, caller: Caller) -> str:
    """The policy's default tier, or the laxest that the key allows where the default is not among them."""
    if not caller.allowed_tiers or policy.default_tier in caller.allowed_tiers:
        return policy.default_tier
    known = [name for name in caller.allowed_tiers if name in policy.quality_tiers]
    if not known:
        raise TierNotAllowedError("this key allows none of the policy's quality tiers", param="quality_tier")
    return max(known, key=lambda name: (policy.quality_tiers[name], name))


def require_tier(policy: Policy, caller: Caller, tier: str) -> float:
    """The tier's tolerance. Raises UnknownQualityTierError or TierNotAllowedError."""
    if tier not in policy.quality_tiers:
        known = ", ".join(policy.quality_tiers)
        raise UnknownQualityTierError(f"unknown quality tier; the policy has: {known}", param="quality_tier")
    if caller.allowed_tiers and tier not in caller.allowed_tiers:
        raise TierNotAllowedError(f"this key may not use the quality tier {tier!r}", param="quality_tier")
    return policy.quality_tiers[tier]


def require_tolerance(policy: Policy, caller: Caller, tolerance: float) -> float:
    """The tolerance, if it is no stricter than the strictest tier that the key allows. Raises TierNotAllowedError."""
    allowed = [policy.quality_tiers[name] for name in caller.allowed_tiers if name in policy.quality_tiers]
    if caller.allowed_tiers and (not allowed or tolerance < min(allowed)):
        raise TierNotAllowedError("this key may not ask for so small a tolerance", param="quality_tolerance")
    return tolerance


def may_pin(policy: Policy, caller: Caller, model: str) -> bool:
    """Whether the key may name the model: among its models, where it has some.

    A key whose tiers all accept a loss may not name premium, which is what no loss means; unless its models say so.
    """
    if caller.allowed_models:
        return model in caller.allowed_models
    if model != policy.premium or not caller.allowed_tiers:
        return True
    return any(policy.quality_tiers.get(tier) == 0 for tier in caller.allowed_tiers)


def ask_of(request: Request, caller: Caller, terms: Terms, policy: Policy) -> Ask:
    """Resolve model, tier and tolerance; the tolerance wins over the tier, the header over ``auto:<tier>``.

    Raises ModelNotFoundError, ModelNotAllowedError, UnknownQualityTierError, TierNotAllowedError.
    """
    name = request.model
    pinned = None
    tier = terms.quality_tier
    if name == AUTO:
        pass
    elif name.startswith(f"{AUTO}:"):
        tier = tier or name.removeprefix(f"{AUTO}:")
    elif name in policy.models:
        if not may_pin(policy, caller, name):
            raise ModelNotAllowedError(f"this key may not use the model {name!r}", param="model")
        pinned = name
    else:
        raise ModelNotFoundError("no such model: use `auto`, `auto:<tier>` or an id from GET /v1/models", param="model")
    tier = tier or default_tier_of(policy, caller)
    tolerance = require_tier(policy, caller, tier)
    if terms.tolerance is not None:
        return Ask(pinned, None, require_tolerance(policy, caller, terms.tolerance))
    return Ask(pinned, tier, tolerance)
