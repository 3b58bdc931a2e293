from __future__ import annotations

import json
from importlib import resources

import pytest

from evals.pairs import PAIRS
from evals.prices import LISTED, PORTFOLIOS, PREMIUM, USD_PER_MTOK, usual_cost_usd

PINNED = json.loads(resources.files("router.data").joinpath("prices.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", LISTED)
def test_a_figure_that_the_pinned_map_holds_is_that_of_the_map(name: str) -> None:
    price = LISTED[name]
    if not price.is_pinned:
        assert price.listed_as not in PINNED, "the pinned map has it again: compare with it"
        return
    entry = PINNED[price.listed_as]
    assert entry["input_cost_per_token"] * 1e6 == pytest.approx(price.input_usd)
    assert entry["output_cost_per_token"] * 1e6 == pytest.approx(price.output_usd)


def test_every_model_of_a_portfolio_has_a_price_and_premium_is_one_of_them() -> None:
    for source, names in PORTFOLIOS.items():
        assert set(names) <= set(USD_PER_MTOK)
        assert PREMIUM[source] in names
        assert usual_cost_usd(PREMIUM[source]) == max(map(usual_cost_usd, names))


def test_no_price_stands_here_that_nothing_is_judged_with() -> None:
    judged = {name for pair in PAIRS for name in (pair.strong, pair.weak)}
    assert set(USD_PER_MTOK) <= judged | {name for names in PORTFOLIOS.values() for name in names}
