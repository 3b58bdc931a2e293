"""Our cost against litellm's own calculator, to the nano-dollar, on every priced chat model of the map.

litellm reckons in floats and we in integers, so "equal" is: their float lies within half a nano-dollar (and a float's
noise) of our integer. Where the two differ the table `EXCEPTIONS` says why; an entry that no longer differs fails.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from router.catalog import Catalog, ModelCard, PriceSchedule, cost_nanousd
from router.config.prices import load_catalog
from router.tokens import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

# Read by litellm's first import, whichever test makes it: without it the map would come from the network.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
pytestmark = pytest.mark.filterwarnings("ignore")  # litellm's own warnings are not what is tested

OUR_FAMILIES = re.compile(r"claude|gemini|llama", re.IGNORECASE)
HALF_A_NANO = 0.5 + 1e-4
# Ten DeepSeek entries cost half at some hours (UTC); then the catalogue's price is the dearer one. This is a Tuesday.
PEAK, OFF_PEAK = datetime(2026, 11, 24, 2, tzinfo=UTC), datetime(2026, 11, 24, 12, tzinfo=UTC)
LITELLM_PROVIDER = {"bedrock_converse": "bedrock"}


@dataclass(frozen=True)
class Difference:
    """Models (by name) and usages where litellm's figure is not ours, and why."""

    models: re.Pattern[str]
    applies: Callable[[TokenUsage], bool]
    why: str


EXCEPTIONS = {
    "tables-at-zero-input": Difference(
        re.compile(r"^(dashscope|qwencloud|qwen_ai_platform|volcengine)/"),
        lambda usage: usage.input_tokens == 0,
        "litellm finds no row of a table of ranges for an empty prompt and bills the answer nothing",
    ),
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="module")
def litellm() -> ModuleType:
    import litellm

    litellm.suppress_debug_info = True
    return litellm


def policy_name_of(card: ModelCard) -> str:
    """How a policy names the model; where the map has a bare and a prefixed key, this finds the prefixed one."""
    return card.name if "/" in card.name else f"{provider_of(card)}/{card.name}"


def provider_of(card: ModelCard) -> str:
    return "vertex_ai" if card.provider.startswith("vertex_ai") else LITELLM_PROVIDER.get(card.provider, card.provider)


def chat_cards(catalog: Catalog) -> list[ModelCard]:
    cards = {}
    for key in catalog.entries:
        card = catalog.card(key)
        assert card is not None
        card = catalog.card(policy_name_of(card)) or card
        if card.mode == "chat" and card.prices is not None and card.prices.base.input > 0:
            cards[card.name] = card
    return list(cards.values())


def usages_of(schedule: PriceSchedule) -> Iterator[TokenUsage]:
    """Every bucket alone and all together, at small and large sizes and on both sides of each tier's boundary."""
    sizes = {0, 1, 999, 32_000, 128_001, 1_000_000}
    for tier in schedule.tiers[1:]:
        sizes |= {tier.above_input_tokens - 1, tier.above_input_tokens, tier.above_input_tokens + 1}
    for size in sorted(sizes):
        part = size // 5
        yield TokenUsage(input_uncached=size, output_text=777)
        yield TokenUsage(cache_read=size, output_text=777)
        yield TokenUsage(cache_write_5m=size, output_text=777)
        yield TokenUsage(cache_write_1h=size, output_text=777)
        yield TokenUsage(input_uncached=size, output_reasoning=555)
        yield TokenUsage(size - 4 * part, part, part, 2 * part, output_text=333, output_reasoning=444)


def litellm_nanousd(litellm: ModuleType, card: ModelCard, usage: TokenUsage, **options: object) -> float:
    from litellm.types.utils import (
        CacheCreationTokenDetails,
        CompletionTokensDetailsWrapper,
        PromptTokensDetailsWrapper,
        Usage,
    )

    reported = Usage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
        prompt_tokens_details=PromptTokensDetailsWrapper(
            text_tokens=usage.input_uncached,
            cached_tokens=usage.cache_read,
            cache_creation_tokens=usage.cache_write_5m + usage.cache_write_1h,
            cache_creation_token_details=CacheCreationTokenDetails(
                ephemeral_5m_input_tokens=usage.cache_write_5m, ephemeral_1h_input_tokens=usage.cache_write_1h
            ),
        ),
        completion_tokens_details=CompletionTokensDetailsWrapper(
            text_tokens=usage.output_text, reasoning_tokens=usage.output_reasoning
        ),
    )
    prompt, completion = litellm.cost_per_token(
        model=card.name, custom_llm_provider=provider_of(card), usage_object=reported, **options
    )
    return float(prompt + completion) * 1e9


