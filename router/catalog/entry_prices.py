"""Price schedules out of the map's entries: which key prices which bucket, and what a missing key means.

The map states USD per token under a bucket's key, then a context tier's suffix (`_above_200k_tokens`), then a
service's (`_batches`, `_flex`). The rules for what it does not state:

- a context tier keeps the price of the tier below;
- a cache read or write without any price is plain input; a one-hour write is a five-minute write;
- Fireworks bills a cache read at half of plain input unless it states another price;
- reasoning is output;
- what a service does not price costs as in the standard service, its tiers too: a discount is never assumed.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from router.catalog.prices import BASE_TIER_ABOVE, PriceSchedule, PriceTier
from router.money import NanoUsdPerMtok, price_per_mtok_of

if TYPE_CHECKING:
    from collections.abc import Mapping

INPUT = "input_cost_per_token"
OUTPUT = "output_cost_per_token"
CACHE_READ = "cache_read_input_token_cost"
CACHE_WRITE = "cache_creation_input_token_cost"
CACHE_WRITE_1H = "cache_creation_input_token_cost_above_1hr"
REASONING = "output_cost_per_reasoning_token"
CACHE_KEYS = (CACHE_READ, CACHE_WRITE, CACHE_WRITE_1H)
TIER_KEYS = (INPUT, OUTPUT, *CACHE_KEYS)
TIER = re.compile(r"_above_(\d+)k_tokens$")
# At exactly the threshold these hosts already bill the upper tier (docs.x.ai; litellm: _INCLUSIVE_THRESHOLD_PROVIDERS).
INCLUSIVE_PROVIDERS = frozenset({"xai"})
# docs.fireworks.ai, serverless pricing; litellm: FIREWORKS_AI_DEFAULT_CACHE_READ_RATE_RATIO.
HALF_PRICE_CACHE_PROVIDERS = frozenset({"fireworks_ai"})

Stated: TypeAlias = "dict[str, NanoUsdPerMtok]"


def price_of(entry: Mapping[str, object], key: str) -> NanoUsdPerMtok | None:
    """The price under a key; None where the entry states none. An explicit 0 is a price."""
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        return None
    return price_per_mtok_of(Decimal(value))


def _stated(entry: Mapping[str, object], suffixes: tuple[str, ...], below: Stated | None) -> Stated:
    """What the entry states under the first suffix that it has, over what the tier below states."""
    found = dict(below or {})
    restates_output = False
    for key in TIER_KEYS:
        prices = (price_of(entry, key + suffix) for suffix in suffixes)
        price = next((each for each in prices if each is not None), None)
        if price is not None:
            found[key] = price
            restates_output |= key == OUTPUT
    reasoning = price_of(entry, REASONING + suffixes[0])
    if reasoning is not None:
        found[REASONING] = reasoning
    elif restates_output:  # the reasoning of the tier below would be half a price
        found.pop(REASONING, None)
    return found


def _tier_of(stated: Stated, above: int) -> PriceTier:
    plain, output = stated[INPUT], stated[OUTPUT]
    write = stated.get(CACHE_WRITE, plain)
    return PriceTier(
        above_input_tokens=above,
        input=plain,
        cache_read=stated.get(CACHE_READ, plain),
        cache_write_5m=write,
        cache_write_1h=stated.get(CACHE_WRITE_1H, write),
        output_text=output,
        output_reasoning=stated.get(REASONING, output),
    )


def _thresholds(entry: Mapping[str, object], service: str) -> list[int]:
    """The context tiers of the standard service and of this one, in thousands of tokens, rising."""
    found = set()
    for key in entry:
        if key.startswith(TIER_KEYS):
            match = TIER.search(key.removesuffix(service))
            if match:
                found.add(int(match[1]))
    return sorted(found)


def _schedule_of_table(entry: Mapping[str, object], table: list[object]) -> PriceSchedule | None:
    """Prices stated as a table of `range: [above, up to]` rows, each row complete in itself; the last has no end."""
    tiers: list[PriceTier] = []
    rows = [row for row in table if isinstance(row, dict) and isinstance(row.get("range"), list)]
    for row in sorted(rows, key=lambda row: Decimal(row["range"][0])):
        stated = _stated(row, ("",), None)
        if INPUT not in stated:
            return None
        output = price_of(entry, OUTPUT)
        if output is not None:
            stated.setdefault(OUTPUT, output)
        if OUTPUT not in stated:
            return None
        tiers.append(_tier_of(stated, int(row["range"][0]) if tiers else BASE_TIER_ABOVE))
    return PriceSchedule(tuple(tiers)) if tiers else None


def schedule_of(entry: Mapping[str, object], service: str = "") -> PriceSchedule | None:
    """The entry's schedule for a service (``""``, ``_batches``, ``_flex``); None where input or output has no price."""
    table = entry.get("tiered_pricing")
    if isinstance(table, list) and not service:
        return _schedule_of_table(entry, table)
    if price_of(entry, INPUT + service) is None or price_of(entry, OUTPUT + service) is None:
        return None
    provider = entry.get("litellm_provider")
    is_inclusive = provider in INCLUSIVE_PROVIDERS
    tiers: list[PriceTier] = []
    stated: Stated | None = None
    for thousands in (0, *_thresholds(entry, service)):
        tier = f"_above_{thousands}k_tokens" if thousands else ""
        stated = _stated(entry, (tier + service, tier), stated)
        if provider in HALF_PRICE_CACHE_PROVIDERS:
            stated.setdefault(CACHE_READ, stated[INPUT] // 2)
        tiers.append(_tier_of(stated, thousands * 1_000 - is_inclusive if thousands else BASE_TIER_ABOVE))
    return PriceSchedule(tuple(tiers))
