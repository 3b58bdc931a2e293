from __future__ import annotations

import hashlib
import json
from datetime import date
from typing import Any

import pytest

from router.catalog import Catalog, parse_catalog
from router.catalog.cards import REASONING_REFUSES, SAMPLING_BESIDE_EFFORT, SAMPLING_UNLESS_NONE, card_of

USD = 1_000_000_000
MAP = {
    "sample_spec": {"input_cost_per_token": 0, "deprecation_date": "date when the model becomes deprecated"},
    "claude-x": {
        "litellm_provider": "anthropic",
        "mode": "chat",
        "input_cost_per_token": 3e-06,
        "output_cost_per_token": 1.5e-05,
        "input_cost_per_token_batches": 1.5e-06,
        "output_cost_per_token_batches": 7.5e-06,
        "max_input_tokens": 200_000,
        "max_output_tokens": 64_000.0,
        "max_tokens": 64_000,
        "supports_vision": True,
        "supports_function_calling": True,
        "supports_pdf_input": False,
        "supports_sampling_params": False,
        "supports_assistant_prefill": True,
        "supports_tool_choice": False,
        "thinking_always_on": True,
        "prompt_cache_min_tokens": 1_024,
        "deprecation_date": "2027-04-08",
    },
    "gemini/flash": {
        "litellm_provider": "gemini",
        "mode": "chat",
        "input_cost_per_token_flex": 1e-06,
        "output_cost_per_token_flex": 2e-06,
        "max_tokens": 8_192,
    },
    "flash": {"litellm_provider": "vertex_ai-language-models", "mode": "chat"},
    "anthropic.claude-x": {"litellm_provider": "bedrock_converse", "mode": "chat"},
    "together_ai/meta-llama/Llama": {
        "litellm_provider": "together_ai",
        "mode": "chat",
        "supports_forced_tool_use": False,
    },
}
RAW = json.dumps(MAP).encode()


@pytest.fixture
def catalog() -> Catalog:
    return parse_catalog(RAW)


def test_the_revision_is_the_sha256_of_the_bytes(catalog: Catalog) -> None:
    assert catalog.revision == hashlib.sha256(RAW).hexdigest()
    assert parse_catalog(RAW + b"\n").revision != catalog.revision


def test_a_card_says_what_the_entry_says(catalog: Catalog) -> None:
    card = catalog.card("anthropic/claude-x")
    assert card is not None
    assert (card.name, card.provider, card.mode) == ("claude-x", "anthropic", "chat")
    assert card.prices is not None
    assert (card.prices.base.input, card.prices.base.output_text) == (3 * USD, 15 * USD)
    assert card.batch is not None
    assert card.batch.base.input == 3 * USD // 2
    assert card.flex is None
    assert (card.context_window, card.max_output_tokens, card.prompt_cache_min_tokens) == (200_000, 64_000, 1_024)
    assert card.thinking_always_on
    assert card.deprecation_date == date(2027, 4, 8)


def test_only_what_is_said_to_be_true_is_a_capability(catalog: Catalog) -> None:
    card = catalog.card("anthropic/claude-x")
    assert card is not None
    assert card.capabilities == {"vision", "tools"}


def test_only_what_is_said_to_be_false_is_refused(catalog: Catalog) -> None:
    refused = {name: card.refuses for name in catalog.entries if (card := catalog.card(name))}
    assert refused["claude-x"] == {"sampling_params", "forced_tool_use"}
    assert refused["together_ai/meta-llama/Llama"] == {"forced_tool_use"}
    assert refused["gemini/flash"] == frozenset()


@pytest.mark.parametrize(
    ("name", "flags", "sampling"),
    [
        ("gpt-x", {"supports_none_reasoning_effort": False}, "sampling_params"),
        ("o9", {}, "sampling_params"),
        (
            "gpt-x.1",
            {"supports_none_reasoning_effort": True, "default_reasoning_effort": "none"},
            SAMPLING_BESIDE_EFFORT,
        ),
        ("gpt-x.5", {"supports_none_reasoning_effort": True}, SAMPLING_UNLESS_NONE),
    ],
)
def test_what_openais_reasoning_models_refuse_needs_no_flag(name: str, flags: dict[str, Any], sampling: str) -> None:
    entry = {"litellm_provider": "openai", "mode": "chat", "supports_reasoning": True, **flags}
    assert card_of(name, entry).refuses == {*REASONING_REFUSES, sampling}
    assert card_of(f"{name}-chat-latest", entry).refuses == frozenset()
    assert card_of(name, {**entry, "supports_reasoning": False}).refuses == frozenset()
    assert card_of(name, {**entry, "litellm_provider": "openrouter"}).refuses == frozenset()


def test_what_is_not_said_is_unknown_and_not_zero(catalog: Catalog) -> None:
    card = catalog.card("together_ai/meta-llama/Llama")
    assert card is not None
    assert (card.prices, card.context_window, card.max_output_tokens) == (None, None, None)
    assert (card.deprecation_date, card.prompt_cache_min_tokens, card.thinking_always_on) == (None, None, False)


def test_the_older_name_of_the_window_is_read(catalog: Catalog) -> None:
    card = catalog.card("gemini/flash")
    assert card is not None
    assert (card.context_window, card.max_output_tokens) == (8_192, None)


@pytest.mark.parametrize(
    ("provider_model", "key"),
    [
        ("anthropic/claude-x", "claude-x"),
        ("claude-x", "claude-x"),
        ("gemini/flash", "gemini/flash"),
        ("vertex_ai/flash", "flash"),
        ("bedrock/anthropic.claude-x", "anthropic.claude-x"),
        ("together_ai/meta-llama/Llama", "together_ai/meta-llama/Llama"),
        ("openai/claude-x", None),  # sold by somebody else, at somebody else's price
        ("bedrock/claude-x", None),
        ("anthropic/flash", None),
        ("meta-llama/Llama", None),
        ("sample_spec", None),
        ("", None),
    ],
)
def test_a_name_finds_the_entry_of_its_own_provider(catalog: Catalog, provider_model: str, key: str | None) -> None:
    card = catalog.card(provider_model)
    assert (card.name if card else None) == key


def test_a_card_is_built_once(catalog: Catalog) -> None:
    assert catalog.card("anthropic/claude-x") is catalog.card("claude-x")


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("anthropic/claude-y", "anthropic/claude-x"),
        ("claude-xx", "anthropic/claude-x"),
        ("openai/claude-x", "anthropic/claude-x"),
        ("vertex_ai/flesh", "vertex_ai/flash"),
        ("together_ai/meta-llama/Lama", "together_ai/meta-llama/Llama"),
    ],
)
def test_a_close_name_is_one_that_a_policy_can_write(catalog: Catalog, typo: str, meant: str) -> None:
    assert catalog.close_names(typo)[0] == meant
    assert all(catalog.card(name) is not None for name in catalog.close_names(typo))


def test_nothing_is_close_to_nonsense(catalog: Catalog) -> None:
    assert catalog.close_names("nothing of the kind") == ()


@pytest.mark.parametrize("raw", [b"[]", b"1", b"", b"{", b"\xff", b'{"a": NaN', b"null"])
def test_bytes_that_are_no_map_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_catalog(raw)


@pytest.mark.parametrize("price", ["NaN", "Infinity", "-Infinity", "1e9999999999999999999"])
def test_a_price_that_is_no_finite_number_is_refused(price: str) -> None:
    raw = f'{{"m": {{"input_cost_per_token": {price}, "output_cost_per_token": 1}}}}'
    with pytest.raises(ValueError, match=r"no price|no decimal"):
        parse_catalog(raw.encode())
