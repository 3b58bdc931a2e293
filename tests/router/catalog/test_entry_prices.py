from __future__ import annotations

from decimal import Decimal

import pytest

from router.catalog import PriceSchedule, PriceTier
from router.catalog.entry_prices import price_of, schedule_of

USD = 1_000_000_000  # nano-USD


def entry_of(**prices: str | int) -> dict[str, object]:
    """An entry with prices in USD per million tokens."""
    return {
        "litellm_provider": "anthropic",
        **{key: Decimal(str(value)) / 10**6 for key, value in prices.items()},
    }


def schedule(entry: dict[str, object], service: str = "") -> PriceSchedule:
    found = schedule_of(entry, service)
    assert found is not None
    return found


def test_every_bucket_stated() -> None:
    entry = entry_of(
        input_cost_per_token=1,
        output_cost_per_token=5,
        cache_read_input_token_cost="0.1",
        cache_creation_input_token_cost="1.25",
        cache_creation_input_token_cost_above_1hr=2,
        output_cost_per_reasoning_token=6,
    )
    assert schedule(entry).tiers == (PriceTier(-1, 1 * USD, USD // 10, 5 * USD // 4, 2 * USD, 5 * USD, 6 * USD),)


def test_missing_cache_prices_are_plain_input_and_reasoning_is_output() -> None:
    entry = entry_of(input_cost_per_token=1, output_cost_per_token=5)
    assert schedule(entry).base == PriceTier(-1, USD, USD, USD, USD, 5 * USD, 5 * USD)


def test_a_missing_one_hour_write_is_a_five_minute_write() -> None:
    entry = entry_of(input_cost_per_token=1, output_cost_per_token=5, cache_creation_input_token_cost="1.25")
    assert schedule(entry).base.cache_write_1h == 5 * USD // 4


def test_an_explicit_zero_is_a_price_and_not_a_gap() -> None:
    entry = entry_of(input_cost_per_token=1, output_cost_per_token=5, cache_read_input_token_cost=0)
    assert schedule(entry).base.cache_read == 0


@pytest.mark.parametrize("missing", ["input_cost_per_token", "output_cost_per_token"])
def test_without_a_price_for_input_or_output_there_is_no_schedule(missing: str) -> None:
    entry = entry_of(input_cost_per_token=1, output_cost_per_token=5)
    del entry[missing]
    assert schedule_of(entry) is None


@pytest.mark.parametrize("value", [True, "0.1", None, {"a": 1}])
def test_what_is_no_number_is_no_price(value: object) -> None:
    assert price_of({"input_cost_per_token": value}, "input_cost_per_token") is None


def test_a_tier_states_what_changes_and_keeps_the_rest() -> None:
    entry = entry_of(
        input_cost_per_token=1,
        output_cost_per_token=5,
        cache_read_input_token_cost="0.1",
        input_cost_per_token_above_200k_tokens=2,
    )
    upper = schedule(entry).tiers[1]
    assert upper.above_input_tokens == 200_000
    assert (upper.input, upper.output_text, upper.cache_read) == (2 * USD, 5 * USD, USD // 10)
    assert upper.cache_write_5m == 2 * USD  # never stated: plain input of its own tier


def test_a_tiers_one_hour_write_has_a_key_with_two_suffixes() -> None:
    entry = entry_of(
        input_cost_per_token=1,
        output_cost_per_token=5,
        input_cost_per_token_above_100k_tokens=5,
        cache_creation_input_token_cost_above_1hr=2,
        cache_creation_input_token_cost_above_1hr_above_100k_tokens=10,
    )
    assert [tier.cache_write_1h for tier in schedule(entry).tiers] == [2 * USD, 10 * USD]


def test_tiers_rise_however_the_map_orders_them() -> None:
    entry = entry_of(
        input_cost_per_token_above_512k_tokens=3,
        input_cost_per_token_above_128k_tokens=2,
        input_cost_per_token=1,
        output_cost_per_token=5,
    )
    assert [(tier.above_input_tokens, tier.input) for tier in schedule(entry).tiers] == [
        (-1, 1 * USD),
        (128_000, 2 * USD),
        (512_000, 3 * USD),
    ]


def test_a_tier_with_its_own_output_price_bills_it_for_reasoning() -> None:
    entry = entry_of(
        input_cost_per_token=1,
        output_cost_per_token=5,
        output_cost_per_reasoning_token=6,
        input_cost_per_token_above_128k_tokens=2,
        input_cost_per_token_above_256k_tokens=3,
        output_cost_per_token_above_256k_tokens=10,
    )
    assert [tier.output_reasoning for tier in schedule(entry).tiers] == [6 * USD, 6 * USD, 10 * USD]


def test_a_service_has_its_own_prices_and_tiers() -> None:
    entry = entry_of(
        input_cost_per_token=2,
        output_cost_per_token=8,
        input_cost_per_token_above_100k_tokens=4,
        input_cost_per_token_batches=1,
        output_cost_per_token_batches=4,
        input_cost_per_token_above_100k_tokens_batches=2,
    )
    assert [(tier.above_input_tokens, tier.input) for tier in schedule(entry, "_batches").tiers] == [
        (-1, 1 * USD),
        (100_000, 2 * USD),
    ]
    assert len(schedule(entry).tiers) == 2


def test_a_services_missing_cache_price_is_the_standard_one_of_the_same_tier() -> None:
    entry = entry_of(
        input_cost_per_token=2,
        output_cost_per_token=8,
        cache_read_input_token_cost="0.2",
        input_cost_per_token_above_100k_tokens=4,
        cache_read_input_token_cost_above_100k_tokens="0.4",
        input_cost_per_token_batches=1,
        output_cost_per_token_batches=4,
        input_cost_per_token_above_100k_tokens_batches=2,
    )
    assert [tier.cache_read for tier in schedule(entry, "_batches").tiers] == [USD // 5, 2 * USD // 5]


def test_a_tier_that_a_service_does_not_price_costs_as_in_the_standard_service() -> None:
    entry = entry_of(
        input_cost_per_token=2,
        output_cost_per_token=8,
        input_cost_per_token_above_200k_tokens=4,
        input_cost_per_token_flex=1,
        output_cost_per_token_flex=4,
        output_cost_per_reasoning_token=9,
    )
    tiers = schedule(entry, "_flex").tiers
    assert [(tier.above_input_tokens, tier.input) for tier in tiers] == [(-1, 1 * USD), (200_000, 4 * USD)]
    assert [(tier.output_text, tier.output_reasoning) for tier in tiers] == [(4 * USD, 4 * USD)] * 2


def test_another_services_tiers_do_not_leak_into_the_standard_schedule() -> None:
    entry = entry_of(
        input_cost_per_token=2,
        output_cost_per_token=8,
        input_cost_per_token_above_200k_tokens_priority=9,
        input_cost_per_token_above_200k_tokens_flex=9,
    )
    assert len(schedule(entry).tiers) == 1


def test_xai_bills_the_upper_tier_at_exactly_the_threshold() -> None:
    entry = entry_of(input_cost_per_token=1, output_cost_per_token=5, input_cost_per_token_above_200k_tokens=2)
    entry["litellm_provider"] = "xai"
    prices = schedule(entry)
    assert (prices.tier_of(199_999).input, prices.tier_of(200_000).input) == (1 * USD, 2 * USD)


def test_fireworks_bills_a_cache_read_at_half_price_unless_it_says_otherwise() -> None:
    entry = entry_of(input_cost_per_token=1, output_cost_per_token=5)
    entry["litellm_provider"] = "fireworks_ai"
    assert schedule(entry).base.cache_read == USD // 2
    stated = entry | entry_of(cache_read_input_token_cost="0.3") | {"litellm_provider": "fireworks_ai"}
    assert schedule(stated).base.cache_read == 3 * USD // 10


def test_a_table_of_ranges_is_a_schedule() -> None:
    entry: dict[str, object] = {
        "tiered_pricing": [
            entry_of(input_cost_per_token=3, output_cost_per_token=9) | {"range": [Decimal("32000.0"), 128_000]},
            entry_of(input_cost_per_token=1, output_cost_per_token=5, output_cost_per_reasoning_token=7)
            | {"range": [0, Decimal("32000.0")]},
        ]
    }
    prices = schedule(entry)
    assert [(tier.above_input_tokens, tier.input) for tier in prices.tiers] == [(-1, 1 * USD), (32_000, 3 * USD)]
    assert [tier.output_reasoning for tier in prices.tiers] == [7 * USD, 9 * USD]
    assert prices.tier_of(32_000).input == 1 * USD
    assert prices.tier_of(9_999_999).input == 3 * USD  # beyond the last range: the last row


def test_a_tables_row_without_output_takes_the_entrys() -> None:
    row = entry_of(input_cost_per_token=1) | {"range": [0, 1]}
    assert schedule(entry_of(output_cost_per_token=5) | {"tiered_pricing": [row]}).base.output_text == 5 * USD
    assert schedule_of({"tiered_pricing": [row]}) is None


@pytest.mark.parametrize("table", [[], [{"range": [0, 1]}], [{"input_cost_per_query": Decimal(1)}], ["x"]])
def test_a_table_without_token_prices_is_no_schedule(table: list[object]) -> None:
    assert schedule_of({"tiered_pricing": table}) is None
