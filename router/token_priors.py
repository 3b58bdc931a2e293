"""Stated priors on tokens: how many a text makes on each vendor's tokenizer, and how long each model answers.

Until an installation has learned its own ratios these numbers stand in, each with a low and a high. They are assumptions
of this project, wide on purpose: a Claude tokenizer makes about 1.28 times the tokens of a Llama one from the same
English text, and a premium answer is about 1.6 times as long (docs/savings.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.tokens import TokenUsage, input_tokens_ceiling

if TYPE_CHECKING:
    from router.policy import PolicyModel


@dataclass(frozen=True, slots=True)
class TokenizerPrior:
    """Tokens per UTF-8 byte of English prose, of code and of other scripts; tokens per image and per message."""

    prose: float
    code: float
    non_ascii: float
    image_tokens: int
    message_tokens: int


LLAMA = TokenizerPrior(prose=0.23, code=0.30, non_ascii=0.30, image_tokens=1_600, message_tokens=5)
TOKENIZERS: dict[str, TokenizerPrior] = {
    "anthropic": TokenizerPrior(prose=0.294, code=0.384, non_ascii=0.40, image_tokens=1_600, message_tokens=7),
    "google": TokenizerPrior(prose=0.235, code=0.31, non_ascii=0.27, image_tokens=1_120, message_tokens=3),
    "meta": LLAMA,
}

# Visible answer length relative to an economy model's, by tier; reasoning tokens as a share of the visible ones.
VERBOSITY: dict[str, float] = {"economy": 1.0, "standard": 1.25, "premium": 1.6}
REASONING_SHARE_ALWAYS_ON = 1.0
REASONING_SHARE_BY_EFFORT: dict[str, float] = {
    "none": 0.0,
    "minimal": 0.1,
    "low": 0.3,
    "medium": 1.0,
    "high": 2.5,
    "xhigh": 4.0,
    "max": 5.0,
}
# Where nothing fits better: the median answer of a public chat trace (Mooncake, FAST 2025) is 350 tokens.
BASE_OUTPUT_TOKENS = 350.0

# How far the point estimate of premium's tokens may be off, as factors on it.
INPUT_LOW, INPUT_HIGH = 0.92, 1.08
OUTPUT_LOW, OUTPUT_HIGH = 0.625, 1.4
# An image of unknown size is held at the dearest that a vendor counts one.
IMAGE_TOKENS_MAX = 6_000


def tokenizer_of(model: PolicyModel) -> TokenizerPrior:
    """The prior of the model's vendor; an unknown vendor counts as Llama's."""
    return TOKENIZERS.get(model.vendor, LLAMA)


def input_tokens_of(
    model: PolicyModel,
    *,
    text_bytes: int,
    non_ascii_share: float,
    code_share: float,
    messages: int,
    tools_bytes: int,
    images: int,
) -> int:
    """The expected input tokens of a request on this model's tokenizer; shares are of the text's bytes, 0..1."""
    prior = tokenizer_of(model)
    ascii_rate = prior.prose + (prior.code - prior.prose) * code_share
    rate = ascii_rate + (prior.non_ascii - ascii_rate) * non_ascii_share
    tokens = text_bytes * rate + tools_bytes * prior.code + images * prior.image_tokens
    return round(tokens) + messages * prior.message_tokens + 1


def reasoning_share_of(model: PolicyModel, effort: str | None) -> float:
    """Reasoning tokens per visible token: the caller's effort where the model can reason, else what it does anyway."""
    if effort is not None and "reasoning" in model.card.capabilities:
        return REASONING_SHARE_BY_EFFORT.get(effort, REASONING_SHARE_ALWAYS_ON)
    return REASONING_SHARE_ALWAYS_ON if model.card.thinking_always_on else 0.0


def output_tokens_of(
    model: PolicyModel, *, asked_max: int | None, base_output_tokens: float, reasoning_effort: str | None
) -> tuple[int, int]:
    """The expected (visible, reasoning) tokens; ``base_output_tokens`` is what an economy model would answer.

    Both are billed as output and share the limit ``asked_max``, reasoning first, as the vendors count it.
    """
    visible = base_output_tokens * VERBOSITY[model.tier]
    reasoning = visible * reasoning_share_of(model, reasoning_effort)
    if asked_max is not None and visible + reasoning > asked_max:
        reasoning = min(reasoning, float(asked_max))
        visible = min(visible, asked_max - reasoning)
    return round(visible), round(reasoning)


def premium_usage_of(
    actual: TokenUsage, routed: PolicyModel, premium: PolicyModel
) -> tuple[TokenUsage, TokenUsage, TokenUsage]:
    """What the same request would have used on premium: low, point and high.

    Input buckets keep their shares: where the routed model read from its cache, premium is taken to have had the same
    conversation cached. Visible output scales by tokenizer and verbosity; reasoning is premium's own.
    """
    if routed.id == premium.id:
        return actual, actual, actual
    input_ratio = tokenizer_of(premium).prose / tokenizer_of(routed).prose
    output_ratio = input_ratio * VERBOSITY[premium.tier] / VERBOSITY[routed.tier]
    share = reasoning_share_of(premium, None)

    def scaled(input_factor: float, output_factor: float) -> TokenUsage:
        ratio = input_ratio * input_factor
        visible = actual.output_text * output_ratio * output_factor
        return TokenUsage(
            input_uncached=round(actual.input_uncached * ratio),
            cache_read=round(actual.cache_read * ratio),
            cache_write_5m=round(actual.cache_write_5m * ratio),
            cache_write_1h=round(actual.cache_write_1h * ratio),
            output_text=round(visible),
            output_reasoning=round(visible * share),
        )

    return scaled(INPUT_LOW, OUTPUT_LOW), scaled(1.0, 1.0), scaled(INPUT_HIGH, OUTPUT_HIGH)


def hold_tokens_of(*, body_bytes: int, messages: int, images: int) -> int:
    """A ceiling of a request's input tokens on any tokenizer, from its size as received."""
    return input_tokens_ceiling(body_bytes, messages) + images * IMAGE_TOKENS_MAX
