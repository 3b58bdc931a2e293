from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.catalog import PriceSchedule, contract_schedule, cost_nanousd
from router.ledger import RequestTotals
from router.money import parse_usd
from router.policy import Limits
from router.savings import group_fields, premium_cost_of, savings_report, usd_range
from router.tokens import TokenUsage
from tests.builders import model_of, policy_of, request_of

OPUS = model_of("opus", input_usd="5", output_usd="25", tier="premium")
LLAMA = model_of("llama", input_usd="0.88", output_usd="0.88", provider_model="together_ai/llama", wire="openai")
CLAUDE = model_of("opus", input_usd="5", output_usd="25", tier="premium", provider_model="anthropic/claude-opus-5-5")
POLICY, ASKED = policy_of(OPUS, LLAMA), request_of()
COUNTS = st.integers(0, 10**7)
USAGES = st.builds(TokenUsage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
MONEY = st.integers(0, 10**15)


def totals_of(group: tuple[str | None, ...] = (), **changes: Any) -> RequestTotals:
    fields: dict[str, Any] = {
        "group": group,
        "requests": 10,
        "answered": 7,
        "rejected": 2,
        "failed": 1,
        "modelled": 7,
        "estimated": 1,
        "input_tokens": 1_000,
        "output_tokens": 500,
        "cache_read_tokens": 0,
        "cost_nanousd": 1_234_567_891,
        "failed_cost_nanousd": 34_567_891,
        "premium_low_nanousd": 4_000_000_000,
        "premium_point_nanousd": 4_500_000_000,
        "premium_high_nanousd": 5_000_000_001,
    }
    return RequestTotals(**(fields | changes))


def report_of(whole: RequestTotals, *groups: RequestTotals, names: tuple[str, ...] = ()) -> dict[str, Any]:
    return savings_report(
        whole,
        groups,
        names=names,
        from_text="2026-11-01T00:00:00Z",
        to_text="2026-11-08T00:00:00Z",
        price_revision="prices",
        policy_revisions=["policy"],
        quality=[{"tier": "premium", "tolerance": 0.0}],
    )


# --- one request -----------------------------------------------------------------------------------------------------


@given(USAGES)
def test_premium_is_exact_where_premium_answered(usage: TokenUsage) -> None:
    cost = cost_nanousd(OPUS.prices, usage)
    found = premium_cost_of(usage, OPUS, POLICY, ASKED)
    assert (found.low_nanousd, found.point_nanousd, found.high_nanousd) == (cost, cost, cost)


@given(USAGES)
def test_a_modelled_cost_has_its_point_within_its_bounds(usage: TokenUsage) -> None:
    found = premium_cost_of(usage, LLAMA, POLICY, ASKED)
    assert 0 <= found.low_nanousd <= found.point_nanousd <= found.high_nanousd


def test_a_price_that_falls_with_length_cannot_turn_the_range_over() -> None:
    base = OPUS.prices.tiers[0]
    cheap = contract_schedule(input=Decimal(1), output=Decimal(1)).tiers[0]
    falling = PriceSchedule((base, replace(cheap, above_input_tokens=1_000)))
    premium = replace(OPUS, prices=falling)
    found = premium_cost_of(TokenUsage(input_uncached=760, output_text=100), LLAMA, policy_of(premium, LLAMA), ASKED)
    assert found.low_nanousd <= found.point_nanousd <= found.high_nanousd
    assert found.low_nanousd < found.high_nanousd


@pytest.mark.parametrize(("asked", "output_tokens"), [(10, 10), (13, 13), (None, 16)])
def test_premium_is_not_modelled_past_the_limit_that_it_would_have_been_told(
    asked: int | None, output_tokens: int
) -> None:
    """A label of ten tokens is ten on premium too, where no more were asked for."""
    ten = TokenUsage(input_uncached=230, output_text=10)
    found = premium_cost_of(ten, LLAMA, policy_of(CLAUDE, LLAMA), request_of(output_tokens_max=asked))
    assert found.point_nanousd == cost_nanousd(OPUS.prices, TokenUsage(input_uncached=294, output_text=output_tokens))


def test_without_a_limit_of_the_callers_the_policys_own_holds() -> None:
    policy = policy_of(CLAUDE, LLAMA, limits=Limits(output_tokens_default=12))
    found = premium_cost_of(TokenUsage(input_uncached=230, output_text=10), LLAMA, policy, ASKED)
    assert found.point_nanousd == cost_nanousd(OPUS.prices, TokenUsage(input_uncached=294, output_text=12))
    assert found.high_nanousd == cost_nanousd(OPUS.prices, TokenUsage(input_uncached=332, output_text=12))


# --- the report ------------------------------------------------------------------------------------------------------


@given(MONEY, MONEY, st.lists(MONEY, min_size=3, max_size=3))
def test_the_waterfall_sums_exactly_to_the_savings_of_any_sign(cost: int, failed: int, premium: list[int]) -> None:
    low, point, high = sorted(premium)
    whole = totals_of(
        cost_nanousd=cost + failed,
        failed_cost_nanousd=failed,
        premium_low_nanousd=low,
        premium_point_nanousd=point,
        premium_high_nanousd=high,
    )
    report = report_of(whole)
    steps = sum(parse_usd(step["usd"]) for step in report["waterfall"])
    savings = {name: parse_usd(usd) for name, usd in report["totals"]["savings_usd"].items()}
    assert steps == savings["point"] == point - cost - failed
    assert (savings["low"], savings["high"]) == (low - cost - failed, high - cost - failed)


def test_a_loss_is_shown_as_a_loss() -> None:
    fields = group_fields(totals_of(cost_nanousd=9_000_000_000))
    assert fields["savings_usd"] == usd_range(-5_000_000_000, -4_500_000_000, -3_999_999_999)
    assert fields["savings_share"] == -1.0


def test_figures_are_decimal_text_to_the_last_nano() -> None:
    fields = group_fields(totals_of())
    assert Decimal(str(fields["realized_cost_usd"])) == Decimal("1.234567891")
    premium = fields["premium_cost_usd"]
    assert isinstance(premium, dict)
    assert Decimal(premium["high"]) == Decimal("5.000000001")
    assert fields["savings_share"] == round(1 - 1.234567891 / 4.5, 6)


def test_coverage_says_what_is_excluded_and_why() -> None:
    report = report_of(totals_of())
    assert report["coverage"] == {
        "priced": 1.0,
        "modelled": round(7 / 8, 6),
        "estimated": 1,
        "excluded": [
            {"why": "refused before any vendor was asked", "requests": 2},
            {"why": "no answer to compare with premium", "requests": 1},
        ],
    }
    assert report_of(totals_of(rejected=0, modelled=10))["coverage"]["excluded"] == []


def test_nothing_measured_is_said_to_be_measured() -> None:
    report = report_of(totals_of())
    assert report["totals"]["measured"] is None
    assert "not measured" in report["totals"]["measured_why"]
    assert report["quality"] == [
        {"tier": "premium", "tolerance": 0.0},
    ]


def test_an_empty_report_divides_by_nothing() -> None:
    nothing = dict.fromkeys(
        (
            *("requests", "answered", "rejected", "failed", "modelled", "estimated", "cost_nanousd"),
            *("failed_cost_nanousd", "premium_low_nanousd", "premium_point_nanousd", "premium_high_nanousd"),
        ),
        0,
    )
    report = report_of(totals_of(**nothing))
    assert report["totals"]["savings_share"] is None
    assert report["coverage"]["priced"] is None
    assert report["coverage"]["modelled"] is None


def test_groups_carry_their_names_and_the_unallocated_its_null() -> None:
    report = report_of(totals_of(), totals_of(("search", "haiku")), totals_of((None, "haiku")), names=("team", "model"))
    assert [(row["team"], row["model"]) for row in report["groups"]] == [("search", "haiku"), (None, "haiku")]
    assert report["group_by"] == ["team", "model"]
    assert (report["from"], report["price_revision"], report["policy_revisions"]) == (
        "2026-11-01T00:00:00Z",
        "prices",
        ["policy"],
    )
