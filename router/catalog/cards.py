"""Models as the pinned price map describes them: prices, windows, limits, what they can and what they refuse."""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from router.catalog.entry_prices import schedule_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.catalog.prices import PriceSchedule

# The map's flag -> our capability, where it is true.
CAPABILITY_FLAGS: Mapping[str, str] = {
    "supports_vision": "vision",
    "supports_function_calling": "tools",
    "supports_parallel_function_calling": "parallel_tools",
    "supports_response_schema": "response_schema",
    "supports_native_structured_output": "native_structured_output",
    "supports_pdf_input": "pdf",
    "supports_prompt_caching": "prompt_caching",
    "supports_reasoning": "reasoning",
    "supports_adaptive_thinking": "adaptive_thinking",
    "supports_system_messages": "system",
    "supports_audio_input": "audio_input",
    "supports_output_config": "output_config",
    "supports_none_reasoning_effort": "none_effort",
    "supports_minimal_reasoning_effort": "minimal_effort",
    "supports_xhigh_reasoning_effort": "xhigh_effort",
}
# Whose tokens come with their probabilities the map does not say: a policy states it.
LOGPROBS = "logprobs"
# The map's flag -> what the model answers with a 400, where it is *explicitly* false: silence refuses nothing.
REFUSAL_FLAGS: Mapping[str, str] = {
    "supports_sampling_params": "sampling_params",
    "supports_assistant_prefill": "assistant_prefill",
    "supports_forced_tool_use": "forced_tool_use",
    "supports_tool_choice": "forced_tool_use",
    "supports_minimal_reasoning_effort": "minimal_effort",
}
# What OpenAI's reasoning models answer with a 400 and the map has no flag for. docs: Reasoning models, Chat Completions
# (OpenAI); litellm 1.109.1 leaves the same out. Its chat models (`gpt-5-chat`, `chat-latest`) take it all.
REASONING_REFUSES = frozenset({"frequency_penalty", "presence_penalty", "logit_bias", "stop"})
# `sampling_params` where nothing else is asked for: while they reason, which those of `default_reasoning_effort: none`
# do on request alone, and those that can be told not to do unless they are.
SAMPLING_BESIDE_EFFORT, SAMPLING_UNLESS_NONE = "sampling_beside_effort", "sampling_unless_none"
REASONING_HOSTS = frozenset({"openai", "azure"})
# The provider that a policy names -> how the map's keys without a provider's prefix call it.
HOSTED_AS: Mapping[str, tuple[str, ...]] = {
    "bedrock": ("bedrock", "bedrock_converse"),
    "cohere": ("cohere", "cohere_chat"),
    "vertex_ai": ("vertex_ai", "vertex_ai-language-models"),
}


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One entry of the catalogue. ``prices`` is None where the map names none; tokens are counts, None is unknown."""

    name: str
    provider: str
    mode: str
    prices: PriceSchedule | None
    context_window: int | None
    max_output_tokens: int | None
    capabilities: frozenset[str]
    refuses: frozenset[str]
    thinking_always_on: bool
    prompt_cache_min_tokens: int | None
    deprecation_date: date | None
    batch: PriceSchedule | None = None
    flex: PriceSchedule | None = None


def _count(entry: Mapping[str, object], key: str) -> int | None:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or value <= 0:
        return None
    return int(value)


def _refuses(name: str, entry: Mapping[str, object]) -> frozenset[str]:
    """What the model answers with a 400."""
    found = frozenset(ours for theirs, ours in REFUSAL_FLAGS.items() if entry.get(theirs) is False)
    is_reasoning = entry.get("litellm_provider") in REASONING_HOSTS and entry.get("supports_reasoning") is True
    if not is_reasoning or "chat" in name:
        return found
    if entry.get("default_reasoning_effort") == "none":
        sampling = SAMPLING_BESIDE_EFFORT
    else:
        is_told = entry.get("supports_none_reasoning_effort") is True
        sampling = SAMPLING_UNLESS_NONE if is_told else "sampling_params"
    return found | REASONING_REFUSES | {sampling}


def card_of(name: str, entry: Mapping[str, object]) -> ModelCard:
    """The entry as a card. Raises ValueError on a price that is not finite or a date that is none."""
    retired = entry.get("deprecation_date")
    return ModelCard(
        name=name,
        provider=str(entry.get("litellm_provider", "")),
        mode=str(entry.get("mode", "")),
        prices=schedule_of(entry),
        context_window=_count(entry, "max_input_tokens") or _count(entry, "max_tokens"),
        max_output_tokens=_count(entry, "max_output_tokens"),
        capabilities=frozenset(ours for theirs, ours in CAPABILITY_FLAGS.items() if entry.get(theirs) is True),
        refuses=_refuses(name, entry),
        thinking_always_on=entry.get("thinking_always_on") is True,
        prompt_cache_min_tokens=_count(entry, "prompt_cache_min_tokens"),
        deprecation_date=date.fromisoformat(retired) if isinstance(retired, str) else None,
        batch=schedule_of(entry, "_batches"),
        flex=schedule_of(entry, "_flex"),
    )


@dataclass(frozen=True, slots=True)
class Catalog:
    """The pinned map. ``revision`` is its sha256; cards are built when first asked for."""

    revision: str
    entries: Mapping[str, Mapping[str, object]] = field(repr=False)
    _built: dict[str, ModelCard] = field(default_factory=dict, repr=False, compare=False)

    def key_of(self, provider_model: str) -> str | None:
        """The map's key for a name such as ``anthropic/claude-opus-5-5``; None when it has none.

        The map keys some vendors' models without their provider: then the entry's own provider must agree.
        """
        if provider_model in self.entries:
            return provider_model
        provider, _, bare = provider_model.partition("/")
        entry = self.entries.get(bare)
        hosted_as = HOSTED_AS.get(provider, (provider,))
        return bare if entry is not None and entry.get("litellm_provider") in hosted_as else None

    def card(self, provider_model: str) -> ModelCard | None:
        """The model's card; None when the map does not know it."""
        key = self.key_of(provider_model)
        if key is None:
            return None
        card = self._built.get(key)
        if card is None:
            card = self._built[key] = card_of(key, self.entries[key])
        return card

    def close_names(self, name: str, limit: int = 3) -> tuple[str, ...]:
        """Names as a policy writes them that the given one may have meant, nearest first."""
        known = {key if "/" in key else f"{_provider_of(entry)}/{key}" for key, entry in self.entries.items()}
        close = difflib.get_close_matches(name, sorted(known), limit, 0.75)
        if close:
            return tuple(close)
        # Without its provider, or with another one: compare what comes after.
        of_bare: dict[str, str] = {}
        for each in sorted(known, key=lambda each: (each.count("/"), each)):
            of_bare.setdefault(each.rsplit("/", 1)[-1], each)
        return tuple(of_bare[bare] for bare in difflib.get_close_matches(name.rsplit("/", 1)[-1], of_bare, limit, 0.75))


def _provider_of(entry: Mapping[str, object]) -> str:
    stated = str(entry.get("litellm_provider", ""))
    return next((provider for provider, names in HOSTED_AS.items() if stated in names), stated)


def _refuse_constant(text: str) -> object:
    raise ValueError(f"{text} is no price")


def parse_catalog(raw: bytes) -> Catalog:
    """The catalogue of a price map's bytes, numbers as exact decimals. Raises ValueError on what is no such map."""
    try:
        entries = json.loads(raw, parse_float=Decimal, parse_constant=_refuse_constant)
    except InvalidOperation as error:
        raise ValueError("a number that no decimal holds") from error
    if not isinstance(entries, dict):
        raise ValueError("a price map is a JSON object")  # noqa: TRY004  # the bytes are wrong, not a caller's type
    entries.pop("sample_spec", None)
    return Catalog(revision=hashlib.sha256(raw).hexdigest(), entries=entries)
