from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from router.catalog import cost_nanousd
from router.chat import Image, Message, Sampling, Text, Tool
from router.decide import decide, output_tokens_max_of
from router.errors import ContextLengthExceededError, NoEligibleModelError
from router.policy import Caller, Condition, Limits, Policy, Requirement, Rule, Terms
from router.receipt import choice_of_receipt, receipt_of
from router.token_priors import input_tokens_of
from router.tokens import TokenUsage
from tests.builders import CAPABLE, model_of, policy_of, request_of
from tests.router.scripted import ScriptedQuality

if TYPE_CHECKING:
    from router.decision import Decision

OPUS = model_of("opus", input_usd="5", output_usd="25", tier="premium")
HAIKU = model_of("haiku", input_usd="1", output_usd="5", tier="economy")
LLAMA = model_of(
    "llama",
    input_usd="0.88",
    output_usd="0.88",
    provider_model="together_ai/meta-llama/Llama-3.3-70B",
    vendor="meta",
    tier="economy",
    wire="openai",
)
FLASH = model_of(
    "flash", input_usd="0.3", output_usd="2.5", provider_model="gemini/gemini-9-flash", vendor="google", wire="gemini"
)
QUALITY = ScriptedQuality(
    {
        "anthropic/opus": 0.0,
        "anthropic/haiku": 0.03,
        "together_ai/meta-llama/Llama-3.3-70B": 0.1,
        "gemini/gemini-9-flash": 0.04,
    }
)
POLICY = policy_of(OPUS, HAIKU, LLAMA, FLASH)


def decided(
    request: Any = None, *, policy: Policy = POLICY, quality: Any = QUALITY, caller: Caller | None = None, **terms: Any
) -> Decision:
    return decide(request or request_of(), caller or Caller(), Terms(**terms), policy, quality, decision_id="dec_1")


def why_of(decision: Decision) -> dict[str, tuple[str, ...]]:
    return {each.model: each.why_not for each in decision.candidates}


def test_the_cheapest_that_keeps_the_tolerance_answers() -> None:
    assert decided(tolerance=0.0).order == ("opus",)
    assert decided(tolerance=0.03).order == ("haiku", "opus")
    assert decided(tolerance=0.2).order[0] == "llama"
    assert decided(tolerance=0.2).order[-1] == "opus"


def test_the_decision_names_what_it_rests_on() -> None:
    decision = decided(quality_tier="economy")
    assert (decision.policy_revision, decision.price_revision, decision.quality_revision) == (
        "policy-revision",
        "price-revision",
        "quality-revision",
    )
    assert (decision.quality_tier, decision.tolerance, decision.threshold) == ("economy", 0.15, 0.15)
    chosen = decision.candidate(decision.model)
    assert decision.expected_cost_nanousd == chosen.expected_cost_nanousd
    assert decision.expected_loss == chosen.predicted_loss
    assert decision.features
    assert all(isinstance(value, float) for value in decision.features.values())


def test_each_candidate_is_priced_on_its_own_tokens() -> None:
    text = "How many roads must a man walk down? " * 200
    decision = decided(request_of(text=text))
    tokens = {each.model: each.input_tokens for each in decision.candidates}
    assert tokens["opus"] == tokens["haiku"] > tokens["llama"]
    for name, model in POLICY.models.items():
        mine = decision.candidate(name)
        least = cost_nanousd(model.prices, TokenUsage(mine.input_tokens, output_text=mine.output_tokens))
        assert mine.expected_cost_nanousd == least
    assert tokens["llama"] == input_tokens_of(
        LLAMA,
        text_bytes=len(text.encode()),
        non_ascii_share=0.0,
        code_share=0.0,
        messages=1,
        tools_bytes=0,
        images=0,
    )


def test_reasoning_tokens_are_part_of_the_cost() -> None:
    plain = decided(request_of(reasoning_effort="none")).candidate("haiku")
    thinking = decided(request_of(reasoning_effort="high")).candidate("haiku")
    assert thinking.output_tokens == plain.output_tokens * 3
    assert thinking.expected_cost_nanousd > plain.expected_cost_nanousd


