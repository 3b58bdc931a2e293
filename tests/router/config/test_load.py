from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.catalog import Catalog, cost_nanousd
from router.config.load import POLICY_BYTES_MAX, load_policy, parse_policy, read_policy
from router.config.prices import load_catalog
from router.errors import ConfigError
from router.tokens import TokenUsage

if TYPE_CHECKING:
    from pathlib import Path

    from router.policy import Policy

PINNED_ON = date(2026, 11, 25)
POLICY = """
version: 1
name: test
models:
  claude-opus: {provider_model: anthropic/claude-opus-5-5, vendor: anthropic, tier: premium}
  llama:
    provider_model: together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo
    vendor: meta
    tier: economy
    output_tokens_max: 8192
    %s
routing:
  premium: claude-opus
  quality_tiers: {premium: 0.0, balanced: 0.05}
  default_tier: balanced
"""


CATALOG = load_catalog()


@pytest.fixture
def catalog() -> Catalog:
    return CATALOG


def policy_of(text: str, catalog: Catalog) -> Policy:
    return parse_policy(text.encode(), "policy.yaml", catalog, PINNED_ON)


def contract(prices: str, catalog: Catalog) -> Policy:
    return policy_of(POLICY % f"price_usd_per_mtok: {prices}", catalog)


def cost_of(prices: str, catalog: Catalog, **tokens: int) -> int:
    return cost_nanousd(contract(prices, catalog).models["llama"].prices, TokenUsage(**tokens))


EVERY_BUCKET = (
    "{input: 3, output: 15, cache_read: 0.3, cache_write_5m: 3.75, cache_write_1h: 6, reasoning: 12.5, above:"
    " [{input_tokens: 200000, input: 6, output: 22.5}, {input_tokens: 400000, cache_read: 0.000000001}]}"
)


@pytest.mark.parametrize(
    ("tokens", "nanousd"),
    [
        ({"input_uncached": 1_000_000}, 6_000_000_000),  # one request of a million is above 200,000 as a whole
        ({"input_uncached": 200_000}, 600_000_000),
        ({"input_uncached": 200_001}, 1_200_006_000),
        ({"input_uncached": 1, "output_text": 1}, 18_000),
        ({"output_text": 1_000, "output_reasoning": 1_000}, 15_000_000 + 12_500_000),
        ({"cache_read": 100_000}, 30_000_000),
        ({"cache_write_5m": 100_000, "cache_write_1h": 100_000}, 375_000_000 + 600_000_000),
        # Above: what the tier does not say stays, but reasoning follows the output that it restates.
        ({"cache_read": 300_000, "output_reasoning": 1_000_000}, 90_000_000 + 22_500_000_000),
        ({"cache_read": 500_000_000}, 1 * 500),
    ],
)
def test_every_bucket_and_tier_of_a_contract_is_billed_to_the_nano_dollar(
    tokens: dict[str, int], nanousd: int, catalog: Catalog
) -> None:
    assert cost_of(EVERY_BUCKET, catalog, **tokens) == nanousd


def test_what_a_contract_does_not_say_costs_as_input_or_output(catalog: Catalog) -> None:
    tokens = {"cache_read": 10, "cache_write_5m": 10, "cache_write_1h": 10, "output_reasoning": 10}
    assert cost_of("{input: 2, output: 8}", catalog, **tokens) == 30 * 2_000 + 10 * 8_000
    assert cost_of("{input: 2, output: 8, cache_write_5m: 5}", catalog, cache_write_1h=10) == 10 * 5_000


@given(nano=st.integers(0, 10**15))
@settings(max_examples=40, deadline=None)
def test_a_price_is_what_was_written_to_its_ninth_decimal(nano: int) -> None:
    whole, rest = divmod(nano, 10**9)
    written = f"{whole}.{rest:09d}"
    base = contract(f"{{input: {written}, output: 1}}", CATALOG).models["llama"].prices.base
    assert base.input == nano


