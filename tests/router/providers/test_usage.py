from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.providers import anthropic_answer, gemini_answer, long_tail, openai_answer
from router.tokens import TokenUsage

COUNT = st.integers(0, 10**6)
NO_COUNT = st.sampled_from([-1, 1.5, "7", True, [], 10**13, float("inf")])


def openai(**usage: Any) -> TokenUsage | None:
    found = openai_answer.usage_of(usage)
    return found and found.tokens


def anthropic(**usage: Any) -> TokenUsage | None:
    found = anthropic_answer.usage_of(usage)
    return found and found.tokens


def gemini(**usage: Any) -> TokenUsage | None:
    found = gemini_answer.usage_of(usage)
    return found and found.tokens


@given(COUNT, COUNT, COUNT, COUNT)
def test_openai_buckets_are_disjoint(plain: int, cached: int, visible: int, reasoning: int) -> None:
    expected = TokenUsage(input_uncached=plain, cache_read=cached, output_text=visible, output_reasoning=reasoning)
    body = {
        "prompt_tokens": plain + cached,
        "completion_tokens": visible + reasoning,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    assert openai(**body) == expected
    assert openai(**body, total_tokens=plain + cached + visible + reasoning) == expected
    # Hosts whose completion leaves the reasoning out say so by their total.
    outside = {**body, "completion_tokens": visible, "total_tokens": plain + cached + visible + reasoning}
    assert openai(**outside) == expected


@given(COUNT, COUNT, COUNT, COUNT, COUNT, COUNT)
def test_anthropic_buckets_are_disjoint(
    plain: int, read: int, write_5m: int, write_1h: int, visible: int, thinking: int
) -> None:
    assert anthropic(
        input_tokens=plain,
        cache_read_input_tokens=read,
        cache_creation_input_tokens=write_5m + write_1h,
        cache_creation={"ephemeral_5m_input_tokens": write_5m, "ephemeral_1h_input_tokens": write_1h},
        output_tokens=visible + thinking,
        output_tokens_details={"thinking_tokens": thinking},
    ) == TokenUsage(plain, read, write_5m, write_1h, visible, thinking)


@given(COUNT, COUNT, COUNT, COUNT, COUNT)
def test_gemini_buckets_are_disjoint(plain: int, cached: int, of_tools: int, visible: int, thoughts: int) -> None:
    expected = TokenUsage(
        input_uncached=plain + of_tools, cache_read=cached, output_text=visible, output_reasoning=thoughts
    )
    body = {
        "promptTokenCount": plain + cached,
        "cachedContentTokenCount": cached,
        "toolUsePromptTokenCount": of_tools,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": plain + cached + of_tools + visible + thoughts,
    }
    assert gemini(**body, candidatesTokenCount=visible) == expected
    if body["totalTokenCount"]:
        assert gemini(**body) == expected  # left out where thoughts used up the limit


def test_an_explicit_zero_is_kept() -> None:
    assert openai(prompt_tokens=0, completion_tokens=0) == TokenUsage()
    assert anthropic(input_tokens=0, output_tokens=0) == TokenUsage()
    assert gemini(promptTokenCount=0, candidatesTokenCount=0) == TokenUsage()


@pytest.mark.parametrize("usage", [None, {}, [], "7", {"prompt_tokens": 5}, {"output_tokens": 5}])
def test_unknown_is_never_zero(usage: Any) -> None:
    assert openai_answer.usage_of(usage) is None
    assert anthropic_answer.usage_of(usage) is None
    assert gemini_answer.usage_of(usage) is None
    assert long_tail.usage_of(usage) is None


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 5, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 6}},
        {"prompt_tokens": 5, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 6}},
        {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 11},
    ],
)
def test_openai_counts_that_do_not_add_up_are_unknown(usage: Any) -> None:
    assert openai(**usage) is None


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": 5, "output_tokens": 5, "output_tokens_details": {"thinking_tokens": 6}},
        {
            "input_tokens": 5,
            "output_tokens": 5,
            "cache_creation_input_tokens": 7,
            "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 3},
        },
    ],
)
def test_anthropic_counts_that_do_not_add_up_are_unknown(usage: Any) -> None:
    assert anthropic(**usage) is None


@pytest.mark.parametrize(
    "usage",
    [
        {"promptTokenCount": 5, "candidatesTokenCount": 5, "cachedContentTokenCount": 6},
        {"promptTokenCount": 5, "candidatesTokenCount": 5, "totalTokenCount": 11},
        {"promptTokenCount": 5, "thoughtsTokenCount": 5, "totalTokenCount": 9},
        {"promptTokenCount": 5},
    ],
)
def test_gemini_counts_that_do_not_add_up_are_unknown(usage: Any) -> None:
    assert gemini(**usage) is None


@given(NO_COUNT)
def test_what_is_no_count_makes_the_usage_unknown_instead_of_smaller(bad: Any) -> None:
    whole = {"prompt_tokens": 5, "completion_tokens": 5}
    assert openai(**{**whole, "prompt_tokens": bad}) is None
    assert openai(**whole, prompt_tokens_details={"cached_tokens": bad}) is None
    assert openai(**whole, completion_tokens_details={"reasoning_tokens": bad}) is None
    claude = {"input_tokens": 5, "output_tokens": 5}
    for name in ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"):
        assert anthropic(**{**claude, name: bad}) is None
    assert anthropic(**claude, cache_creation={"ephemeral_1h_input_tokens": bad}) is None
    google = {"promptTokenCount": 5, "candidatesTokenCount": 5}
    for name in ("promptTokenCount", "candidatesTokenCount", "cachedContentTokenCount", "thoughtsTokenCount"):
        assert gemini(**{**google, name: bad}) is None


def test_cache_writes_without_a_lifetime_are_the_defaults() -> None:
    assert anthropic(input_tokens=1, output_tokens=2, cache_creation_input_tokens=9) == TokenUsage(
        input_uncached=1, cache_write_5m=9, output_text=2
    )


def test_deepseeks_name_for_cache_reads() -> None:
    assert openai(prompt_tokens=9, completion_tokens=1, prompt_cache_hit_tokens=4) == TokenUsage(
        input_uncached=5, cache_read=4, output_text=1
    )


def test_litellm_counts_cache_writes_inside_the_prompt() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 5,
        "total_tokens": 105,
        "cache_creation_input_tokens": 30,
        "prompt_tokens_details": {
            "cached_tokens": 20,
            "cache_creation_tokens": 30,
            "cache_creation_token_details": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        },
    }
    found = long_tail.usage_of(usage)
    assert found is not None
    assert found.tokens == TokenUsage(50, 20, 10, 20, 5, 0)


def test_litellm_cache_writes_that_do_not_fit_are_unknown() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "cache_creation_input_tokens": 11}
    assert long_tail.usage_of(usage) is None