def test_expected_output_stays_within_what_was_asked_for() -> None:
    for each in decided(request_of(output_tokens_max=3)).candidates:
        assert each.output_tokens <= 3
        assert each.output_tokens_max == 3


def test_the_output_limit_is_the_callers_the_policys_and_never_above_the_models() -> None:
    policy = replace(POLICY, limits=Limits(output_tokens_default=1_000))
    thinker = model_of("thinker", thinking_always_on=True)
    unlimited = model_of("unlimited", max_output_tokens=None)
    small = model_of("small", max_output_tokens=500)
    asked = request_of(output_tokens_max=700)
    assert output_tokens_max_of(request_of(), HAIKU, policy) == 1_000
    assert output_tokens_max_of(request_of(), thinker, policy) == 4_000
    assert output_tokens_max_of(request_of(), unlimited, policy) == 1_000
    assert output_tokens_max_of(request_of(), small, policy) == 500
    assert output_tokens_max_of(asked, thinker, policy) == 700
    assert output_tokens_max_of(asked, small, policy) == 500
    assert output_tokens_max_of(asked, unlimited, policy) == 700


def test_a_dropped_setting_is_named_and_one_that_may_not_be_dropped_keeps_the_model_out() -> None:
    picky = replace(HAIKU, card=replace(HAIKU.card, refuses=frozenset({"sampling_params"})))
    request = request_of(sampling=Sampling(temperature=0.3))
    kept_out = decided(request, policy=policy_of(OPUS, picky), tolerance=0.05)
    assert kept_out.order == ("opus",)
    assert why_of(kept_out)["haiku"] == ("refuses:sampling_params",)
    dropping = policy_of(OPUS, picky, droppable=frozenset({"sampling_params"}))
    dropped = decided(request, policy=dropping, tolerance=0.05)
    assert dropped.order == ("haiku", "opus")
    assert [each.dropped for each in dropped.candidates] == [(), ("sampling_params",)]


def test_a_limit_that_may_be_dropped_counts_at_the_models_own_size_against_its_window() -> None:
    request = request_of(output_tokens_max=500_000)
    with pytest.raises(NoEligibleModelError) as caught:
        decided(request, policy=policy_of(OPUS))
    assert caught.value.data["candidates"] == [{"model": "opus", "why_not": ["refuses:output_limit"]}]
    clamped = decided(request, policy=policy_of(OPUS, droppable=frozenset({"output_limit"})))
    assert clamped.candidate("opus").output_tokens_max == 64_000
    assert clamped.candidate("opus").dropped == ("output_limit",)


# --- nothing may serve -----------------------------------------------------------------------------------------------


def test_422_lists_every_candidate_with_every_reason() -> None:
    blind = {"capabilities": CAPABLE - {"vision"}}
    policy = policy_of(
        model_of("opus", **blind), replace(model_of("haiku", **blind), is_reachable=False), rules=(_only("meta"),)
    )
    image = request_of(messages=(Message("user", (Image(url="https://example.com/x.png"),)),))
    with pytest.raises(NoEligibleModelError) as caught:
        decided(image, policy=policy)
    assert caught.value.data["candidates"] == [
        {"model": "opus", "why_not": ["lacks:vision", "rule:only-meta"]},
        {"model": "haiku", "why_not": ["no_api_key", "lacks:vision", "rule:only-meta"]},
    ]
    assert "haiku: no_api_key, lacks:vision, rule:only-meta" in caught.value.message
    assert caught.value.http_status == 422
    for kind in ("`lacks:`", "`rule:`", "`no_api_key`"):
        assert kind in caught.value.message, "what a reason means stands beside it"
    assert "`wire:`" not in caught.value.message


