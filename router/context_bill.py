"""The context bill of one request: what its input was made of, what of it was sent before, and what that cost.

Prompt caches serve beginnings of so many tokens or more, by the model (`prompt_cache_min_tokens` of the price map), so
what stands behind a shorter one is not called lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from router.catalog import cost_nanousd
from router.ledger import ContextUse
from router.money import amount_nanousd
from router.tokens import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.ledger import Intent
    from router.policy import PolicyModel
    from router.repeats import Repeated

# An input below this has no bill: it is small change, and most requests are.
CONTEXT_TOKENS_MIN = 1_000
# Where the map does not say: the least of OpenAI's and of most of Anthropic's models, as their documents have it.
CACHED_TOKENS_MIN = 1_024


class ContextSeen(NamedTuple):
    """What was seen of an input before it was sent: tokens by part, as premium counts them, and what repeats."""

    parts: Mapping[str, int]
    repeated: Repeated

    def tokens(self, chars: int, input_tokens: int) -> int:
        """So many characters in tokens, where the whole input has ``input_tokens``."""
        return input_tokens * chars // max(self.repeated.chars, 1)

    def counts(self, input_tokens: int) -> dict[str, int]:
        """Tokens that were sent before, by where they stand now; with what is new they sum to ``input_tokens``."""
        found = self.repeated
        told = {"prefix": found.prefix, "again": found.again, "twice": found.twice}
        return {name: self.tokens(chars, input_tokens) for name, chars in told.items()}

    def receipt(self, model: PolicyModel) -> dict[str, object]:
        """What the receipt says of it, should this model answer: numbers and places; tokens as premium counts them."""
        whole = sum(self.parts.values())
        counts = self.counts(whole)
        plain: dict[str, object] = {**counts, "new": whole - sum(counts.values())}
        broken = self.repeated.broken
        if broken is not None and self.is_lost(whole, model):
            behind = self.tokens(broken.behind_chars, whole)
            plain["cache_break"] = {
                "part": broken.part, "why": broken.why, "at_char": broken.at_char, "behind": behind,
            }  # fmt: skip
        return plain

    def is_lost(self, input_tokens: int, model: PolicyModel) -> bool:
        """Whether the model's cache would serve what stands behind the break, if nothing moved before it."""
        broken = self.repeated.broken
        if broken is None or not broken.behind_chars:
            return False
        least = model.card.prompt_cache_min_tokens or CACHED_TOKENS_MIN
        return self.tokens(self.repeated.prefix + broken.behind_chars, input_tokens) >= least


def context_use_of(intent: Intent, seen: ContextSeen, usage: TokenUsage, model: PolicyModel) -> ContextUse:
    """The ledger's line of it, at the prices and the tokens of the model that answered.

    Parts share the input's cost by their tokens. What was sent again or twice is priced as uncached input, what a
    break made a cache miss at the difference between that and a cache read.
    """
    subject, tokens, prices = intent.subject, usage.input_tokens, model.prices
    tier = prices.tier_of(tokens)
    counts = seen.counts(tokens)
    broken = seen.repeated.broken if seen.is_lost(tokens, model) else None
    lost = 0 if broken is None else seen.tokens(broken.behind_chars, tokens)
    return ContextUse(
        decision_id=subject.decision_id,
        time_ms=intent.time_ms,
        model=intent.model,
        team=subject.team,
        project=subject.project,
        key_id=subject.key_id,
        tags=subject.tags,
        input_tokens=tokens,
        input_cost_nanousd=cost_nanousd(prices, _input_of(usage)),
        parts=_shared_out(seen.parts, tokens),
        prefix_tokens=counts["prefix"],
        again_tokens=counts["again"],
        twice_tokens=counts["twice"],
        again_nanousd=amount_nanousd(counts["again"] * tier.input),
        twice_nanousd=amount_nanousd(counts["twice"] * tier.input),
        break_part=None if broken is None else broken.part,
        break_why=None if broken is None else broken.why,
        break_at_char=None if broken is None else broken.at_char,
        lost_tokens=lost,
        lost_nanousd=amount_nanousd(lost * max(tier.input - tier.cache_read, 0)),
    )


def _input_of(usage: TokenUsage) -> TokenUsage:
    return TokenUsage(
        input_uncached=usage.input_uncached,
        cache_read=usage.cache_read,
        cache_write_5m=usage.cache_write_5m,
        cache_write_1h=usage.cache_write_1h,
    )


def _shared_out(parts: Mapping[str, int], tokens: int) -> dict[str, int]:
    """The parts scaled to what the model that answered counted; ``other`` has what rounding leaves."""
    whole = max(sum(parts.values()), 1)
    scaled = {name: tokens * size // whole for name, size in parts.items() if name != "other"}
    return {**scaled, "other": tokens - sum(scaled.values())}
