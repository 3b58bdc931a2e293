"""Models as the pinned price map describes them: prices, windows, limits, what they can and what they refuse."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from router.catalog.prices import PriceSchedule, PriceTier
from router.money import price_per_mtok_of

if TYPE_CHECKING:
    from collections.abc import Mapping

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
}
# The map's flag -> what the model answers with a 400, where it is *explicitly* false: silence refuses nothing.
REFUSAL_FLAGS: Mapping[str, str] = {
    "supports_sampling_params": "sampling_params",
    "supports_assistant_prefill": "assistant_prefill",
    "supports_forced_tool_use": "forced_tool_use",
}
TIER_KEY = re.compile(r"_above_(\d+)k_tokens$")
SERVICE_SUFFIXES: Mapping[str, str] = {"batch": "_batches", "flex": "_flex"}


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


def _price(entry: Mapping[str, object], key: str) -> int | None:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        return None
    return price_per_mtok_of(Decimal(value))


def _tier(entry: Mapping[str, object], suffix: str, service: str, above: int, under: PriceTier | None) -> PriceTier:
    """One tier; what it does not name is the tier's own input or output where it names those, else the tier below's."""

    def named(stem: str, fallback: int | None) -> int | None:
        found = _price(entry, f"{stem}{suffix}{service}")
        return found if found is not None else fallback

    own_input = named("input_cost_per_token", None)
    own_output = named("output_cost_per_token", None)
    tier_input = own_input if own_input is not None else (under.input if under else 0)
    tier_output = own_output if own_output is not None else (under.output_text if under else 0)
    read = named("cache_read_input_token_cost", None)
    write = named("cache_creation_input_token_cost", None)
    write_1h = named("cache_creation_input_token_cost_above_1hr", None)
    reasoning = named("output_cost_per_reasoning_token", None)
    return PriceTier(
        above_input_tokens=above,
        input=tier_input,
        cache_read=tier_input if read is None else read,
        cache_write_5m=tier_input if write is None else write,
        cache_write_1h=(tier_input if write is None else write) if write_1h is None else write_1h,
        output_text=tier_output,
        output_reasoning=tier_output if reasoning is None else reasoning,
    )


def schedule_of(entry: Mapping[str, object], service: str = "") -> PriceSchedule | None:
    """The entry's price schedule for a service tier (``""``, ``_batches``, ``_flex``); None where it names no price.

    Where a cache price is missing, a cache read or write is billed as plain input of its tier.
    """
    if (
        _price(entry, f"input_cost_per_token{service}") is None
        or _price(entry, f"output_cost_per_token{service}") is None
    ):
        return None
    bounds = set()
    for key in entry:
        stem = key.removesuffix(service) if service else key
        match = TIER_KEY.search(stem)
        if match and key.endswith(service or match.group(0)) and "input_cost_per_token" in key:
            bounds.add(int(match.group(1)))
    tiers = [_tier(entry, "", service, -1, None)]
    for thousands in sorted(bounds):
        tiers.append(_tier(entry, f"_above_{thousands}k_tokens", service, thousands * 1_000, tiers[-1]))
    return PriceSchedule(tuple(tiers))


def _count(entry: Mapping[str, object], key: str) -> int | None:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or value <= 0:
        return None
    return int(value)


def card_of(name: str, entry: Mapping[str, object]) -> ModelCard:
    """The entry as a card. Raises ValueError where a price is no whole number of nano-USD per million tokens."""
    retired = entry.get("deprecation_date")
    try:
        deprecation = date.fromisoformat(retired) if isinstance(retired, str) else None
    except ValueError:
        deprecation = None  # the map holds some dates in words; the lint names them
    return ModelCard(
        name=name,
        provider=str(entry.get("litellm_provider", "")),
        mode=str(entry.get("mode", "")),
        prices=schedule_of(entry),
        context_window=_count(entry, "max_input_tokens") or _count(entry, "max_tokens"),
        max_output_tokens=_count(entry, "max_output_tokens"),
        capabilities=frozenset(ours for theirs, ours in CAPABILITY_FLAGS.items() if entry.get(theirs) is True),
        refuses=frozenset(ours for theirs, ours in REFUSAL_FLAGS.items() if entry.get(theirs) is False),
        thinking_always_on=entry.get("thinking_always_on") is True,
        prompt_cache_min_tokens=_count(entry, "prompt_cache_min_tokens"),
        deprecation_date=deprecation,
        batch=schedule_of(entry, SERVICE_SUFFIXES["batch"]),
        flex=schedule_of(entry, SERVICE_SUFFIXES["flex"]),
    )


@dataclass(frozen=True, slots=True)
class Catalog:
    """The pinned map. ``revision`` is its sha256; cards are built when first asked for."""

    revision: str
    entries: Mapping[str, Mapping[str, object]]
    _built: dict[str, ModelCard] = field(default_factory=dict, repr=False, compare=False)

    def key_of(self, provider_model: str) -> str | None:
        """The map's key for a name such as ``anthropic/claude-opus-5-5``; None when it has none.

        The map keys some vendors' models without their provider: then the entry's own provider must agree.
        """
        if provider_model in self.entries:
            return provider_model
        provider, _, bare = provider_model.partition("/")
        entry = self.entries.get(bare)
        return bare if entry is not None and entry.get("litellm_provider") == provider else None

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
        """Names of the map that the given one may have meant, nearest first."""
        bare = name.rsplit("/", 1)[-1]
        return tuple(difflib.get_close_matches(name, self.entries, limit, 0.75)) or tuple(
            difflib.get_close_matches(bare, self.entries, limit, 0.75)
        )


def parse_catalog(raw: bytes) -> Catalog:
    """The catalogue of a price map's bytes, numbers as exact decimals. Raises ValueError on what is no such map."""
    entries = json.loads(raw, parse_float=Decimal)
    if not isinstance(entries, dict):
        raise ValueError("a price map is a JSON object")  # noqa: TRY004  # the bytes are wrong, not a caller's type
    entries.pop("sample_spec", None)
    return Catalog(revision=hashlib.sha256(raw).hexdigest(), entries=entries)
