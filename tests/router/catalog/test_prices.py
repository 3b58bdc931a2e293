from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.catalog import PriceSchedule, PriceTier, contract_schedule, cost_nanousd, hold_nanousd
from router.tokens import TokenUsage

NANO = 1_000_000_000
HAIKU = PriceSchedule(  # claude-haiku-5-5 in the map of 2026-11: five times dearer above 100k input tokens
    (
        PriceTier(-1, 100_000_000, 10_000_000, 125_000_000, 200_000_000, 500_000_000, 500_000_000),
        PriceTier(100_000, 500_000_000, 50_000_000, 625_000_000, 1_000_000_000, 2_500_000_000, 2_500_000_000),
    )
)
prices = st.integers(min_value=0, max_value=100 * NANO)
counts = st.integers(min_value=0, max_value=300_000)
usages = st.builds(TokenUsage, counts, counts, counts, counts, counts, counts)


@st.composite
def schedules(draw: st.DrawFn) -> PriceSchedule:
    bounds = draw(st.lists(st.integers(min_value=0, max_value=500_000), unique=True, max_size=3))
    tiers = [PriceTier(above, *(draw(prices) for _ in range(6))) for above in (-1, *sorted(bounds))]
    return PriceSchedule(tuple(tiers))


@pytest.mark.parametrize(
    ("input_tokens", "cost"),
    [
        (0, 500_000),
        (1, 500_100),
        (99_999, 10_499_900),
        (100_000, 10_500_000),
        (100_001, 52_500_500),  # the first token above re-prices the whole request, its output too
    ],
)
def test_a_tier_reprices_the_whole_request(input_tokens: int, cost: int) -> None:
    assert cost_nanousd(HAIKU, TokenUsage(input_uncached=input_tokens, output_text=1_000)) == cost


@pytest.mark.parametrize("bucket", ["cache_read", "cache_write_5m", "cache_write_1h"])
def test_cached_input_counts_towards_the_tier(bucket: str) -> None:
    below = TokenUsage(input_uncached=50_000, **{bucket: 50_000})
    above = below + TokenUsage(**{bucket: 1})
    assert cost_nanousd(HAIKU, above) > 4 * cost_nanousd(HAIKU, below)


def test_output_does_not_count_towards_the_tier() -> None:
    usage = TokenUsage(input_uncached=1_000, output_text=90_000, output_reasoning=90_000)
    assert cost_nanousd(HAIKU, usage) == 100_000 + 180_000 * 500


def test_each_bucket_has_its_own_price() -> None:
    schedule = PriceSchedule((PriceTier(-1, 1 * NANO, 2 * NANO, 3 * NANO, 4 * NANO, 5 * NANO, 6 * NANO),))
    usage = TokenUsage(1, 10, 100, 1_000, 10_000, 100_000)
    assert cost_nanousd(schedule, usage) == 654_321 * 1_000


def test_one_rounding_for_the_whole_line() -> None:
    schedule = PriceSchedule((PriceTier(-1, 400_000, 400_000, 0, 0, 400_000, 0),))
    one_each = TokenUsage(input_uncached=1, cache_read=1, output_text=1)
    assert cost_nanousd(schedule, one_each) == 1  # 0.4 thrice is 1.2: rounded bucket by bucket it would be nothing


@given(schedules(), usages)
def test_the_cost_is_the_exact_sum_rounded_half_to_even(schedule: PriceSchedule, usage: TokenUsage) -> None:
    tier = [each for each in schedule.tiers if usage.input_tokens > each.above_input_tokens][-1]
    exact = (
        Fraction(usage.input_uncached * tier.input)
        + usage.cache_read * tier.cache_read
        + usage.cache_write_5m * tier.cache_write_5m
        + usage.cache_write_1h * tier.cache_write_1h
        + usage.output_text * tier.output_text
        + usage.output_reasoning * tier.output_reasoning
    ) / 10**6
    assert cost_nanousd(schedule, usage) == round(exact)


@given(schedules(), usages)
def test_no_usage_within_its_bounds_costs_more_than_its_hold(schedule: PriceSchedule, usage: TokenUsage) -> None:
    writes = usage.cache_write_5m + usage.cache_write_1h > 0
    hold = hold_nanousd(schedule, usage.input_tokens, usage.output_tokens, may_write_cache=writes)
    assert cost_nanousd(schedule, usage) <= hold


def test_a_hold_prices_every_tier_within_reach_and_none_beyond() -> None:
    assert hold_nanousd(HAIKU, 100_000, 1_000, may_write_cache=False) == 10_500_000
    assert hold_nanousd(HAIKU, 100_001, 1_000, may_write_cache=False) == 52_500_500


def test_a_hold_prices_cache_writes_only_where_they_may_happen() -> None:
    assert hold_nanousd(HAIKU, 1_000, 0, may_write_cache=False) == 100_000
    assert hold_nanousd(HAIKU, 1_000, 0, may_write_cache=True) == 200_000


def test_a_hold_is_rounded_up() -> None:
    schedule = PriceSchedule((PriceTier(-1, 1, 1, 1, 1, 1, 1),))
    assert hold_nanousd(schedule, 1, 0, may_write_cache=False) == 1
    assert hold_nanousd(schedule, 0, 0, may_write_cache=False) == 0


@pytest.mark.parametrize("bounds", [(), (0,), (-1, 5, 5), (-1, 9, 5)])
def test_tiers_that_do_not_rise_are_a_programmers_error(bounds: tuple[int, ...]) -> None:
    with pytest.raises(AssertionError):
        PriceSchedule(tuple(PriceTier(above, 1, 1, 1, 1, 1, 1) for above in bounds))


def test_a_contract_says_usd_per_million() -> None:
    schedule = contract_schedule(Decimal("0.88"), Decimal("0.123456789"))
    assert schedule.base.input == 880_000_000
    assert schedule.base.output_text == 123_456_789


def test_a_contract_without_cache_prices_bills_plain_input() -> None:
    base = contract_schedule(Decimal(3), Decimal(15)).base
    assert base == PriceTier(-1, 3 * NANO, 3 * NANO, 3 * NANO, 3 * NANO, 15 * NANO, 15 * NANO)


def test_a_contracts_one_hour_write_is_its_five_minute_write_unless_said() -> None:
    base = contract_schedule(Decimal(3), Decimal(15), cache_write_5m=Decimal(4)).base
    assert (base.cache_write_5m, base.cache_write_1h) == (4 * NANO, 4 * NANO)


def test_a_contract_may_price_every_bucket() -> None:
    base = contract_schedule(
        Decimal(1),
        Decimal(5),
        cache_read=Decimal(2),
        cache_write_5m=Decimal(3),
        cache_write_1h=Decimal(4),
        reasoning=Decimal(6),
    ).base
    assert base == PriceTier(-1, 1 * NANO, 2 * NANO, 3 * NANO, 4 * NANO, 5 * NANO, 6 * NANO)


def test_a_free_local_model_costs_nothing() -> None:
    free = contract_schedule(Decimal(0), Decimal(0))
    assert cost_nanousd(free, TokenUsage(1_000_000, output_text=1_000_000)) == 0
