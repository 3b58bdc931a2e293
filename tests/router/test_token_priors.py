from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.token_priors import (
    CLAUDE_NEWER,
    CLAUDE_OLDER,
    GEMINI,
    LLAMA,
    UNKNOWN,
    does_think,
    hold_tokens_of,
    input_tokens_of,
    output_tokens_of,
    premium_usage_of,
    reasoning_milli_of,
    tokenizer_of,
)
from router.tokens import TokenUsage
from tests.builders import CAPABLE, model_of

NO_REASONING = {"capabilities": CAPABLE - {"reasoning"}}


def named(provider_model: str, **card: Any) -> Any:
    return model_of("m", provider_model=provider_model, **card)


OPUS = named("anthropic/claude-opus-5-5")
OLD_OPUS = named("anthropic/claude-opus-4-1")
HAIKU = replace(named("anthropic/claude-haiku-5-5"), id="haiku")
FLASH = replace(named("gemini/gemini-3.8-flash"), id="flash")
LLAMA_70B = replace(named("together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo", **NO_REASONING), id="llama")


@pytest.mark.parametrize(
    ("name", "prior"),
    [
        ("anthropic/claude-opus-5-5", CLAUDE_NEWER),
        ("anthropic/claude-opus-4-7", CLAUDE_NEWER),
        ("anthropic/claude-opus-4-6", CLAUDE_OLDER),
        ("anthropic/claude-sonnet-4-20250514", CLAUDE_OLDER),
        ("anthropic/claude-3-5-sonnet-20241022", CLAUDE_OLDER),
        ("bedrock/anthropic.claude-3-haiku-20240307-v1:0", CLAUDE_OLDER),
        ("anthropic/claude-next", CLAUDE_NEWER),
        ("gemini/gemini-3.8-flash", GEMINI),
        ("gemini/gemma-3-27b-it", GEMINI),
        ("groq/llama-3.3-70b-versatile", LLAMA),
        ("openai/gpt-5", UNKNOWN),
    ],
)
def test_a_tokenizer_is_known_by_the_models_name(name: str, prior: Any) -> None:
    assert tokenizer_of(name) is prior


def counted(model: Any, **changes: Any) -> int:
    sizes: dict[str, Any] = {
        "text_bytes": 1_000,
        "non_ascii_share": 0.0,
        "code_share": 0.0,
        "messages": 0,
        "tools_bytes": 0,
        "images": 0,
    }
    return input_tokens_of(model, **(sizes | changes))


def test_input_is_counted_on_each_models_own_tokenizer() -> None:
    assert [counted(model) for model in (OPUS, OLD_OPUS, FLASH, LLAMA_70B)] == [294, 255, 230, 230]
    assert counted(OPUS, code_share=1.0) == 335
    assert counted(OPUS, code_share=0.5) == pytest.approx((294 + 335) / 2, abs=1)
    assert counted(OPUS, non_ascii_share=2 / 3) == 400
    assert counted(OPUS, non_ascii_share=2 / 3, code_share=1.0) == 400, "no script is code and not"
    assert counted(OPUS, non_ascii_share=1.0) == 400
    assert counted(OPUS, messages=10) == 294 + 50
    assert counted(OPUS, images=2) == 294 + 2 * 1_334
    assert counted(OPUS, tools_bytes=1_000) == 294 + 346 + 335
    assert counted(OPUS, text_bytes=0) == 1, "nothing is free"


@pytest.mark.parametrize(
    ("model", "thinks"),
    [
        (named("gemini/gemini-3.8-flash"), True),
        (named("gemini/gemini-3.8-flash-lite"), False),
        (named("gemini/gemini-2.0-flash", **NO_REASONING), False),
        (OPUS, False),
        (named("anthropic/claude-opus-5-5", thinking_always_on=True), True),
    ],
)
def test_some_models_think_unasked(model: Any, thinks: bool) -> None:
    assert does_think(model) is thinks
    assert reasoning_milli_of(model, None) == (1_000 if thinks else 0)


@pytest.mark.parametrize(
    ("effort", "milli", "always_on_milli"),
    [
        ("none", 0, 200),
        ("minimal", 200, 200),
        ("low", 500, 500),
        ("medium", 1_000, 1_000),
        ("high", 2_000, 2_000),
        ("xhigh", 3_000, 3_000),
        ("max", 4_000, 4_000),
        ("quite-some", 1_000, 1_000),
    ],
)
def test_effort_asked_for_is_thought_in_proportion(effort: str, milli: int, always_on_milli: int) -> None:
    assert reasoning_milli_of(OPUS, effort) == milli
    assert reasoning_milli_of(named("anthropic/claude-x", thinking_always_on=True), effort) == always_on_milli
    assert reasoning_milli_of(LLAMA_70B, effort) == 0, "what cannot think does not"


def expected(model: Any, base: float = 100.0, asked_max: int | None = None, effort: str | None = None) -> Any:
    return output_tokens_of(model, asked_max=asked_max, base_output_tokens=base, reasoning_effort=effort)


def test_output_is_stretched_by_tokenizer_and_verbosity() -> None:
    assert expected(LLAMA_70B) == (100, 0)
    assert expected(OPUS) == (160, 0)
    assert expected(FLASH) == (100, 100)
    assert expected(LLAMA_70B, base=0.1) == (1, 0)


def test_thinking_takes_its_share_of_the_limit_first() -> None:
    assert expected(FLASH, asked_max=150) == (50, 100)
    assert expected(FLASH, asked_max=60) == (0, 60)
    assert expected(LLAMA_70B, asked_max=60) == (60, 0)
    assert expected(LLAMA_70B, asked_max=0) == (0, 0)


