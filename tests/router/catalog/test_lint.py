from __future__ import annotations

from datetime import date

import pytest

from router.catalog import Finding, ModelCard, PriceSchedule, PriceTier, lint_catalog
from tests.builders import card_of

TODAY = date(2026, 11, 24)


def tier_of(above: int = -1, plain: int = 100, read: int = 10, output: int = 500) -> PriceTier:
    return PriceTier(above, plain, read, plain, plain, output, output)


def codes_of(card: ModelCard) -> list[str]:
    return [finding.code for finding in lint_catalog([card], TODAY)]


def test_a_sound_card_has_no_findings() -> None:
    tiers = (tier_of(), tier_of(100_000, 500, 50, 2_500))
    half = PriceSchedule((tier_of(plain=50, output=250),))
    card = card_of(prices=PriceSchedule(tiers), batch=half, flex=half, deprecation_date=date(2026, 11, 25))
    assert codes_of(card) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"prices": None}, "price_unknown"),
        ({"prices": PriceSchedule((tier_of(plain=0, read=0),))}, "price_zero"),
        ({"prices": PriceSchedule((tier_of(output=0),))}, "price_zero"),
        ({"deprecation_date": TODAY}, "deprecated"),
        ({"prices": PriceSchedule((tier_of(), tier_of(9, plain=99)))}, "tier_below_base"),
        ({"prices": PriceSchedule((tier_of(), tier_of(9, output=499)))}, "tier_below_base"),
        ({"prices": PriceSchedule((tier_of(), tier_of(9, 200), tier_of(99, 150)))}, "tier_below_base"),
        ({"prices": PriceSchedule((tier_of(read=101),))}, "cache_read_above_input"),
        ({"prices": PriceSchedule((tier_of(),)), "batch": PriceSchedule((tier_of(plain=101),))}, "batch_above_input"),
        ({"prices": PriceSchedule((tier_of(),)), "flex": PriceSchedule((tier_of(output=501),))}, "flex_above_input"),
        ({"max_output_tokens": None}, "output_limit_missing"),
    ],
)
def test_each_fault_is_found_alone(changes: dict[str, object], code: str) -> None:
    assert codes_of(card_of(**changes)) == [code]


def test_a_batch_tier_is_compared_with_the_standard_tier_of_its_size() -> None:
    prices = PriceSchedule((tier_of(), tier_of(100_000, plain=500, output=2_500)))
    batch = PriceSchedule((tier_of(plain=50, output=250), tier_of(100_000, plain=250, output=1_250)))
    assert codes_of(card_of(prices=prices, batch=batch)) == []


def test_findings_keep_the_cards_order_and_name_them() -> None:
    found = lint_catalog([card_of("b", prices=None), card_of("a", max_output_tokens=None)], TODAY)
    assert [finding.model for finding in found] == ["b", "a"]
    assert str(found[1]) == "a: output_limit_missing: the catalogue names no output limit"


def test_a_finding_names_figures_in_usd() -> None:
    prices = PriceSchedule((tier_of(plain=100_000_000, read=200_000_000, output=500_000_000),))
    assert lint_catalog([card_of("m", prices=prices)], TODAY) == (
        Finding(
            "m",
            "cache_read_above_input",
            "a cache read costs 0.200000000 USD per Mtok, plain input 0.100000000",
        ),
    )
