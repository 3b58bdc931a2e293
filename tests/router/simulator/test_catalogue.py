from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.simulator.catalogue import Catalogue, Usage, decimal_text, load_catalogue

if TYPE_CHECKING:
    from pathlib import Path

CATALOGUE = load_catalogue()


def cost(vendor: str, name: str, usage: Usage) -> Decimal:
    model = CATALOGUE.find(vendor, name)
    assert model is not None
    return model.cost_usd_of(usage)


@pytest.mark.parametrize(
    ("input_tokens", "expected"),
    [
        (99_999, "0.0100004"),  # 99,999 x 0.1 + 1 x 0.5 USD per million
        (100_000, "0.0100005"),
        (100_001, "0.050003"),  # five times the price for the whole request
    ],
)
def test_a_prompt_above_the_tier_is_repriced_throughout(input_tokens: int, expected: str) -> None:
    usage = Usage(input_uncached=input_tokens, output_text=1)
    assert decimal_text(cost("anthropic", "claude-haiku-5-5", usage)) == expected


def test_cached_tokens_count_towards_the_tier_and_each_bucket_has_its_price() -> None:
    base = Usage(input_uncached=1000, cache_read=2000, cache_write_5m=3000, cache_write_1h=4000, output_text=500)
    assert cost("anthropic", "claude-haiku-5-5", base) == Decimal("0.001545")
    above = Usage(1000, 92_000, 3000, 4001, 300, 200)
    # 1,000 x 0.5 + 92,000 x 0.05 + 3,000 x 0.625 + 4,001 x 1.0 + 500 x 2.5 USD per million
    assert cost("anthropic", "claude-haiku-5-5", above) == Decimal("0.012226")


def test_reasoning_is_billed_as_output_unless_it_has_a_price_of_its_own() -> None:
    assert cost("google", "gemini-3.8-flash", Usage(output_reasoning=1000)) == Decimal("0.00375")
    own = Catalogue({"m": {"mode": "chat", "output_cost_per_token": 2, "output_cost_per_reasoning_token": 3}})
    model = own.find("openai", "m")
    assert model is None, "a host's models are listed under its prefix"
    own = Catalogue({"groq/m": {"mode": "chat", "output_cost_per_token": 2, "output_cost_per_reasoning_token": 3}})
    model = own.find("openai", "m")
    assert model is not None
    assert model.cost_usd_of(Usage(output_text=1, output_reasoning=1)) == 5


def test_gemini_pro_doubles_above_200k() -> None:
    below = cost("google", "gemini-2.5-pro", Usage(input_uncached=200_000, output_text=10))
    above = cost("google", "gemini-2.5-pro", Usage(input_uncached=200_001, output_text=10))
    assert below == Decimal("0.2501")
    assert above == Decimal("0.5001525")


def test_unknown_models_are_unknown_and_an_override_makes_them_known() -> None:
    assert CATALOGUE.find("openai", "meta-llama/none") is None
    assert CATALOGUE.find("google", "claude-opus-5-5") is None
    priced = load_catalogue(prices_override={"hosted_vllm/meta-llama/none": {"input": "0.88", "output": 0.88}})
    model = priced.find("openai", "meta-llama/none")
    assert model is not None
    assert model.cost_usd_of(Usage(input_uncached=1_000_000, cache_read=1, output_text=1)) == Decimal("0.88000176")
    assert "meta-llama/none" in priced.names("openai")


def test_an_override_keeps_what_the_catalogue_says_beside_the_price() -> None:
    priced = load_catalogue(
        prices_override={"anthropic/claude-opus-5-5": {"input": 1, "output": 2, "cache_read": "0.1"}}
    )
    model = priced.find("anthropic", "claude-opus-5-5")
    assert model is not None
    assert model.refuses("supports_sampling_params")
    assert model.cost_usd_of(Usage(cache_read=10, cache_write_1h=10)) == Decimal("0.000011")


@pytest.mark.parametrize(
    ("given_prices", "expected"),
    [
        ({}, "2"),
        ({"cache_write_5m": 3}, "6"),
        ({"cache_write_1h": 5}, "6"),
        ({"cache_write_5m": 3, "cache_write_1h": 5}, "8"),
    ],
)
def test_a_contract_falls_back_to_the_plain_input_price(given_prices: dict[str, int], expected: str) -> None:
    priced = load_catalogue(prices_override={"m": {"input": 1, "output": 2} | given_prices})
    model = priced.find("anthropic", "m")
    assert model is not None
    assert model.cost_usd_of(Usage(cache_write_5m=1_000_000, cache_write_1h=1_000_000)) == Decimal(expected)


buckets = st.integers(min_value=0, max_value=400_000)


@given(st.tuples(buckets, buckets, buckets, buckets, buckets, buckets), st.integers(0, 5))
def test_more_tokens_never_cost_less(counts: tuple[int, ...], grown: int) -> None:
    more = list(counts)
    more[grown] += 1
    for vendor, name in (("anthropic", "claude-haiku-5-5"), ("google", "gemini-2.5-pro")):
        assert cost(vendor, name, Usage(*more)) >= cost(vendor, name, Usage(*counts))


@pytest.mark.parametrize(("amount", "text"), [("1E-10", "0.0000000001"), ("1.500", "1.5"), ("0", "0"), ("12", "12")])
def test_amounts_are_written_plainly(amount: str, text: str) -> None:
    assert decimal_text(Decimal(amount)) == text


def test_a_file_that_is_no_catalogue_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text("[]")
    with pytest.raises(ValueError, match=r"prices\.json"):
        load_catalogue(path)


def test_each_host_of_open_models_has_its_own_price() -> None:
    name, usage = "meta-llama/Llama-3.3-70B-Instruct-Turbo", Usage(input_uncached=1_000_000)
    costs = {}
    for host in ("", "together_ai", "deepinfra"):
        model = CATALOGUE.find("openai", name, host)
        assert model is not None
        costs[host] = decimal_text(model.cost_usd_of(usage))
    assert costs == {"": "1.04", "together_ai": "1.04", "deepinfra": "0.1"}
    assert CATALOGUE.find("openai", name, "groq") is None
    assert name in CATALOGUE.names("openai", "deepinfra")
    assert name not in CATALOGUE.names("openai", "groq")


def test_a_contract_with_one_host_leaves_the_others_alone() -> None:
    name, usage = "meta-llama/Llama-3.3-70B-Instruct-Turbo", Usage(input_uncached=1_000_000)
    priced = load_catalogue(prices_override={f"deepinfra/{name}": {"input": 7, "output": 8}})
    for host, expected in (("deepinfra", "7"), ("together_ai", "1.04")):
        model = priced.find("openai", name, host)
        assert model is not None
        assert decimal_text(model.cost_usd_of(usage)) == expected


def test_a_contracts_context_tiers_re_price_the_whole_call() -> None:
    contract = {"input": 1, "output": 2, "above": [{"input_tokens": 1_000, "input": 3, "output": "4.5"}]}
    model = load_catalogue(prices_override={"anthropic/claude-opus-5-5": contract}).find("anthropic", "claude-opus-5-5")
    assert model is not None
    assert model.cost_usd_of(Usage(input_uncached=1_000, output_text=10)) == Decimal("0.00102")
    assert model.cost_usd_of(Usage(input_uncached=1_001, output_text=10)) == Decimal("0.003048")
