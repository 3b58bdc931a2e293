"""The catalogue: what models cost, hold and can do, from a pinned snapshot of litellm's price map."""

from __future__ import annotations

from router.catalog.cards import Catalog, ModelCard, parse_catalog
from router.catalog.lint import Finding, lint_catalog
from router.catalog.prices import (
    PriceSchedule,
    PriceTier,
    contract_schedule,
    cost_nanousd,
    expected_cost_nanousd,
    hold_nanousd,
    output_tokens_within,
)

__all__ = [
    "Catalog",
    "Finding",
    "ModelCard",
    "PriceSchedule",
    "PriceTier",
    "contract_schedule",
    "cost_nanousd",
    "expected_cost_nanousd",
    "hold_nanousd",
    "lint_catalog",
    "output_tokens_within",
    "parse_catalog",
]