def test_what_an_api_has_no_word_for_is_told_as_that() -> None:
    with pytest.raises(NoEligibleModelError) as caught:
        decided(request_of(model="opus", sampling=Sampling(seed=4)))
    assert caught.value.data["candidates"] == [{"model": "opus", "why_not": ["wire:seed"]}]
    assert "no word for: leave it out" in caught.value.message


def _only(vendor: str, **when: Any) -> Rule:
    return Rule(f"only-{vendor}", Condition(**when), Requirement(vendors=frozenset({vendor})))


def test_a_pinned_model_that_may_not_serve_names_itself_alone() -> None:
    with pytest.raises(NoEligibleModelError) as caught:
        decided(request_of(model="llama"), policy=replace(POLICY, rules=(_only("google"),)))
    assert caught.value.data["candidates"] == [{"model": "llama", "why_not": ["rule:only-google"]}]


def test_400_where_only_the_length_is_in_the_way_of_all() -> None:
    long = request_of(text="word " * 400_000)
    with pytest.raises(ContextLengthExceededError) as caught:
        decided(long)
    assert caught.value.http_status == 400
    assert caught.value.param == "messages"
    wide = replace(FLASH, card=replace(FLASH.card, context_window=10**7))
    assert decided(long, policy=policy_of(OPUS, wide)).order == ("flash",)
    assert decided(long, policy=policy_of(OPUS, wide)).reason in ("premium_not_eligible", "cheapest_within_tolerance")


def test_a_pinned_model_answers_whatever_it_is_predicted_to_lose() -> None:
    decision = decided(request_of(model="llama"), tolerance=0.0)
    assert (decision.order, decision.reason, decision.is_pinned) == (("llama",), "pinned", True)
    assert why_of(decision) == {
        "opus": ("not_pinned",),
        "haiku": ("not_pinned",),
        "llama": (),
        "flash": ("not_pinned",),
    }


# --- rules -----------------------------------------------------------------------------------------------------------


def test_a_rule_can_lower_the_tolerance_and_never_raise_it() -> None:
    strict = Rule("strict", Condition(), Requirement(tolerance_max=0.03))
    lax = Rule("lax", Condition(), Requirement(tolerance_max=0.9))
    policy = replace(POLICY, rules=(strict, lax))
    assert decided(policy=policy, tolerance=0.2).tolerance == 0.03
    assert decided(policy=policy, tolerance=0.01).tolerance == 0.01
    assert decided(policy=policy, tolerance=0.2).rules == ("strict", "lax")
    assert decided(policy=policy, tolerance=0.2).order == ("haiku", "opus")


@pytest.mark.parametrize(
    ("request_", "when"),
    [
        (request_of(tools=(Tool("f", "does", {"type": "object"}),)), {"has_tools": True}),
        (request_of(messages=(Message("user", (Image(media_type="image/png", data="aGk="),)),)), {"has_images": True}),
        (request_of(text="word " * 4_000), {"input_tokens_min": 5_000}),
        (request_of(), {"input_tokens_max": 50}),
        (request_of(), {"support_max": 0.9}),
        (request_of(), {"quality_tier": ("economy",)}),
        (request_of(), {"tags": {"app": ("mail",)}}),
    ],
)
def test_rules_see_the_request_as_it_is(request_: Any, when: dict[str, Any]) -> None:
    policy = replace(POLICY, rules=(_only("google", **when),))
    decision = decided(request_, policy=policy, quality_tier="economy", tags={"app": "mail"})
    assert decision.order == ("flash",)
    assert decision.rules == ("only-google",)


def test_the_keys_own_tags_count_for_rules_and_the_requests_win() -> None:
    policy = replace(POLICY, rules=(_only("google", tags={"app": ("mail",)}),))
    caller = Caller(tags={"app": "mail"})
    assert decided(policy=policy, caller=caller).rules == ("only-google",)
    assert decided(policy=policy, caller=caller, tags={"app": "chat"}).rules == ()


