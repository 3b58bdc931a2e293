"""Stated priors: how many tokens a text is on each model, how long its answer, how much it thinks.

All are integers in thousandths, so that what follows from them is exact. Where a figure comes from:

- Llama, prose and code: 0.22-0.24 tokens per byte counted with the public ``cl100k_base``, whose merges Llama 3's
  vocabulary extends, over seven public prompt sets and this project's own source.
- Gemini: Google's documentation gives about four characters to a token.
- Claude up to 4.6: Anthropic gives about 3.5 English characters to a token for Claude 3; counts by its one published
  vocabulary lie 3-9 % above ``cl100k_base`` on the same sets. The point lies between the two.
- Claude from 4.7: Anthropic announced 1.0 to 1.35 times the tokens of 4.6, by kind of content. The point makes 1.28
  times Llama's and Gemini's tokens on prose, the design's ordinary assumption.
- Answers: 1.6 times the tokens of Llama or Gemini for the same job on Claude, the design's ordinary assumption: 1.28 by
  the tokenizer, the rest by length. Thinking: as much again as the visible answer at medium effort; no vendor publishes
  a figure, so its bounds are wide.
- Images: Anthropic ``width x height / 750``, at most about 1,600 tokens up to 4.6 and 4,784 since; Google 258 a tile in
  2.x and 1,120 an image in 3.x; Llama hosts 1,601 for each of up to four tiles. Sizes in pixels are not known here: the
  points stand for an image of one megapixel. OpenAI counts tiles of 512 pixels, eight at most; gpt-4o-mini is billed
  2,833 and 5,667 a tile, so that an image costs there what it costs on gpt-4o ("Images and vision").

They hold until holdout and feedback know better.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from router.tokens import TokenUsage, input_tokens_ceiling

if TYPE_CHECKING:
    from router.policy import PolicyModel

MILLI = 1_000
IMAGE_TOKENS_CEILING = 6_404
GPT_4O_MINI_IMAGE = (2_833, 5_667)
GPT_4O_TILES, GPT_4O_TILES_MAX = 4, 8
# ``non_ascii_share`` counts continuation bytes: two of three in Chinese, one of two in Cyrillic. Scaled so that a text
# in one script reads as (nearly) 1.
NON_LATIN_SCALE = 1.5
CLAUDE_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
NEWER_CLAUDE = (4, 7)


@dataclass(frozen=True, slots=True)
class TokenizerPrior:
    """How one family of tokenizers counts. ``*_milli`` are tokens per 1,000 UTF-8 bytes, the rest tokens.

    ``verbosity_milli`` is the length of the visible answer against Llama's for the same job, as text.
    ``tools_tokens`` is what the vendor's own tool preamble adds once, ``image_tokens_max`` the most of one image.
    """

    vendor: str
    prose_milli: int
    code_milli: int
    non_latin_milli: int
    message_tokens: int
    tools_tokens: int
    image_tokens: int
    verbosity_milli: int
    image_tokens_max: int = IMAGE_TOKENS_CEILING


CLAUDE_OLDER = TokenizerPrior("claude", 255, 285, 400, 5, 346, 1_334, 1_250)
CLAUDE_NEWER = TokenizerPrior("claude", 294, 335, 400, 5, 346, 1_334, 1_250)
GEMINI = TokenizerPrior("gemini", 230, 265, 240, 1, 0, 1_120, 1_000)
LLAMA = TokenizerPrior("llama", 230, 245, 300, 5, 60, 1_601, 1_000)
UNKNOWN = TokenizerPrior("unknown", 250, 270, 350, 5, 100, 1_601, 1_100)
GPT_4O_MINI = replace(
    UNKNOWN,
    image_tokens=GPT_4O_MINI_IMAGE[0] + GPT_4O_TILES * GPT_4O_MINI_IMAGE[1],
    image_tokens_max=GPT_4O_MINI_IMAGE[0] + GPT_4O_TILES_MAX * GPT_4O_MINI_IMAGE[1],
)

# Reasoning tokens against the tokens of the visible answer, by the effort that the caller asked for.
EFFORT_MILLI: dict[str, int] = {
    "none": 0,
    "minimal": 200,
    "low": 500,
    "medium": 1_000,
    "high": 2_000,
    "xhigh": 3_000,
    "max": 4_000,
}
DEFAULT_EFFORT_MILLI = 1_000
# A model that cannot stop thinking still thinks this much when asked not to.
EFFORT_FLOOR_MILLI = 200


@dataclass(frozen=True, slots=True)
class Bounds:
    """Factors on a prior, in thousandths: below, at, and above the point."""

    low_milli: int
    high_milli: int


INPUT_ACROSS_TOKENIZERS = Bounds(870, 1_130)
OUTPUT_SAME_VENDOR = Bounds(800, 1_250)
OUTPUT_ACROSS_VENDORS = Bounds(650, 1_500)
REASONING_FROM_PRIOR = Bounds(250, 2_500)
REASONING_FROM_ROUTED = Bounds(500, 2_000)


@lru_cache(maxsize=1_024)
def tokenizer_of(provider_model: str) -> TokenizerPrior:
    """The tokenizer family of a model, by its name; a Claude without a version is taken to be a new one."""
    name = provider_model.lower()
    if "claude" in name:
        found = CLAUDE_VERSION.search(name)
        version = (int(found[1]), int(found[2] or 0)) if found else NEWER_CLAUDE
        return CLAUDE_NEWER if version >= NEWER_CLAUDE else CLAUDE_OLDER
    if "gemini" in name or "gemma" in name:
        return GEMINI
    if "gpt-4o-mini" in name:
        return GPT_4O_MINI
    return LLAMA if "llama" in name else UNKNOWN


def does_think(model: PolicyModel) -> bool:
    """Whether the model thinks without being asked: always by the catalogue's flag, by default on Gemini but Lite."""
    if model.card.thinking_always_on:
        return True
    name = model.provider_model.lower()
    return "gemini" in name and "lite" not in name and "reasoning" in model.card.capabilities


