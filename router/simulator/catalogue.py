"""The vendors' price list, read from the raw catalogue file and applied in exact decimals.

This is deliberately a second implementation: it shares no code with the gateway's own pricing, so that a mistake in one
of them shows up as a difference between the ledger and the simulator's bill. The file's shape is litellm's
`model_prices` map: USD per token, `..._above_<N>k_tokens` for context tiers, `..._above_1hr` for one-hour cache writes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

PriceOverride: TypeAlias = "Mapping[str, Any]"

PREFIXES: dict[str, tuple[str, ...]] = {
    "anthropic": ("", "anthropic/"),
    "google": ("gemini/",),
    "openai": (
        *("together_ai/", "groq/", "fireworks_ai/", "deepinfra/", "cerebras/", "hosted_vllm/", "ollama_chat/"),
        *("ollama/", "openai/", "openrouter/", "sambanova/", "nebius/", "novita/"),
    ),
}
PROVIDERS: dict[str, tuple[str, ...]] = {"anthropic": ("anthropic",), "google": ("gemini",), "openai": ()}
PACKAGED = Path(__file__).resolve().parent.parent / "data" / "prices.json"

_TIER = re.compile(r"_above_(\d+)k_tokens$")
NAMES_MAX = 10_000
_MTOK = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Usage:
    """One call's tokens in disjoint buckets."""

    input_uncached: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output_text: int = 0
    output_reasoning: int = 0

    @property
    def input_tokens(self) -> int:
        """Every prompt token, cached or not: what a context tier is judged by."""
        return self.input_uncached + self.cache_read + self.cache_write_5m + self.cache_write_1h

    @property
    def output_tokens(self) -> int:
        """Every generated token, reasoning included."""
        return self.output_text + self.output_reasoning


@dataclass(frozen=True, slots=True)
class Tariff:
    """USD per token, valid for prompts of more than ``input_tokens_above`` tokens."""

    input_tokens_above: int
    input: Decimal
    output: Decimal
    reasoning: Decimal
    cache_read: Decimal
    cache_write_5m: Decimal
    cache_write_1h: Decimal


@dataclass(frozen=True, slots=True)
class Model:
    """What a vendor knows of one of its models: prices, limits and what it accepts.

    ``tariffs`` are ascending by threshold, the first at 0. A flag that the catalogue does not state is None.
    """

    name: str
    tariffs: tuple[Tariff, ...]
    context_tokens_max: int
    output_tokens_max: int
    cache_tokens_min: int
    thinks_always: bool
    flags: Mapping[str, bool]

    def refuses(self, capability: str) -> bool:
        """Whether the catalogue says outright that the model does not take this."""
        return self.flags.get(capability) is False

    def offers(self, capability: str) -> bool:
        """Whether the catalogue says that the model takes this."""
        return self.flags.get(capability) is True

    def cost_usd_of(self, usage: Usage) -> Decimal:
        """The exact price of one call; a prompt above a tier's threshold is priced at that tier throughout."""
        prompt_tokens = usage.input_tokens
        tariff = next(t for t in reversed(self.tariffs) if prompt_tokens > t.input_tokens_above or t is self.tariffs[0])
        return (
            tariff.input * usage.input_uncached
            + tariff.cache_read * usage.cache_read
            + tariff.cache_write_5m * usage.cache_write_5m
            + tariff.cache_write_1h * usage.cache_write_1h
            + tariff.output * usage.output_text
            + tariff.reasoning * usage.output_reasoning
        )


