from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.catalog import cost_nanousd, hold_nanousd
from router.chat import Reply, Text, Thinking, ToolCall
from router.estimate import (
    CALL_FRAME_BYTES,
    Expected,
    Seen,
    call_bytes_of,
    estimate_of,
    is_credible,
    most_nanousd_of,
    seen_in_reply,
)
from router.token_priors import CLAUDE_NEWER, GEMINI, LLAMA
from router.tokens import TokenUsage
from tests.builders import CAPABLE, model_of

OPUS = model_of("opus", provider_model="anthropic/claude-opus-5-5", thinking_always_on=True)
HAIKU = model_of("haiku", provider_model="anthropic/claude-haiku-5-5")
FLASH = model_of("flash", provider_model="gemini/gemini-3.8-flash")
LLAMA_70B = model_of(
    "llama", provider_model="together_ai/meta-llama/Llama-3.3-70B", capabilities=CAPABLE - {"reasoning"}
)
MODELS = (OPUS, HAIKU, FLASH, LLAMA_70B)
EXPECTED = Expected(
    input_tokens=900, cached_tokens=300, output_tokens=400, input_tokens_max=5_000, output_tokens_max=4_096
)
COUNTED = TokenUsage(input_uncached=700, cache_read=250, cache_write_5m=30, cache_write_1h=20)


def reply_of(*parts: Any, finish_reason: Any = "stop") -> Reply:
    return Reply("msg_1", "x", parts, finish_reason, None)


# --- what is charged when nothing or little is known -----------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_where_nothing_was_seen_the_expectation_is_charged(model: Any) -> None:
    tokens = estimate_of(model, EXPECTED)
    assert (tokens.input_uncached, tokens.cache_read) == (600, 300), "what is known to be warm is read from the cache"
    assert tokens.output_tokens == 400
    assert (tokens.output_reasoning > 0) == (model in (OPUS, FLASH)), "the models that think unasked"


def test_the_effort_that_was_asked_for_says_how_much_of_the_expectation_is_thinking() -> None:
    assert estimate_of(HAIKU, replace(EXPECTED, reasoning_effort="high")).output_reasoning == 400 * 2_000 // 3_000
    assert estimate_of(LLAMA_70B, replace(EXPECTED, reasoning_effort="high")).output_reasoning == 0


@pytest.mark.parametrize("model", MODELS)
def test_of_an_answer_that_broke_off_the_expectation_stands_until_more_was_seen(model: Any) -> None:
    unseen = estimate_of(model, EXPECTED)
    assert estimate_of(model, EXPECTED, Seen(text_bytes=40)) == unseen
    assert estimate_of(model, EXPECTED, Seen(text_bytes=40_000)).output_text > unseen.output_text


# --- what is charged for an answer that is there ---------------------------------------------------------------------


@pytest.mark.parametrize(("model", "prior"), [(OPUS, CLAUDE_NEWER), (FLASH, GEMINI), (LLAMA_70B, LLAMA)])
def test_a_whole_answer_is_as_long_as_it_was_seen_to_be_on_the_models_own_tokenizer(model: Any, prior: Any) -> None:
    whole = Seen(text_bytes=1_000, is_whole=True)
    assert estimate_of(model, EXPECTED, whole).output_text == prior.prose_milli
    code = Seen(code_bytes=1_000, is_whole=True)
    assert estimate_of(model, EXPECTED, code).output_text == prior.code_milli
    chinese = Seen(text_bytes=3_000, continuation_bytes=2_000, is_whole=True)
    assert estimate_of(model, EXPECTED, chinese).output_text == 3 * prior.non_latin_milli


def test_a_token_that_was_begun_counts() -> None:
    assert estimate_of(LLAMA_70B, EXPECTED, Seen(text_bytes=1, is_whole=True)).output_text == 1
    assert estimate_of(LLAMA_70B, EXPECTED, Seen(is_whole=True)).output_tokens == 0, "it ended without a word"


@pytest.mark.parametrize("model", MODELS)
def test_thinking_that_nobody_sees_is_charged_as_expected_where_the_model_thinks(model: Any) -> None:
    whole = estimate_of(model, EXPECTED, Seen(text_bytes=1_000, is_whole=True))
    assert whole.output_reasoning == estimate_of(model, EXPECTED).output_reasoning


