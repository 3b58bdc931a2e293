"""What an attempt is taken to have used where its vendor's count never arrived whole.

The best that is known wins, bucket by bucket: what the vendor counted before the end, then what was seen of the answer
on the model's own tokenizer, then what was expected. Such a charge is marked as estimated, and it never exceeds what
the attempt's hold was priced at.

An answer that ended is as long as it was seen to be. Of one that broke off, what was seen is the least that its vendor
generated, and vendors generate on when a connection breaks: the expectation stands until more than that was seen.
Thinking mostly stays hidden, so a model that thinks is charged the thinking expected of it; where its answer ended at
the limit, thinking took what the visible answer left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.catalog import hold_nanousd
from router.chat import Text, Thinking, ToolCall
from router.prompt import CODE_SAMPLE_BYTES, code_share_of, encode_text
from router.token_priors import MILLI, reasoning_milli_of, tokenizer_of
from router.tokens import TokenUsage

if TYPE_CHECKING:
    from router.chat import Reply
    from router.policy import PolicyModel
    from router.token_priors import TokenizerPrior

# Llama's published prompt format writes a call as {"name": "...", "parameters": ...}; others do not say what they do.
CALL_FRAME_BYTES = len('{"name": "", "parameters": }')


@dataclass(frozen=True, slots=True)
class Expected:
    """What was expected of one attempt, in tokens, and what its hold was priced at (``*_max``, ``may_write_cache``).

    ``cached_tokens`` of the ``input_tokens`` were expected to be read from the vendor's prompt cache; ``output_tokens``
    hold the thinking.
    """

    input_tokens: int
    cached_tokens: int
    output_tokens: int
    input_tokens_max: int
    output_tokens_max: int
    may_write_cache: bool = False
    reasoning_effort: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one answer, in UTF-8 bytes, and what its vendor had ``counted`` up to there.

    ``continuation_bytes`` of the ``text_bytes`` are bytes of a character after its first; ``code_bytes`` are those of
    code and of tool calls. ``is_whole`` where the answer was seen to end, ``is_cut`` where it ended at its limit.
    """

    text_bytes: int = 0
    continuation_bytes: int = 0
    code_bytes: int = 0
    thinking_bytes: int = 0
    is_whole: bool = False
    is_cut: bool = False
    counted: TokenUsage | None = None


NOTHING_SEEN = Seen()
# On top of half as much again: what a template and a vendor's own framing add to a short text.
MARGIN_TOKENS = 64


def seen_in_reply(reply: Reply) -> Seen:
    """What a whole answer shows; linear in its size, with no Python work per character."""
    text = "".join(part.text for part in reply.parts if isinstance(part, Text))
    thinking = "".join(part.text for part in reply.parts if isinstance(part, Thinking))
    calls = [part for part in reply.parts if isinstance(part, ToolCall)]
    data = encode_text(text)
    continuation = len(data) - len(text)
    code = round((len(data) - continuation) * code_share_of(data[:CODE_SAMPLE_BYTES]))
    return Seen(
        text_bytes=len(data) - code,
        continuation_bytes=continuation,
        code_bytes=code + sum(call_bytes_of(call.name, call.arguments) for call in calls),
        thinking_bytes=len(encode_text(thinking)),
        is_whole=True,
        is_cut=reply.finish_reason == "length",
    )


def call_bytes_of(name: str | None, arguments: str) -> int:
    """The bytes of a tool call, or of a piece of one; the piece with the name begins the call."""
    frame = len(encode_text(name)) + CALL_FRAME_BYTES if name else 0
    return frame + (len(arguments) if arguments.isascii() else len(encode_text(arguments)))