def reasoning_milli_of(model: PolicyModel, reasoning_effort: str | None) -> int:
    """Reasoning tokens expected for each 1,000 tokens of visible answer; an effort nobody knows counts as medium."""
    if reasoning_effort is None:
        return DEFAULT_EFFORT_MILLI if does_think(model) else 0
    if "reasoning" not in model.card.capabilities and not model.card.thinking_always_on:
        return 0
    asked = EFFORT_MILLI.get(reasoning_effort, DEFAULT_EFFORT_MILLI)
    return max(asked, EFFORT_FLOOR_MILLI) if model.card.thinking_always_on else asked


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
    """The input tokens expected of a request on this model's own tokenizer; bytes are UTF-8, shares 0..1."""
    prior = tokenizer_of(model.provider_model)
    non_latin = min(1.0, max(0.0, non_ascii_share) * NON_LATIN_SCALE)
    code = (1.0 - non_latin) * min(1.0, max(0.0, code_share))
    prose = 1.0 - non_latin - code
    rate_milli = prose * prior.prose_milli + code * prior.code_milli + non_latin * prior.non_latin_milli
    tokens = round(text_bytes * rate_milli / MILLI) + messages * prior.message_tokens + images * prior.image_tokens
    if tools_bytes:
        tokens += prior.tools_tokens + -(-tools_bytes * prior.code_milli // MILLI)
    return max(1, tokens)


def output_tokens_of(
    model: PolicyModel, *, asked_max: int | None, base_output_tokens: float, reasoning_effort: str | None
) -> tuple[int, int]:
    """The visible and the reasoning tokens expected, within ``asked_max`` together; thinking takes its share first.

    ``base_output_tokens`` is the expected answer in Llama's tokens at Llama's length.
    """
    prior = tokenizer_of(model.provider_model)
    stretch_milli = prior.verbosity_milli * prior.prose_milli // LLAMA.prose_milli
    visible = max(1, round(base_output_tokens * stretch_milli / MILLI))
    reasoning = visible * reasoning_milli_of(model, reasoning_effort) // MILLI
    if asked_max is not None:
        reasoning = min(reasoning, asked_max)
        visible = min(visible, asked_max - reasoning)
    return visible, reasoning


def hold_tokens_of(provider_model: str, *, body_bytes: int, messages: int, images: int) -> int:
    """A hard ceiling of input tokens: a token covers at least a byte, and JSON is never shorter than its text.

    Images given by address weigh nothing in the body: each counts as the largest that the model can be billed for.
    """
    most = input_tokens_ceiling(body_bytes, messages)
    return most + images * tokenizer_of(provider_model).image_tokens_max if images else most


# --- the counterfactual ----------------------------------------------------------------------------------------------


def _scaled(tokens: int, numerator: int, denominator: int) -> int:
    """The product rounded half up, exactly."""
    return (2 * tokens * numerator + denominator) // (2 * denominator)


NO_TOKENS = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class _Shift:
    """From the routed model's tokens to premium's: a ratio and its bounds."""

    numerator: int
    denominator: int
    bounds: Bounds | None

    def of(self, tokens: int) -> tuple[int, int, int]:
        """Low, point and high of a count."""
        if not tokens:
            return NO_TOKENS
        point = _scaled(tokens, self.numerator, self.denominator)
        if self.bounds is None:
            return point, point, point
        low = _scaled(tokens, self.numerator * self.bounds.low_milli, self.denominator * MILLI)
        high = _scaled(tokens, self.numerator * self.bounds.high_milli, self.denominator * MILLI)
        return low, point, high


def _split_output(actual: TokenUsage, routed: TokenizerPrior, routed_milli: int) -> tuple[int, int]:
    """Visible and reasoning tokens of the routed answer; Anthropic reports its thinking inside the output."""
    if actual.output_reasoning or not routed_milli or routed.vendor != "claude":
        return actual.output_text, actual.output_reasoning
    visible = _scaled(actual.output_text, MILLI, MILLI + routed_milli)
    return visible, actual.output_text - visible


def _output_of(
    actual: TokenUsage, routed_model: PolicyModel, premium_model: PolicyModel, reasoning_effort: str | None
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Premium's visible and reasoning tokens, each low, point, high."""
    routed, premium = tokenizer_of(routed_model.provider_model), tokenizer_of(premium_model.provider_model)
    routed_milli = reasoning_milli_of(routed_model, reasoning_effort)
    premium_milli = reasoning_milli_of(premium_model, reasoning_effort)
    seen_visible, seen_reasoning = _split_output(actual, routed, routed_milli)
    bounds = OUTPUT_SAME_VENDOR if routed.vendor == premium.vendor else OUTPUT_ACROSS_VENDORS
    numerator = premium.prose_milli * premium.verbosity_milli
    denominator = routed.prose_milli * routed.verbosity_milli
    visible = _Shift(numerator, denominator, bounds).of(seen_visible)
    if not premium_milli:
        return visible, NO_TOKENS
    if seen_reasoning and routed_milli:
        # How long the routed model thought says how hard the job was.
        shift = _Shift(premium.prose_milli * premium_milli, routed.prose_milli * routed_milli, REASONING_FROM_ROUTED)
        return visible, shift.of(seen_reasoning)
    _, low_high_base, _ = visible
    return visible, _Shift(premium_milli, MILLI, REASONING_FROM_PRIOR).of(low_high_base)


def _each_within(counts: tuple[int, int, int], limits: tuple[int, ...]) -> tuple[int, int, int]:
    low, point, high = map(min, counts, limits)
    return low, point, high


def premium_usage_of(
    actual: TokenUsage,
    routed: PolicyModel,
    premium: PolicyModel,
    *,
    output_tokens_max: int | None = None,
    reasoning_effort: str | None = None,
) -> tuple[TokenUsage, TokenUsage, TokenUsage]:
    """What the same job would have taken on premium: low, point and high, each sum rising from one to the next.

    Exact (three times ``actual``) where the routed model is premium. Input is scaled by the tokenizers' ratio on prose;
    within one tokenizer it is the same count. Cache: premium is given the same shares of reads and writes as the
    routed model had, since the conversation and its prefixes are the same; across vendors the high bound takes
    premium's cache as cold, every read as plain input. Premium would have been told ``output_tokens_max`` and
    ``reasoning_effort`` too: its output ends at that limit, thinking taking its share first.
    """
    if routed.id == premium.id:
        return actual, actual, actual
    source, target = tokenizer_of(routed.provider_model), tokenizer_of(premium.provider_model)
    across = None if source is target else INPUT_ACROSS_TOKENIZERS
    shift = _Shift(target.prose_milli, source.prose_milli, across)
    uncached, read = shift.of(actual.input_uncached), shift.of(actual.cache_read)
    write_5m, write_1h = shift.of(actual.cache_write_5m), shift.of(actual.cache_write_1h)
    visible, reasoning = _output_of(actual, routed, premium, reasoning_effort)
    if output_tokens_max is not None:
        reasoning = _each_within(reasoning, (output_tokens_max,) * 3)
        visible = _each_within(visible, tuple(output_tokens_max - each for each in reasoning))
    is_cold = source.vendor != target.vendor
    low, point, high = (
        TokenUsage(
            input_uncached=uncached[index] + (read[index] if is_cold and index == 2 else 0),  # noqa: PLR2004  # the high bound
            cache_read=0 if is_cold and index == 2 else read[index],  # noqa: PLR2004
            cache_write_5m=write_5m[index],
            cache_write_1h=write_1h[index],
            output_text=visible[index],
            output_reasoning=reasoning[index],
        )
        for index in range(3)
    )
    return low, point, high
