"""How much money one attempt needs, and what it may do with what the budgets grant.

A vendor may bill up to the output limit that it was told, however early we stop reading: so the limit is cut to what is
held. Only a model that stops billing when its connection closes is held in slices instead, each before it is forwarded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from router.catalog import hold_nanousd, output_tokens_within
from router.token_priors import hold_tokens_of

if TYPE_CHECKING:
    from router.budgets import Grant
    from router.catalog import PriceSchedule
    from router.chat import Request
    from router.decision import Candidate
    from router.policy import Policy, PolicyModel
    from router.treasury import Purse, Treasury

# How much of its answer a call must at least be able to pay for: the least that the policy allows, or what is expected.
Floor: TypeAlias = Literal["least", "expected"]
# Such a model is held at least this much further than it was read: as far as it may have run ahead of us.
SLICE_TOKENS = 1_024


def input_tokens_max_of(request: Request, model: PolicyModel) -> int:
    """The hard ceiling of what the request's input can be billed as by this model."""
    return hold_tokens_of(
        model.provider_model,
        body_bytes=request.body_bytes,
        messages=len(request.messages),
        images=len(request.images),
    )


@dataclass(frozen=True, slots=True)
class Pricing:
    """What an attempt costs at most by the length of its answer."""

    prices: PriceSchedule
    input_tokens_max: int
    may_write_cache: bool

    def of(self, output_tokens: int) -> int:
        """Nano-USD of the worst case with so much output."""
        return hold_nanousd(self.prices, self.input_tokens_max, output_tokens, may_write_cache=self.may_write_cache)

    def output_for(self, held_nanousd: int, limit_tokens: int) -> int:
        """The output that this much pays for, up to the limit."""
        paid = output_tokens_within(
            self.prices, self.input_tokens_max, held_nanousd, may_write_cache=self.may_write_cache
        )
        return limit_tokens if paid is None else min(limit_tokens, paid)


@dataclass(frozen=True, slots=True)
class Sought:
    """What an attempt asks the budgets for: from ``least`` to ``most``, for an answer of up to ``limit_tokens``."""

    pricing: Pricing
    limit_tokens: int
    least_nanousd: int
    most_nanousd: int
    is_sliced: bool

    def cover_of(self, treasury: Treasury, purse: Purse, grant: Grant, lease_ms: int) -> Cover:
        """What the grant pays for."""
        output_tokens = self.pricing.output_for(grant.held_nanousd, self.limit_tokens)
        return Cover(
            treasury=treasury,
            purse=purse,
            grant=grant,
            lease_ms=lease_ms,
            pricing=self.pricing,
            held_nanousd=grant.held_nanousd,
            output_tokens=output_tokens,
            limit_tokens=self.limit_tokens if self.is_sliced else output_tokens,
            is_sliced=self.is_sliced,
            is_cut=not self.is_sliced and output_tokens < self.limit_tokens,
        )


def sought_for(
    candidate: Candidate, model: PolicyModel, policy: Policy, request: Request, floor: Floor, *, may_slice: bool
) -> Sought:
    """What an attempt of this candidate needs."""
    limit = candidate.output_tokens_max
    pricing = Pricing(model.prices, input_tokens_max_of(request, model), request.asks_for_caching)
    least = min(limit, policy.limits.output_tokens_least)
    if floor == "expected":
        least = min(limit, max(least, candidate.output_tokens))
    is_sliced = may_slice and not model.bills_after_disconnect
    if is_sliced:
        most = min(limit, 2 * SLICE_TOKENS)
        return Sought(pricing, limit, pricing.of(min(least, most)), pricing.of(most), is_sliced)
    return Sought(pricing, limit, pricing.of(least), pricing.of(limit), is_sliced)


@dataclass(slots=True)
class Cover:
    """What the budgets hold for one attempt.

    ``limit_tokens`` is written upstream; ``output_tokens`` of the answer are paid for, which is less where it is held
    in slices. ``is_cut`` where the limit had to be lowered.
    """

    treasury: Treasury
    purse: Purse
    grant: Grant
    lease_ms: int
    pricing: Pricing
    held_nanousd: int
    output_tokens: int
    limit_tokens: int
    is_sliced: bool
    is_cut: bool
    is_closed: bool = False

    async def reaches(self, tokens_max: int) -> bool:
        """Whether what was seen of the answer, and a slice beyond, is paid for; holds more until it is, or cannot be.

        ``tokens_max`` is a ceiling of the tokens seen: their bytes, since a token covers at least one.
        """
        while self.output_tokens < min(self.limit_tokens, tokens_max + SLICE_TOKENS):
            output_tokens = min(self.limit_tokens, self.output_tokens + SLICE_TOKENS)
            extra_nanousd = self.pricing.of(output_tokens) - self.held_nanousd
            if extra_nanousd > 0:
                if not await self.treasury.extend(self.purse, self.grant, extra_nanousd, lease_ms=self.lease_ms):
                    return False
                self.held_nanousd += extra_nanousd
            self.output_tokens = output_tokens
        return True

    def close(self, actual_nanousd: int | None) -> None:
        """Charge the attempt, or give all back where the vendor did not bill (None). Counts once."""
        if not self.is_closed:
            self.is_closed = True
            self.treasury.close(self.purse, self.grant, self.held_nanousd, actual_nanousd)
