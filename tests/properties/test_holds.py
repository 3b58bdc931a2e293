"""What is held is never less than what a vendor can bill for the call that is made."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from router.catalog import cost_nanousd, hold_nanousd
from router.config.prices import load_catalog
from router.decide import weights_of
from router.prompt import sizes_of
from router.server.openai_parse import parse_chat
from router.token_priors import hold_tokens_of
from router.tokens import TokenUsage
from tests.builders import model_of, policy_of

if TYPE_CHECKING:
    from router.catalog import PriceSchedule
    from router.policy import PolicyModel


@lru_cache(maxsize=1)
def schedules() -> list[PriceSchedule]:
    """The catalogue's distinct schedules, those with several tiers first."""
    catalog = load_catalog()
    cards = [catalog.card(name) for name in catalog.entries]
    found = {card.prices for card in cards if card is not None and card.prices is not None}
    return sorted(found, key=lambda each: (-len(each.tiers), repr(each)))


@st.composite
def splits(draw: st.DrawFn, total: int, buckets: int) -> list[int]:
    cuts = sorted(draw(st.integers(0, total)) for _ in range(buckets - 1))
    return [high - low for low, high in zip([0, *cuts], [*cuts, total], strict=True)]


@given(st.data(), st.integers(0, 1_200_000), st.integers(0, 200_000), st.booleans())
def test_no_usage_within_the_clamp_costs_more_than_its_hold(
    data: st.DataObject, input_max: int, output_max: int, may_write_cache: bool
) -> None:
    schedule = data.draw(st.sampled_from(schedules()))
    input_tokens = data.draw(st.integers(0, input_max) | st.just(input_max))
    plain, read, write_5m, write_1h = data.draw(splits(input_tokens, 4))
    if not may_write_cache:
        plain, write_5m, write_1h = plain + write_5m + write_1h, 0, 0
    text, reasoning = data.draw(splits(data.draw(st.integers(0, output_max)), 2))
    usage = TokenUsage(plain, read, write_5m, write_1h, text, reasoning)
    assert cost_nanousd(schedule, usage) <= hold_nanousd(
        schedule, input_max, output_max, may_write_cache=may_write_cache
    )


TEXTS = st.text(max_size=60) | st.sampled_from(
    ["\U0001f600" * 40, "\x00\x01" * 9, '"\\' * 20, "word " * 30, "\u4e2d" * 50]
)
PARTS = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, TEXTS),
    st.just({"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}),
    st.just({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}),
)
BODIES = st.fixed_dictionaries(
    {
        "model": st.just("auto"),
        "messages": st.lists(
            st.builds(lambda parts: {"role": "user", "content": parts}, st.lists(PARTS, min_size=1, max_size=4)),
            min_size=1,
            max_size=6,
        ),
    },
    optional={
        "max_tokens": st.integers(1, 100_000),
        "reasoning_effort": st.sampled_from(["low", "high"]),
        "tools": st.lists(
            st.builds(
                lambda name, text: {
                    "type": "function",
                    "function": {
                        "name": f"f{name}",
                        "description": text,
                        "parameters": {"type": "object", "properties": {text: {"type": "string"}}},
                    },
                },
                st.integers(0, 99),
                TEXTS,
            ),
            min_size=1,
            max_size=8,
            unique_by=lambda each: each["function"]["name"],
        ),
    },
)
MODELS = [
    model_of("claude", provider_model="anthropic/claude-opus-5"),
    model_of("gemini", provider_model="gemini/gemini-3-flash", wire="gemini"),
    model_of("llama", provider_model="groq/llama-3", wire="openai"),
    model_of("tiles", provider_model="openai/gpt-4o-mini", wire="openai"),
    model_of("thinker", provider_model="anthropic/claude-x", thinking_always_on=True),
]


@given(BODIES, st.sampled_from(MODELS), st.booleans(), st.floats(0, 4_000))
def test_the_ceiling_of_tokens_is_above_every_text_and_every_expectation(
    body: dict[str, Any], model: PolicyModel, is_ascii: bool, base_output: float
) -> None:
    raw = json.dumps(body, ensure_ascii=is_ascii, separators=(",", ":")).encode("utf-8", "replace")
    request = parse_chat(json.loads(raw), len(raw))
    sizes = sizes_of(request)
    ceiling = hold_tokens_of(
        model.provider_model, body_bytes=request.body_bytes, messages=len(request.messages), images=len(request.images)
    )
    # A byte-level token covers at least one byte, so the text's bytes are the most tokens that it can be.
    assert ceiling >= sizes.text_bytes
    weights = weights_of(request, model, policy_of(model), sizes, base_output)
    assert weights.input_tokens <= ceiling
    assert weights.output_tokens <= weights.output_tokens_max
    assert weights.expected_cost_nanousd <= hold_nanousd(
        model.prices, ceiling, weights.output_tokens_max, may_write_cache=False
    )