def decimal_text(amount: Decimal) -> str:
    """An amount in plain notation, without an exponent or trailing zeros."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _tariff_at(entry: Mapping[str, Any], threshold_k: int) -> Tariff:
    """The tariff above ``threshold_k`` thousand tokens: what the tier does not price stays at the base price."""
    suffix = f"_above_{threshold_k}k_tokens" if threshold_k else ""

    def price(key: str) -> Decimal | None:
        value = entry.get(key + suffix)
        value = entry.get(key) if value is None else value
        return None if value is None else Decimal(value)

    input_price = price("input_cost_per_token") or Decimal(0)
    output_price = price("output_cost_per_token") or Decimal(0)
    reasoning = entry.get(f"output_cost_per_reasoning_token{suffix}")
    base_reasoning = entry.get("output_cost_per_reasoning_token")
    if reasoning is None and base_reasoning is not None and base_reasoning != entry.get("output_cost_per_token"):
        reasoning = base_reasoning
    write_5m = price("cache_creation_input_token_cost")
    write_5m = input_price if write_5m is None else write_5m
    write_1h = price("cache_creation_input_token_cost_above_1hr")
    cache_read = price("cache_read_input_token_cost")
    return Tariff(
        input_tokens_above=threshold_k * 1000,
        input=input_price,
        output=output_price,
        reasoning=output_price if reasoning is None else Decimal(reasoning),
        cache_read=input_price if cache_read is None else cache_read,
        cache_write_5m=write_5m,
        cache_write_1h=write_5m if write_1h is None else write_1h,
    )


def _model_of(name: str, entry: Mapping[str, Any]) -> Model:
    thresholds = {int(m[1]) for key in entry if "_cost_per_token_" in key and (m := _TIER.search(key))}
    context = int(entry.get("max_input_tokens") or entry.get("max_tokens") or 131_072)
    output_max = int(entry.get("max_output_tokens") or entry.get("max_tokens") or context)
    flags = {key: value for key, value in entry.items() if key.startswith("supports_") and isinstance(value, bool)}
    return Model(
        name=name,
        tariffs=tuple(_tariff_at(entry, k) for k in (0, *sorted(thresholds))),
        context_tokens_max=context,
        output_tokens_max=output_max,
        cache_tokens_min=int(entry.get("prompt_cache_min_tokens") or (2048 if name.startswith("gemini") else 1024)),
        thinks_always=bool(entry.get("thinking_always_on")),
        flags=flags,
    )


def _overridden(model: Model, override: PriceOverride) -> Model:
    """The model at a contract's prices, in USD per million tokens, with its context tiers where it has some.

    What a tier leaves out costs as input or output; `above` lists `{input_tokens, input, output, ..}`.
    """
    tiers = sorted(override.get("above", ()), key=lambda tier: int(tier["input_tokens"]))
    tariffs = [_contract_tariff(override, 0), *(_contract_tariff(tier, int(tier["input_tokens"])) for tier in tiers)]
    return replace(model, tariffs=tuple(tariffs))


def _contract_tariff(prices: PriceOverride, above: int) -> Tariff:
    def per_token(key: str, fallback: str) -> Decimal:
        return Decimal(str(prices.get(key, prices[fallback]))) / _MTOK

    return Tariff(
        input_tokens_above=above,
        input=per_token("input", "input"),
        output=per_token("output", "output"),
        reasoning=per_token("reasoning", "output"),
        cache_read=per_token("cache_read", "input"),
        cache_write_5m=per_token("cache_write_5m", "input"),
        cache_write_1h=per_token("cache_write_1h", "cache_write_5m" if "cache_write_5m" in prices else "input"),
    )


class Catalogue:
    """Every model of every simulated vendor, by the vendor's own model id."""

    def __init__(self, entries: Mapping[str, Any], prices_override: Mapping[str, PriceOverride] | None = None) -> None:
        """Take the parsed catalogue file and contract prices by model id, with or without the catalogue's prefix."""
        self._entries = entries
        self._override = dict(prices_override or {})
        self._models: dict[tuple[str, str, str], Model | None] = {}

    def find(self, vendor: str, name: str, host: str = "") -> Model | None:
        """The vendor's model of that id, or None when the vendor does not sell it.

        Hosts of open models sell the same model at different prices: with ``host`` it is that one's, without the first
        host's that sells it.
        """
        key = (vendor, host, name)
        if key not in self._models:
            if len(self._models) > NAMES_MAX:  # names come from callers
                self._models.clear()
            self._models[key] = self._lookup(vendor, name, (f"{host}/",) if host else PREFIXES[vendor])
        return self._models[key]

    def names(self, vendor: str, host: str = "") -> list[str]:
        """The ids a vendor lists: of OpenAI-compatible hosts the named or the first one's, and every override."""
        prefix = f"{host}/" if host else PREFIXES[vendor][0] if vendor == "openai" else PREFIXES[vendor][-1]
        listed = {
            key.removeprefix(prefix)
            for key, entry in self._entries.items()
            if isinstance(entry, dict) and entry.get("mode") == "chat" and key.startswith(prefix)
        }
        if vendor == "openai":
            prefixes = (prefix,) if host else PREFIXES[vendor]
            for key in self._override:
                used = next((p for p in prefixes if key.startswith(p)), None)
                if used is not None:
                    listed.add(key.removeprefix(used))
        return sorted(listed)

    def _lookup(self, vendor: str, name: str, prefixes: tuple[str, ...]) -> Model | None:
        model = None
        for prefix in prefixes:
            entry = self._entries.get(prefix + name)
            if isinstance(entry, dict) and entry.get("mode") in ("chat", "completion", "responses"):
                providers = PROVIDERS[vendor]
                if not providers or entry.get("litellm_provider") in providers:
                    model = _model_of(name, entry)
                    break
        for key in (*(prefix + name for prefix in prefixes), name):
            if key in self._override:
                return _overridden(model or _model_of(name, {}), self._override[key])
        return model


def load_catalogue(
    path: str | Path | None = None, prices_override: Mapping[str, PriceOverride] | None = None
) -> Catalogue:
    """Read the raw catalogue file (the packaged one by default), every number as an exact decimal.

    Raises:
        OSError: when the file cannot be read.
        ValueError: when it is not a JSON object.
    """
    text = Path(path or PACKAGED).read_text(encoding="utf-8")
    entries = json.loads(text, parse_float=Decimal)
    if not isinstance(entries, dict):
        raise ValueError(f"{path or PACKAGED}: a price catalogue is a JSON object of models")  # noqa: TRY004
    return Catalogue(entries, prices_override)