def test_thinking_that_was_shown_is_charged_at_least() -> None:
    shown = Seen(text_bytes=100, thinking_bytes=10_000, is_whole=True)
    assert estimate_of(LLAMA_70B, EXPECTED, shown).output_reasoning == 10 * LLAMA.prose_milli
    assert estimate_of(FLASH, EXPECTED, shown).output_reasoning == 10 * GEMINI.prose_milli


def test_where_an_answer_ended_at_its_limit_thinking_took_what_the_answer_left() -> None:
    cut = Seen(text_bytes=1_000, is_whole=True, is_cut=True)
    thought = estimate_of(FLASH, EXPECTED, cut)
    assert (thought.output_text, thought.output_tokens) == (GEMINI.prose_milli, 4_096)
    assert estimate_of(LLAMA_70B, EXPECTED, cut).output_tokens == LLAMA.prose_milli, "it only wrote what was seen"


def test_a_reply_shows_prose_code_calls_and_thinking() -> None:
    call = ToolCall("c1", "get_weather", '{"city":"Paris"}')
    seen = seen_in_reply(reply_of(Thinking("Hmm."), Text("Voil\u00e0"), Text(" it is."), call))
    assert (seen.text_bytes, seen.continuation_bytes, seen.thinking_bytes) == (13, 1, 4)
    assert seen.code_bytes == len("get_weather") + CALL_FRAME_BYTES + len('{"city":"Paris"}')
    assert (seen.is_whole, seen.is_cut) == (True, False)
    assert seen_in_reply(reply_of(finish_reason="length")).is_cut


def test_code_in_a_reply_is_counted_as_code_without_changing_its_size() -> None:
    source = "def f(x):\n    return {k: v[0] for k, v in x.items() if k == '(a)'};\n" * 20
    seen = seen_in_reply(reply_of(Text(source)))
    assert seen.code_bytes > seen.text_bytes
    assert seen.code_bytes + seen.text_bytes == len(source)
    assert seen_in_reply(reply_of(Text("\ud800 alone"))).text_bytes == 7


def test_the_pieces_of_a_call_are_the_call() -> None:
    pieces = call_bytes_of("f", "") + call_bytes_of(None, '{"a":') + call_bytes_of(None, "1}")
    assert pieces == call_bytes_of("f", '{"a":1}')
    assert call_bytes_of(None, "\u4e2d") == 3


# --- what the vendor had counted -------------------------------------------------------------------------------------


def test_the_input_that_a_vendor_counted_is_charged_in_its_buckets() -> None:
    tokens = estimate_of(OPUS, replace(EXPECTED, may_write_cache=True), Seen(text_bytes=40, counted=COUNTED))
    expected = estimate_of(OPUS, EXPECTED)
    assert replace(tokens, output_text=0, output_reasoning=0) == COUNTED
    assert tokens.output_tokens == expected.output_tokens, "an output of nothing is a count that has not begun"


def test_the_output_that_a_vendor_counted_is_the_least_that_it_bills() -> None:
    counted = TokenUsage(input_uncached=700, output_text=900, output_reasoning=70)
    tokens = estimate_of(FLASH, EXPECTED, Seen(text_bytes=40, counted=counted))
    assert (tokens.output_text, tokens.output_reasoning) == (900, 70), "thinking was over when the answer began"
    thinking = TokenUsage(input_uncached=700, output_reasoning=70)
    assert estimate_of(FLASH, EXPECTED, Seen(counted=thinking)).output_reasoning == 200, "it still thinks"


@pytest.mark.parametrize(
    "counted",
    [
        TokenUsage(input_uncached=5_001),
        TokenUsage(input_uncached=10, output_text=4_097),
        TokenUsage(input_uncached=10, cache_write_5m=1),
        TokenUsage(input_uncached=10, cache_write_1h=1),
    ],
)
def test_a_count_beyond_the_hold_is_none(counted: TokenUsage) -> None:
    assert not is_credible(counted, EXPECTED)
    assert estimate_of(OPUS, EXPECTED, Seen(counted=counted)) == estimate_of(OPUS, EXPECTED)


# --- whatever is known -----------------------------------------------------------------------------------------------