def test_a_hold_covers_bytes_messages_and_images() -> None:
    assert hold_tokens_of("gemini/flash", body_bytes=1_000, messages=3, images=2) == 1_000 + 3 * 16 + 1_024 + 2 * 6_404


def test_a_tiled_image_of_the_small_gpt_4o_is_held_at_what_openai_bills_for_it() -> None:
    """2,833 and 5,667 a tile: 25,501 for a megapixel, eight tiles at most; the larger model's are 765 and 1,445."""
    plain = {"body_bytes": 300, "messages": 1}
    small = hold_tokens_of("openai/gpt-4o-mini", **plain, images=1) - hold_tokens_of("gpt-4o-mini", **plain, images=0)
    assert small == 2_833 + 8 * 5_667
    assert hold_tokens_of("azure/gpt-4o-mini-2024-07-18", **plain, images=3) == 300 + 16 + 1_024 + 3 * small
    assert hold_tokens_of("openai/gpt-4o", **plain, images=1) == 300 + 16 + 1_024 + 6_404
    seen = {"text_bytes": 0, "non_ascii_share": 0.0, "code_share": 0.0, "messages": 1, "tools_bytes": 0, "images": 1}
    assert input_tokens_of(model_of("m", provider_model="openai/gpt-4o-mini"), **seen) == 25_501 + 5


# --- the counterfactual ----------------------------------------------------------------------------------------------

ACTUAL = TokenUsage(
    input_uncached=1_000, cache_read=400, cache_write_5m=200, cache_write_1h=100, output_text=300, output_reasoning=0
)


def test_premium_against_itself_is_exact() -> None:
    assert premium_usage_of(ACTUAL, OPUS, OPUS) == (ACTUAL, ACTUAL, ACTUAL)


def test_within_one_tokenizer_input_is_the_same_count() -> None:
    for each in premium_usage_of(ACTUAL, HAIKU, OPUS):
        assert each.input_tokens == ACTUAL.input_tokens
        assert each.cache_read == ACTUAL.cache_read


def test_across_vendors_input_is_scaled_and_the_high_bound_takes_the_cache_as_cold() -> None:
    low, point, high = premium_usage_of(ACTUAL, LLAMA_70B, OPUS)
    assert point.input_uncached == round(1_000 * 294 / 230)
    assert low.input_tokens < point.input_tokens < high.input_tokens
    assert (low.cache_read > 0, point.cache_read > 0, high.cache_read) == (True, True, 0)
    assert point.output_text == round(300 * 294 * 1_250 / (230 * 1_000))


def test_bounds_enclose_the_point_in_every_sum() -> None:
    for routed in (HAIKU, FLASH, LLAMA_70B, OLD_OPUS):
        low, point, high = premium_usage_of(ACTUAL, routed, OPUS)
        assert low.input_tokens <= point.input_tokens <= high.input_tokens
        assert low.output_tokens <= point.output_tokens <= high.output_tokens


def test_a_premium_that_thinks_is_given_thinking_of_its_own() -> None:
    thinker = replace(FLASH, id="premium-flash")
    low, point, high = premium_usage_of(ACTUAL, LLAMA_70B, thinker)
    assert point.output_reasoning == point.output_text
    assert low.output_reasoning < point.output_reasoning < high.output_reasoning


def test_a_premium_that_does_not_think_is_given_none() -> None:
    thought = replace(ACTUAL, output_reasoning=500)
    assert {each.output_reasoning for each in premium_usage_of(thought, FLASH, OPUS)} == {0}


def test_how_long_the_routed_model_thought_says_how_hard_the_job_was() -> None:
    premium = replace(named("gemini/gemini-4-pro"), id="pro")
    short = premium_usage_of(replace(ACTUAL, output_reasoning=100), FLASH, premium)
    long = premium_usage_of(replace(ACTUAL, output_reasoning=900), FLASH, premium)
    assert (short[1].output_reasoning, long[1].output_reasoning) == (100, 900)


def test_thinking_that_was_asked_for_is_asked_of_premium_too() -> None:
    premium = replace(named("anthropic/claude-opus-5-5", capabilities=frozenset({"reasoning"})), id="premium")
    thought = replace(ACTUAL, output_reasoning=900)
    _, plain, _ = premium_usage_of(thought, FLASH, premium)
    low, asked, high = premium_usage_of(thought, FLASH, premium, reasoning_effort="high")
    assert plain.output_reasoning == 0
    assert 0 < low.output_reasoning < asked.output_reasoning < high.output_reasoning


@given(limit=st.integers(1, 5_000), thought=st.integers(0, 5_000), effort=st.sampled_from([None, "low", "high"]))
def test_no_bound_passes_the_output_limit_and_thinking_takes_its_share_first(
    limit: int, thought: int, effort: str | None
) -> None:
    thinker = replace(FLASH, id="premium-flash")
    actual = replace(ACTUAL, output_reasoning=thought)
    free = premium_usage_of(actual, LLAMA_70B, thinker, reasoning_effort=effort)
    found = premium_usage_of(actual, LLAMA_70B, thinker, output_tokens_max=limit, reasoning_effort=effort)
    for bound, unbound in zip(found, free, strict=True):
        assert bound.output_tokens == min(limit, unbound.output_tokens)
        assert bound.output_reasoning == min(limit, unbound.output_reasoning)
        assert bound.input_tokens == unbound.input_tokens


def test_anthropics_thinking_is_told_from_its_text_by_the_prior() -> None:
    thinker = replace(named("anthropic/claude-opus-5-5", thinking_always_on=True), id="thinker")
    premium = replace(named("anthropic/claude-opus-5-6", thinking_always_on=True), id="premium")
    _, point, _ = premium_usage_of(ACTUAL, thinker, premium)
    assert (point.output_text, point.output_reasoning) == (150, 150)
