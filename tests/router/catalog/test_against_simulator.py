"""Two implementations of the same price map, written apart: the ledger's and the simulated vendors' bill."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from router.catalog import Catalog, PriceSchedule, cost_nanousd
from router.config.load import load_policy
from router.config.prices import load_catalog
from router.simulator.catalogue import Catalogue, Usage, load_catalogue
from router.tokens import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
VENDOR_OF_WIRE = {"anthropic": "anthropic", "gemini": "google", "openai": "openai"}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="module")
def vendors() -> Catalogue:
    return load_catalogue()


def buckets_of(schedule: PriceSchedule) -> Iterator[tuple[int, ...]]:
    sizes = {0, 1, 999, 1_000_000}
    for tier in schedule.tiers[1:]:
        sizes |= {tier.above_input_tokens, tier.above_input_tokens + 1}
    for size in sorted(sizes):
        for bucket in range(4):
            yield (*(size if each == bucket else 0 for each in range(4)), 777, 555)


def differences(
    schedule: PriceSchedule, vendors: Catalogue, vendor: str, name: str
) -> list[tuple[tuple[int, ...], int, Decimal]]:
    model = vendors.find(vendor, name)
    assert model is not None, f"the simulated {vendor} does not sell {name}"
    found = []
    for buckets in buckets_of(schedule):
        ours = cost_nanousd(schedule, TokenUsage(*buckets))
        theirs = model.cost_usd_of(Usage(*buckets)) * 10**9
        if abs(theirs - ours) > Decimal("0.5"):
            found.append((buckets, ours, theirs))
    return found


@pytest.mark.parametrize(("provider", "vendor"), [("anthropic", "anthropic"), ("gemini", "google")])
def test_every_claude_and_gemini_is_billed_as_it_is_booked(
    catalog: Catalog, vendors: Catalogue, provider: str, vendor: str
) -> None:
    names = {key.removeprefix(f"{provider}/") for key in catalog.entries if catalog.key_of(f"{provider}/{key}") == key}
    names |= {key.removeprefix(f"{provider}/") for key in catalog.entries if key.startswith(f"{provider}/")}
    compared = 0
    for name in sorted(names):
        card = catalog.card(f"{provider}/{name}")
        if card is not None and card.mode == "chat" and card.prices is not None:
            assert differences(card.prices, vendors, vendor, name) == [], name
            compared += 1
    assert compared > 15


@pytest.mark.parametrize("path", sorted((ROOT / "policies").glob("*.yaml")), ids=lambda path: path.stem)
def test_what_the_shipped_policies_route_to_is_billed_as_it_is_booked(
    catalog: Catalog, vendors: Catalogue, path: Path
) -> None:
    policy = load_policy(path, catalog, date(2026, 11, 24))
    for model in policy.models.values():
        if not model.has_contract_price:
            assert differences(model.prices, vendors, VENDOR_OF_WIRE[model.wire], model.vendor_model) == [], model.id
