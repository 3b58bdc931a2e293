"""Tokens in disjoint buckets, as vendors bill them.

Vendors count differently: OpenAI's and Gemini's prompt tokens include cache reads, Anthropic's do not; Gemini's
thoughts stand outside its candidates. The wires convert, and from there on each token is in exactly one bucket.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """What one call used; every count is at least 0, and unknown is not 0 (then there is no TokenUsage)."""

    input_uncached: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output_text: int = 0
    output_reasoning: int = 0

    def __post_init__(self) -> None:
        # A sign bit survives "or": all six are looked at in one comparison, since every request makes several of these.
        signs = self.input_uncached | self.cache_read | self.cache_write_5m | self.cache_write_1h
        assert (signs | self.output_text | self.output_reasoning) >= 0, self

    @property
    def input_tokens(self) -> int:
        """All input, cached or not: what price tiers are chosen by."""
        return self.input_uncached + self.cache_read + self.cache_write_5m + self.cache_write_1h

    @property
    def output_tokens(self) -> int:
        """All output, reasoning included: what vendors bill as output."""
        return self.output_text + self.output_reasoning

    @property
    def total_tokens(self) -> int:
        """Input and output."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(
            self.input_uncached + other.input_uncached,
            self.cache_read + other.cache_read,
            self.cache_write_5m + other.cache_write_5m,
            self.cache_write_1h + other.cache_write_1h,
            self.output_text + other.output_text,
            self.output_reasoning + other.output_reasoning,
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, and whether the vendor said so."""

    tokens: TokenUsage
    source: Literal["reported", "estimated"] = "reported"


# A chat template wraps each message in a few control tokens (role, separators), and primes the answer.
MESSAGE_OVERHEAD_TOKENS = 16
REQUEST_OVERHEAD_TOKENS = 1_024


def input_tokens_ceiling(n_bytes: int, n_messages: int) -> int:
    """A hard ceiling of the input's tokens: a byte-level token covers at least one byte; templates add a little.

    The overhead per request covers what vendors add on their own: tool preambles and safety prompts.
    """
    return n_bytes + n_messages * MESSAGE_OVERHEAD_TOKENS + REQUEST_OVERHEAD_TOKENS