def at(moment: datetime, monkeypatch: pytest.MonkeyPatch, litellm: ModuleType) -> None:
    del litellm  # imported before it is patched
    from litellm.litellm_core_utils.llm_cost_calc import utils

    monkeypatch.setattr(utils, "current_billing_time", lambda: moment)


def differences_of(
    litellm: ModuleType, cards: list[ModelCard], schedule_of: Callable[[ModelCard], PriceSchedule], **options: object
) -> tuple[int, dict[str, list[tuple[TokenUsage, int, float]]]]:
    compared, found = 0, defaultdict(list)
    for card in cards:
        schedule = schedule_of(card)
        for usage in usages_of(schedule):
            ours, theirs = cost_nanousd(schedule, usage), litellm_nanousd(litellm, card, usage, **options)
            compared += 1
            if abs(theirs - ours) > HALF_A_NANO:
                found[card.name].append((usage, ours, theirs))
    return compared, dict(found)


def standard_of(card: ModelCard) -> PriceSchedule:
    assert card.prices is not None
    return card.prices


def test_claude_gemini_and_llama_cost_what_litellm_says(catalog: Catalog, litellm: ModuleType) -> None:
    cards = [card for card in chat_cards(catalog) if OUR_FAMILIES.search(card.name)]
    compared, differences = differences_of(litellm, cards, standard_of)
    assert differences == {}
    assert len(cards) > 600
    assert compared > 20_000


def test_every_other_chat_model_does_too_but_for_the_exceptions(
    catalog: Catalog, litellm: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(PEAK, monkeypatch, litellm)
    cards = [card for card in chat_cards(catalog) if not OUR_FAMILIES.search(card.name)]
    _, differences = differences_of(litellm, cards, standard_of)
    used = set()
    unexplained = []
    for model, rows in differences.items():
        for usage, ours, theirs in rows:
            names = [n for n, each in EXCEPTIONS.items() if each.models.search(model) and each.applies(usage)]
            used.update(names)
            if not names:
                unexplained.append((model, usage, ours, theirs))
    assert unexplained == []
    assert used == set(EXCEPTIONS), "an exception that is no longer needed"
    assert len(cards) > 1_500


def test_off_peak_hours_only_ever_make_a_bill_smaller_than_ours(
    catalog: Catalog, litellm: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(OFF_PEAK, monkeypatch, litellm)
    cards = [card for card in chat_cards(catalog) if "off_peak_pricing" in catalog.entries[card.name]]
    _, differences = differences_of(litellm, cards, standard_of)
    assert {re.split(r"[/-]", name)[0] for name in differences} == {"deepseek", "tencent"}
    assert all(theirs < ours for rows in differences.values() for _, ours, theirs in rows)


def test_flex_costs_what_litellm_says(catalog: Catalog, litellm: ModuleType) -> None:
    cards = [card for card in chat_cards(catalog) if card.flex is not None and OUR_FAMILIES.search(card.name)]

    def flex_of(card: ModelCard) -> PriceSchedule:
        assert card.flex is not None
        return card.flex

    _, differences = differences_of(litellm, cards, flex_of, service_tier="flex")
    assert len(cards) > 20
    assert differences == {}


def test_batch_costs_what_litellm_says_where_the_map_prices_it(catalog: Catalog, litellm: ModuleType) -> None:
    """Input and output, up to the first tier: what batch leaves unpriced, litellm bills at batch's base price."""
    cards = [card for card in chat_cards(catalog) if card.batch is not None and OUR_FAMILIES.search(card.name)]
    assert len(cards) > 40
    for card in cards:
        assert card.batch is not None
        has_own_tiers = any(key.endswith("k_tokens_batches") for key in catalog.entries[card.name])
        for usage in usages_of(card.batch):
            plain = TokenUsage(input_uncached=usage.input_tokens, output_text=usage.output_text)
            ours = cost_nanousd(card.batch, plain)
            theirs = litellm_nanousd(litellm, card, plain, call_type="retrieve_batch")
            if has_own_tiers or card.batch.tier_of(plain.input_tokens) is card.batch.base:
                assert abs(theirs - ours) <= HALF_A_NANO, (card.name, plain)
            else:
                assert theirs < ours, (card.name, plain)
