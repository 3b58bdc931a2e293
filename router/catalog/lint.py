"""What is wrong with models that somebody means to route to: prices that cannot be right, limits that are missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from router.money import usd_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from router.catalog.cards import ModelCard
    from router.catalog.prices import PriceSchedule

Code: TypeAlias = Literal[
    "price_unknown",
    "price_zero",
    "deprecated",
    "tier_below_base",
    "cache_read_above_input",
    "batch_above_input",
    "flex_above_input",
    "output_limit_missing",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with one model; ``code`` is stable, ``message`` is for people."""

    model: str
    code: Code
    message: str

    def __str__(self) -> str:
        return f"{self.model}: {self.code}: {self.message}"


def _price_findings(prices: PriceSchedule) -> Iterator[tuple[Code, str]]:
    base = prices.base
    for name, price in (("input", base.input), ("output", base.output_text)):
        if price == 0:
            yield "price_zero", f"{name} costs nothing"
    below = base
    for tier in prices.tiers[1:]:
        where = f"above {tier.above_input_tokens} input tokens"
        if tier.input < below.input or tier.output_text < below.output_text:
            yield "tier_below_base", f"{where} it costs less than below"
        below = tier
    for tier in prices.tiers:
        if tier.cache_read > tier.input:
            read, plain = usd_of(tier.cache_read), usd_of(tier.input)
            yield "cache_read_above_input", f"a cache read costs {read} USD per Mtok, plain input {plain}"


def _is_dearer(service: PriceSchedule, standard: PriceSchedule) -> bool:
    return any(
        tier.input > at.input or tier.output_text > at.output_text
        for tier in service.tiers
        for at in (standard.tier_of(tier.above_input_tokens + 1),)
    )


def lint_card(card: ModelCard, today: date) -> tuple[Finding, ...]:
    """Everything wrong with one model's card."""
    found: list[tuple[Code, str]] = []
    if card.prices is None:
        found.append(("price_unknown", "the catalogue names no price for input and output"))
    else:
        found.extend(_price_findings(card.prices))
        if card.batch is not None and _is_dearer(card.batch, card.prices):
            found.append(("batch_above_input", "batch costs more than the standard price"))
        if card.flex is not None and _is_dearer(card.flex, card.prices):
            found.append(("flex_above_input", "flex costs more than the standard price"))
    if card.deprecation_date is not None and card.deprecation_date <= today:
        found.append(("deprecated", f"its host retired it on {card.deprecation_date}"))
    if card.max_output_tokens is None:
        found.append(("output_limit_missing", "the catalogue names no output limit"))
    return tuple(Finding(card.name, code, message) for code, message in found)


def lint_catalog(cards: Iterable[ModelCard], today: date) -> tuple[Finding, ...]:
    """Everything wrong with the cards, in their order; ``today`` decides what is past its deprecation date."""
    return tuple(finding for card in cards for finding in lint_card(card, today))
