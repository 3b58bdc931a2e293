from __future__ import annotations

import hashlib
from datetime import date
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from router.catalog import Catalog, lint_catalog
from router.config.load import load_policy
from router.config.prices import load_catalog

if TYPE_CHECKING:
    from router.policy import Policy

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted((ROOT / "policies").glob("*.yaml"))
PINNED_ON = date(2026, 11, 24)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def shipped(path: Path, catalog: Catalog) -> Policy:
    return load_policy(path, catalog, PINNED_ON)


def test_the_revision_is_that_of_the_packaged_bytes(catalog: Catalog) -> None:
    raw = resources.files("router.data").joinpath("prices.json").read_bytes()
    assert catalog.revision == hashlib.sha256(raw).hexdigest()


def test_every_entry_of_the_map_becomes_a_card(catalog: Catalog) -> None:
    cards = [catalog.card(key) for key in catalog.entries]
    assert len(cards) > 4_000
    assert None not in cards
    for card in cards:
        assert card is not None
        for schedule in (card.prices, card.batch, card.flex):
            assert schedule is None or min(min(t.input, t.cache_read, t.output_text) for t in schedule.tiers) >= 0


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_the_shipped_policies_route_to_at_catalogue_prices_is_sound(path: Path, catalog: Catalog) -> None:
    policy = shipped(path, catalog)
    cards = [model.card for model in policy.models.values() if not model.has_contract_price]
    assert cards
    assert [str(finding) for finding in lint_catalog(cards, PINNED_ON)] == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_model_has_limits_to_hold_by(path: Path, catalog: Catalog) -> None:
    policy = shipped(path, catalog)
    assert {name for name, model in policy.models.items() if model.card.max_output_tokens is None} == set()
    assert {name for name, model in policy.models.items() if model.card.context_window is None} == set()