# --- abstaining ------------------------------------------------------------------------------------------------------


def test_without_ground_premium_answers() -> None:
    decision = decided(quality=replace(QUALITY, has_ground=False), tolerance=0.5)
    assert (decision.order, decision.reason) == (("opus",), "no_ground")
    assert set(why_of(decision).values()) == {(), ("no_ground",)}


def test_a_model_that_nothing_is_known_of_is_never_chosen_by_price() -> None:
    unknown = replace(QUALITY, losses={"anthropic/opus": 0.0})
    decision = decided(quality=unknown, tolerance=1.0)
    assert (decision.order, decision.reason) == (("opus",), "none_within_tolerance")
    llama = decision.candidate("llama")
    assert (llama.quality, llama.quality_width, llama.predicted_loss, llama.placement) == (None, None, None, "none")
    assert llama.why_not == ("no_placement",)


@pytest.mark.parametrize("tolerance", [0.0, 0.5])
def test_where_premium_may_not_serve_a_loser_says_that_its_loss_decided(tolerance: float) -> None:
    policy = replace(POLICY, rules=(Rule("not-opus", Condition(), Requirement(models=frozenset({"haiku", "llama"}))),))
    quality = replace(QUALITY, has_ground=False)
    decision = decided(policy=policy, quality=quality, tolerance=tolerance)
    assert (decision.order, decision.reason) == (("haiku",), "premium_not_eligible")
    assert decision.candidate("llama").expected_cost_nanousd < decision.candidate("haiku").expected_cost_nanousd
    assert why_of(decision)["llama"] == ("loss_above_threshold",), "it is cheaper, so it cannot have lost as dearer"


@pytest.mark.parametrize(
    ("changes", "is_able"),
    [
        ({}, True),
        ({"is_reachable": False}, True),
        ({"card": replace(OPUS.card, context_window=1)}, False),
        ({"card": replace(OPUS.card, capabilities=frozenset())}, False),
        ({"card": replace(OPUS.card, refuses=frozenset({"sampling_params"}))}, True),
        ({"wire": "gemini"}, True),
    ],
)
def test_whether_premium_could_do_what_is_asked_is_not_whether_it_may(changes: dict[str, Any], is_able: bool) -> None:
    tools = (Tool("look", None, {"type": "object"}),)
    request = request_of(tools=tools, sampling=Sampling(temperature=0.5), extra={"logit_bias": {"1": 2}})
    changed = replace(OPUS, **changes)
    decision = decided(request, policy=policy_of(changed, LLAMA))
    assert decision.is_premium_able is is_able
    assert bool(decision.candidate("opus").why_not) is bool(changes) or changes == {}


# --- the receipt -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("terms", [{"tolerance": 0.0}, {"tolerance": 1 / 3}, {"quality_tier": "economy"}, {}])
@pytest.mark.parametrize("model", ["auto", "llama"])
def test_the_receipt_decides_the_same_again_through_json(terms: dict[str, Any], model: str) -> None:
    decision = decided(request_of(model=model), **terms)
    receipt = json.loads(json.dumps(receipt_of(decision), allow_nan=False))
    again = choice_of_receipt(receipt)
    assert again is not None
    assert (again.order, again.reason) == (decision.order, decision.reason)
    for row, candidate in zip(receipt["candidates"], decision.candidates, strict=True):
        assert row["predicted_loss"] == candidate.predicted_loss
        assert row["expected_cost_nanousd"] == candidate.expected_cost_nanousd


def test_the_receipt_holds_no_text_of_the_prompt() -> None:
    secret = "the-merger-is-on-friday"
    request = request_of(text=secret, messages=(Message("system", (Text(secret),)), Message("user", (Text(secret),))))
    assert secret not in json.dumps(receipt_of(decided(request)))


def test_deciding_twice_gives_the_same() -> None:
    assert decided(request_of(text="x = [1, 2]; print(x)")) == decided(request_of(text="x = [1, 2]; print(x)"))