def visible_tokens_of(prior: TokenizerPrior, seen: Seen) -> int:
    """The tokens of what was seen of the answer itself, on this tokenizer, rounded up."""
    # Two of three bytes continue a character in Chinese, one of two in Cyrillic: counted as the whole of the script.
    non_latin = min(seen.text_bytes, seen.continuation_bytes * 3 // 2)
    milli = (seen.text_bytes - non_latin) * prior.prose_milli + non_latin * prior.non_latin_milli
    return -(-(milli + seen.code_bytes * prior.code_milli) // MILLI)


def is_credible(counted: TokenUsage, expected: Expected) -> bool:
    """Whether a count that was made before the end lies within the hold's hard ceilings; one that does not is none."""
    writes = counted.cache_write_5m + counted.cache_write_1h
    is_held = counted.input_tokens <= expected.input_tokens_max and counted.output_tokens <= expected.output_tokens_max
    return is_held and (expected.may_write_cache or not writes)


def estimate_of(model: PolicyModel, expected: Expected, seen: Seen = NOTHING_SEEN) -> TokenUsage:
    """The tokens to charge on ``model``: never above the hold's, and their output never below what was seen, within it.

    More seen is never less output.
    """
    counted = seen.counted if seen.counted is not None and is_credible(seen.counted, expected) else None
    text, reasoning = _output_of(model, expected, seen, counted or TokenUsage())
    text = min(text, expected.output_tokens_max)
    reasoning = min(reasoning, expected.output_tokens_max - text)
    if counted is not None:
        return TokenUsage(
            input_uncached=counted.input_uncached,
            cache_read=counted.cache_read,
            cache_write_5m=counted.cache_write_5m,
            cache_write_1h=counted.cache_write_1h,
            output_text=text,
            output_reasoning=reasoning,
        )
    whole = min(expected.input_tokens, expected.input_tokens_max)
    read = min(expected.cached_tokens, whole)
    return TokenUsage(input_uncached=whole - read, cache_read=read, output_text=text, output_reasoning=reasoning)


def most_nanousd_of(model: PolicyModel, expected: Expected, seen: Seen = NOTHING_SEEN) -> int:
    """The most that an attempt of unknown usage can have cost, in nano-USD: what its budgets are charged.

    What the vendor counted is taken as it is, in the dearest bucket that it can be billed in; else the input is the
    estimate with half as much again, and the output its limit, or what was seen of a whole answer with half as much
    again. Never above what the hold was priced at.
    """
    counted = seen.counted if seen.counted is not None and is_credible(seen.counted, expected) else None
    whole = counted.input_tokens if counted is not None else _with_margin(expected.input_tokens)
    output = expected.output_tokens_max
    thinks_milli = reasoning_milli_of(model, expected.reasoning_effort)
    if seen.is_whole and not seen.is_cut and not thinks_milli:
        visible = _with_margin(visible_tokens_of(tokenizer_of(model.provider_model), seen))
        seen_thinking = _with_margin(seen.thinking_bytes) if seen.thinking_bytes else 0
        output = min(output, max(visible + seen_thinking, counted.output_tokens if counted is not None else 0))
    return hold_nanousd(
        model.prices, min(whole, expected.input_tokens_max), output, may_write_cache=expected.may_write_cache
    )


def _with_margin(tokens: int) -> int:
    return tokens + (tokens + 1) // 2 + MARGIN_TOKENS


def _output_of(model: PolicyModel, expected: Expected, seen: Seen, counted: TokenUsage) -> tuple[int, int]:
    """Visible and thinking tokens, before the limit is applied."""
    prior = tokenizer_of(model.provider_model)
    thinks_milli = reasoning_milli_of(model, expected.reasoning_effort)
    expected_reasoning = expected.output_tokens * thinks_milli // (MILLI + thinks_milli)
    text = max(visible_tokens_of(prior, seen), counted.output_text)
    reasoning = max(-(-seen.thinking_bytes * prior.prose_milli // MILLI), counted.output_reasoning)
    if not counted.output_text:
        # Thinking comes before the answer: a vendor that has begun to count the answer has counted all of it.
        reasoning = max(reasoning, expected_reasoning)
    if not seen.is_whole:
        return max(text, expected.output_tokens - expected_reasoning), reasoning
    if seen.is_cut and thinks_milli:
        reasoning = max(reasoning, expected.output_tokens_max - text)
    return text, reasoning