def test_a_contract_wins_over_the_catalogue_and_zero_is_a_price_when_said(catalog: Catalog) -> None:
    free = contract("{input: 0, output: 0}", catalog).models["llama"]
    assert (free.prices.base.input, free.has_contract_price) == (0, True)
    listed = policy_of(POLICY.replace("    %s\n", ""), catalog).models["llama"]
    assert listed.prices.base.input > 0
    assert not listed.has_contract_price


def test_overrides_win_over_the_catalogue(catalog: Catalog) -> None:
    model = policy_of(POLICY % "context_window: 9000\n    capabilities: [vision]", catalog).models["llama"]
    assert (model.card.context_window, model.card.max_output_tokens) == (9000, 8192)
    assert model.card.capabilities == {"vision"}


def test_the_revision_is_of_the_bytes_and_the_prices(catalog: Catalog) -> None:
    text = POLICY.replace("    %s\n", "")
    first, same, other = (policy_of(each, catalog) for each in (text, text, text + "# a comment\n"))
    assert first.revision == same.revision != other.revision
    assert first.price_revision == catalog.revision


def test_a_huge_file_is_refused_unread(catalog: Catalog) -> None:
    with pytest.raises(ConfigError, match=r"^policy\.yaml:1: 1,000,001 bytes; at most 1,000,000$"):
        parse_policy(b"#" * (POLICY_BYTES_MAX + 1), "policy.yaml", catalog, PINNED_ON)


@pytest.mark.parametrize("text", ["[" * 20_000, "{a: " * 20_000, "- " * 20_000, "a:\n" + " b:\n" * 3])
def test_depth_and_broken_blocks_end_in_a_finding(text: str, catalog: Catalog) -> None:
    reading = read_policy(text.encode(), "policy.yaml", catalog, PINNED_ON)
    assert reading.policy is None
    assert reading.findings


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file or directory"):
        load_policy(tmp_path / "none.yaml", catalog, PINNED_ON)


def test_an_error_carries_every_finding_for_machines(catalog: Catalog) -> None:
    text = (POLICY % "output_tokens_max: 0").replace("default_tier: balanced", "default_tier: balance")
    with pytest.raises(ConfigError) as caught:
        policy_of(text, catalog)
    found = caught.value.data["findings"]
    assert isinstance(found, list)
    assert [(each["line"], each["path"]) for each in found] == [
        (11, "models.llama.output_tokens_max"),
        (15, "routing.default_tier"),
    ]
    assert "\n".join(each["text"] for each in found) == caught.value.message


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
@settings(max_examples=150, deadline=None)
def test_no_text_makes_it_fail_otherwise_than_by_findings(text: str) -> None:
    raw = text.encode("utf-8", "replace")
    reading = read_policy(raw, "policy.yaml", CATALOG, PINNED_ON)
    assert reading.policy is None
    assert all(each.line >= 1 and each.message for each in reading.findings)


def mangled() -> st.SearchStrategy[str]:
    lines = (POLICY.replace("    %s\n", "")).splitlines()
    edits = st.tuples(
        st.integers(0, len(lines) - 1),
        st.sampled_from(["", "  x: 1", "- a", "a: [", "  tier: 3", "\tq", "? a", "&a *a", "!x y", "null", "<<: *a"]),
    )
    return st.lists(edits, min_size=1, max_size=3).map(lambda found: _edited(lines, found))


def _edited(lines: list[str], edits: list[tuple[int, str]]) -> str:
    done = list(lines)
    for at, text in edits:
        done[at] = text
    return "\n".join(done)


@given(mangled())
@settings(max_examples=150, deadline=None)
def test_a_mangled_policy_is_read_or_refused_never_a_crash(text: str) -> None:
    reading = read_policy(text.encode(), "policy.yaml", CATALOG, PINNED_ON)
    assert (reading.policy is None) is bool(reading.findings)