COUNTS = st.integers(0, 20_000)
USAGES = st.builds(TokenUsage, COUNTS, COUNTS, st.integers(0, 50), st.integers(0, 50), COUNTS, COUNTS)
EXPECTATIONS = st.builds(
    Expected,
    input_tokens=COUNTS,
    cached_tokens=COUNTS,
    output_tokens=COUNTS,
    input_tokens_max=COUNTS,
    output_tokens_max=st.integers(1, 20_000),
    may_write_cache=st.booleans(),
    reasoning_effort=st.sampled_from([None, "none", "low", "high", "max", "odd"]),
)
SIGHTS = st.builds(
    Seen,
    text_bytes=COUNTS,
    continuation_bytes=COUNTS,
    code_bytes=COUNTS,
    thinking_bytes=COUNTS,
    is_whole=st.booleans(),
    is_cut=st.booleans(),
    counted=st.none() | USAGES,
)


@given(model=st.sampled_from(MODELS), expected=EXPECTATIONS, seen=SIGHTS)
def test_an_estimate_never_costs_more_than_its_hold(model: Any, expected: Expected, seen: Seen) -> None:
    tokens = estimate_of(model, expected, seen)
    hold = hold_nanousd(
        model.prices, expected.input_tokens_max, expected.output_tokens_max, may_write_cache=expected.may_write_cache
    )
    assert cost_nanousd(model.prices, tokens) <= hold
    assert tokens.input_tokens <= expected.input_tokens_max
    assert tokens.output_tokens <= expected.output_tokens_max


@given(model=st.sampled_from(MODELS), expected=EXPECTATIONS, seen=SIGHTS)
def test_budgets_are_charged_no_less_than_the_estimate_and_no_more_than_the_hold(
    model: Any, expected: Expected, seen: Seen
) -> None:
    most = most_nanousd_of(model, expected, seen)
    hold = hold_nanousd(
        model.prices, expected.input_tokens_max, expected.output_tokens_max, may_write_cache=expected.may_write_cache
    )
    assert cost_nanousd(model.prices, estimate_of(model, expected, seen)) <= most <= hold


def test_budgets_are_charged_the_whole_limit_of_an_answer_that_was_not_seen_to_end() -> None:
    prices = HAIKU.prices
    torn = most_nanousd_of(HAIKU, EXPECTED, Seen(text_bytes=400))
    whole = most_nanousd_of(HAIKU, EXPECTED, Seen(text_bytes=400, is_whole=True))
    input_tokens = 900 + 450 + 64
    assert torn == hold_nanousd(prices, input_tokens, 4_096, may_write_cache=False)
    assert whole < torn
    counted = Seen(text_bytes=400, is_whole=True, counted=TokenUsage(input_uncached=700, cache_read=200))
    assert most_nanousd_of(HAIKU, EXPECTED, counted) < whole


@given(model=st.sampled_from(MODELS), expected=EXPECTATIONS, seen=SIGHTS)
def test_an_estimate_is_never_below_what_was_seen_or_counted(model: Any, expected: Expected, seen: Seen) -> None:
    tokens = estimate_of(model, expected, seen)
    size = seen.text_bytes + seen.code_bytes
    assert tokens.output_text >= min(size * GEMINI.prose_milli // 1_000, expected.output_tokens_max)
    if seen.counted is not None and is_credible(seen.counted, expected):
        assert tokens.input_tokens == seen.counted.input_tokens
        assert tokens.output_text >= seen.counted.output_text
        assert tokens.output_tokens >= seen.counted.output_tokens


@given(
    model=st.sampled_from(MODELS),
    expected=EXPECTATIONS,
    seen=SIGHTS,
    more=st.tuples(COUNTS, COUNTS, COUNTS),
)
def test_more_that_was_seen_is_never_less_output(
    model: Any, expected: Expected, seen: Seen, more: tuple[int, int, int]
) -> None:
    longer = replace(
        seen,
        text_bytes=seen.text_bytes + more[0],
        code_bytes=seen.code_bytes + more[1],
        thinking_bytes=seen.thinking_bytes + more[2],
    )
    before, after = estimate_of(model, expected, seen), estimate_of(model, expected, longer)
    assert after.output_tokens >= before.output_tokens
    assert replace(after, output_text=0, output_reasoning=0) == replace(before, output_text=0, output_reasoning=0)
