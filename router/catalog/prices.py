"""Price schedules: context tiers, cache buckets, one rounding a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.money import (
    TOKENS_PER_MTOK,
    NanoUsd,
    NanoUsdPerMtok,
    amount_nanousd,
    amount_nanousd_up,
    price_per_mtok_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from router.tokens import TokenUsage

BASE_TIER_ABOVE = -1  # so that an empty input has a price


@dataclass(frozen=True, slots=True)
class PriceTier:
    """Prices of a request whose input, cached or not, is above ``above_input_tokens``. All in nano-USD per Mtok."""

    above_input_tokens: int
    input: NanoUsdPerMtok
    cache_read: NanoUsdPerMtok
    cache_write_5m: NanoUsdPerMtok
    cache_write_1h: NanoUsdPerMtok
    output_text: NanoUsdPerMtok
    output_reasoning: NanoUsdPerMtok

    def tokens_times_price(self, usage: TokenUsage) -> int:
        """The exact sum before its one rounding."""
        return (
            usage.input_uncached * self.input
            + usage.cache_read * self.cache_read
            + usage.cache_write_5m * self.cache_write_5m
            + usage.cache_write_1h * self.cache_write_1h
            + usage.output_text * self.output_text
            + usage.output_reasoning * self.output_reasoning
        )


@dataclass(frozen=True, slots=True)
class PriceSchedule:
    """Tiers by rising ``above_input_tokens``, the first for every size (`BASE_TIER_ABOVE`)."""

    tiers: tuple[PriceTier, ...]

    def __post_init__(self) -> None:
        bounds = [tier.above_input_tokens for tier in self.tiers]
        assert bounds, "a schedule has a base tier"
        assert bounds[0] < 0, "the base tier takes every size"
        assert bounds == sorted(set(bounds)), bounds

    def tier_of(self, input_tokens: int) -> PriceTier:
        """The tier that prices the whole of a request with this much input."""
        tier = self.tiers[0]
        for each in self.tiers[1:]:
            if input_tokens > each.above_input_tokens:
                tier = each
        return tier

    @property
    def base(self) -> PriceTier:
        """The prices of a short request."""
        return self.tiers[0]


def cost_nanousd(schedule: PriceSchedule, usage: TokenUsage) -> NanoUsd:
    """What the usage costs, rounded once, half to even. A tier re-prices the whole request, not what lies above it."""
    return amount_nanousd(schedule.tier_of(usage.input_tokens).tokens_times_price(usage))


def expected_cost_nanousd(
    schedule: PriceSchedule, input_tokens: int, cached_tokens: int, output_text: int, output_reasoning: int
) -> NanoUsd:
    """What a call of this size costs, ``cached_tokens`` of its input read from the cache and none written to it.

    The same as ``cost_nanousd`` without making a TokenUsage, since every candidate of every request is priced.
    """
    tier = schedule.tier_of(input_tokens)
    return amount_nanousd(
        (input_tokens - cached_tokens) * tier.input
        + cached_tokens * tier.cache_read
        + output_text * tier.output_text
        + output_reasoning * tier.output_reasoning
    )


def _worst_of(
    schedule: PriceSchedule, input_tokens_max: int, *, may_write_cache: bool
) -> Iterator[tuple[int, NanoUsdPerMtok]]:
    """For each tier that the request could reach: its input at the dearest bucket, and its dearest output price."""
    for tier in schedule.tiers:
        if tier.above_input_tokens >= input_tokens_max and tier is not schedule.base:
            break
        inputs = [tier.input, tier.cache_read]
        if may_write_cache:
            inputs += [tier.cache_write_5m, tier.cache_write_1h]
        yield max(inputs) * input_tokens_max, max(tier.output_text, tier.output_reasoning)


def hold_nanousd(
    schedule: PriceSchedule, input_tokens_max: int, output_tokens_max: int, *, may_write_cache: bool
) -> NanoUsd:
    """The most that a call of this size can cost, rounded up.

    Every tier that the request could reach is priced, at the dearest bucket that its input and its output can be
    billed in: cache writes only where the request asks for them.
    """
    worst = _worst_of(schedule, input_tokens_max, may_write_cache=may_write_cache)
    return amount_nanousd_up(max(dearest + price * output_tokens_max for dearest, price in worst))


def output_tokens_within(
    schedule: PriceSchedule, input_tokens_max: int, held_nanousd: NanoUsd, *, may_write_cache: bool
) -> int | None:
    """The largest output whose hold is no more than ``held_nanousd``; None where output is free, so that all fits.

    The inverse of ``hold_nanousd``. Negative where not even the input fits.
    """
    worst = _worst_of(schedule, input_tokens_max, may_write_cache=may_write_cache)
    room = held_nanousd * TOKENS_PER_MTOK
    return min(((room - dearest) // price for dearest, price in worst if price), default=None)


def contract_schedule(
    input: Decimal,  # noqa: A002  # the policy's own word
    output: Decimal,
    *,
    cache_read: Decimal | None = None,
    cache_write_5m: Decimal | None = None,
    cache_write_1h: Decimal | None = None,
    reasoning: Decimal | None = None,
) -> PriceSchedule:
    """A contract's schedule of one tier, in USD per million tokens.

    What is not given follows the map's rules: cache reads and writes are plain input, a one-hour write is a
    five-minute write, reasoning is output.
    """
    write = input if cache_write_5m is None else cache_write_5m

    def per_mtok(usd: Decimal) -> NanoUsdPerMtok:
        return price_per_mtok_of(usd / 1_000_000)

    return PriceSchedule(
        (
            PriceTier(
                above_input_tokens=BASE_TIER_ABOVE,
                input=per_mtok(input),
                cache_read=per_mtok(input if cache_read is None else cache_read),
                cache_write_5m=per_mtok(write),
                cache_write_1h=per_mtok(write if cache_write_1h is None else cache_write_1h),
                output_text=per_mtok(output),
                output_reasoning=per_mtok(output if reasoning is None else reasoning),
            ),
        )
    )
