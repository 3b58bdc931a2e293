from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.cascade import Step, bar_of, checks_for, plan_of
from router.chat import ResponseFormat, Tool
from router.decide import decide
from router.decision import choose, explained
from router.policy import Caller, Cascade, Terms
from router.receipt import choice_of_receipt, receipt_of
from tests.builders import candidate_of, model_of, policy_of, request_of
from tests.router.scripted import ScriptedQuality

ALL = ("refusal", "truncation", "schema", "tool_call", "empty", "looping")
PREMIUM = Step("premium", 1_000, 0.0, 0.8)
MIDDLE = Step("middle", 300, 0.03, 0.77)
CHEAP = Step("cheap", 100, 0.10, 0.70)
NET = Cascade(("refusal", "empty"))


def stated(**rates: float) -> Cascade:
    return replace(NET, catch_rate=rates)


# --- planning --------------------------------------------------------------------------------------------------------


def test_without_a_stated_catch_rate_checks_are_a_net_under_the_choice_and_let_nothing_else_serve() -> None:
    plan = plan_of(NET, [MIDDLE, PREMIUM], [CHEAP], 0.05)
    assert (plan.why, plan.models) == ("safety_net", ("middle", "premium"))
    assert (plan.expected_loss, plan.expected_cost_nanousd) == (0.03, 300)


def test_a_stated_catch_rate_lets_a_cheaper_model_go_first_where_loss_and_cost_keep() -> None:
    plan = plan_of(stated(cheap=0.8), [MIDDLE, PREMIUM], [CHEAP], 0.05)
    assert (plan.why, plan.models) == ("checks_keep_the_tolerance", ("cheap", "middle"))
    assert plan.expected_loss == pytest.approx(0.2 * 0.10 + 0.8 * 0.03)
    assert plan.check_fails[0] == pytest.approx(0.8 * 0.3)
    assert plan.expected_cost_nanousd == 100 + round(0.24 * 300)
    assert plan.direct_cost_nanousd == 300


def test_where_the_next_cheapest_would_not_keep_the_loss_a_better_one_is_next() -> None:
    within = [MIDDLE._replace(loss=0.05), PREMIUM]
    plan = plan_of(stated(cheap=0.6), within, [CHEAP], 0.05)
    assert plan.models == ("cheap", "premium")
    assert plan.expected_loss == pytest.approx(0.04)
    dearer = CHEAP._replace(cost_nanousd=150)
    assert plan_of(stated(cheap=0.6), within, [dearer], 0.05).models[0] == "middle", "with premium next it costs more"


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.49])
def test_a_catch_rate_that_does_not_bring_the_loss_within_changes_nothing(rate: float) -> None:
    plan = plan_of(stated(cheap=rate), [MIDDLE, PREMIUM], [CHEAP], 0.05)
    assert (plan.why, plan.models[0]) == ("safety_net", "middle")


def test_asking_twice_for_more_than_once_is_not_done() -> None:
    near = CHEAP._replace(cost_nanousd=290)
    assert plan_of(stated(cheap=0.8), [MIDDLE, PREMIUM], [near], 0.05).models[0] == "middle"
    often_wrong = MIDDLE._replace(quality_low=0.1, cost_nanousd=900)
    plan = plan_of(stated(middle=0.9), [often_wrong, PREMIUM], [], 0.05)
    assert (plan.why, plan.models) == ("dearer_with_checks", ())


def test_the_low_end_of_the_quality_is_what_asking_again_is_priced_by() -> None:
    sure, unsure = CHEAP, CHEAP._replace(quality_low=0.1)
    first, second = (plan_of(stated(cheap=0.8), [MIDDLE, PREMIUM], [each], 0.05) for each in (sure, unsure))
    assert first.models[0] == "cheap"
    assert second.models[0] == "middle"


def test_premium_has_no_better_and_a_chain_only_climbs() -> None:
    assert plan_of(NET, [PREMIUM], [], 0.05).why == "nothing_better"
    assert plan_of(NET, [PREMIUM._replace(cost_nanousd=1), MIDDLE], [], 0.05).why == "nothing_better"
    worse = Step("worse", 400, 0.04, 0.7)
    plan = plan_of(replace(NET, max_attempts=3), [MIDDLE, worse, PREMIUM], [], 0.05)
    assert plan.models == ("middle", "premium")


STEPS = st.builds(Step, st.sampled_from("abcdef"), st.integers(0, 1_000), st.floats(-0.2, 1), st.floats(0, 1))


@given(
    st.lists(STEPS, min_size=1, max_size=6, unique_by=lambda step: step.model),
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1)),
    st.floats(0, 0.5),
    st.integers(2, 5),
)
def test_a_plan_never_loses_more_than_the_threshold_and_never_costs_more_than_all_its_answers(
    steps: list[Step], rates: dict[str, float], threshold: float, attempts: int
) -> None:
    within = sorted((each for each in steps if each.loss <= threshold), key=lambda each: each.cost_nanousd)
    outside = [each for each in steps if each.loss > threshold]
    if not within:
        return
    cascade = Cascade(("empty",), max_attempts=attempts, catch_rate=rates)
    plan = plan_of(cascade, within, outside, threshold)
    costs = {each.model: each.cost_nanousd for each in steps}
    losses = {each.model: each.loss for each in steps}
    assert plan.expected_loss is not None
    assert plan.expected_loss <= threshold
    assert len(plan.models) <= attempts
    if plan.models:
        assert costs[plan.models[0]] <= plan.expected_cost_nanousd <= sum(costs[name] for name in plan.models)
        assert all(losses[name] <= threshold for name in plan.models[1:])
        climb = [losses[name] for name in plan.models]
        assert climb == sorted(climb, reverse=True)
    if plan.models and losses[plan.models[0]] > threshold:
        assert rates.get(plan.models[0], 0.0) > 0, "a threshold is left for a stated catch rate alone"
        assert plan.expected_cost_nanousd < within[0].cost_nanousd
    else:
        assert plan.direct_cost_nanousd == within[0].cost_nanousd


# --- who is cascaded -------------------------------------------------------------------------------------------------


def test_checks_that_cannot_say_anything_are_left_out() -> None:
    assert checks_for(ALL, request_of()) == ("refusal", "truncation", "empty", "looping")
    asked = request_of(response_format=ResponseFormat("json_object"), tools=(Tool("f", None, {}),))
    assert checks_for(ALL, asked) == ALL


def test_what_keeps_a_request_out() -> None:
    cascade = Cascade(("schema",), tiers=frozenset({"economy"}))
    wants_json = request_of(response_format=ResponseFormat("json_object"))
    assert bar_of(cascade, wants_json, "economy", is_pinned=False) is None
    assert bar_of(cascade, wants_json, "economy", is_pinned=True) == "pinned"
    assert bar_of(cascade, wants_json, "high", is_pinned=False) == "tier"
    assert bar_of(cascade, wants_json, None, is_pinned=False) == "tier"
    assert bar_of(cascade, request_of(), "economy", is_pinned=False) == "no_check_applies"
    streamed = replace(wants_json, is_streamed=True)
    assert bar_of(cascade, streamed, "economy", is_pinned=False) == "streamed"
    assert bar_of(replace(cascade, buffers_streams=True), streamed, "economy", is_pinned=False) is None


# --- in a decision ---------------------------------------------------------------------------------------------------

OPUS = model_of("opus", input_usd="5", output_usd="25", tier="premium")
HAIKU = model_of("haiku", input_usd="1", output_usd="5")
TINY = model_of("tiny", input_usd="0.1", output_usd="0.4", tier="economy")
QUALITY = ScriptedQuality({"anthropic/opus": 0.0, "anthropic/haiku": 0.02, "anthropic/tiny": 0.10})


def decided(cascade: Cascade | None, quality: ScriptedQuality = QUALITY, model: str = "auto", **terms: Any) -> Any:
    policy = policy_of(OPUS, HAIKU, TINY, cascade=cascade)
    request = request_of(model=model)
    return decide(request, Caller(), Terms(**terms), policy, quality, decision_id="d")  # type: ignore[arg-type]


def test_without_a_cascade_a_decision_has_no_plan() -> None:
    assert decided(None).cascade is None
    assert receipt_of(decided(None))["cascade"] is None


def test_a_net_changes_nothing_but_what_happens_to_a_failed_answer() -> None:
    bare, net = decided(None), decided(NET)
    assert replace(net, cascade=None) == bare
    assert net.cascade.models == ("haiku", "opus")
    assert net.better_than("haiku") == ("opus",)
    assert net.better_than("opus") == ()


def test_a_stated_catch_rate_changes_the_choice_and_the_receipt_says_so() -> None:
    decision = decided(stated(tiny=0.8))
    assert (decision.model, decision.order, decision.reason) == ("tiny", ("tiny", "haiku", "opus"), "cascade")
    assert decision.expected_loss == decision.cascade.expected_loss == pytest.approx(0.2 * 0.10 + 0.8 * 0.02)
    assert decision.expected_cost_nanousd == decision.cascade.expected_cost_nanousd
    assert decision.loss_of("tiny") == decision.expected_loss
    assert decision.loss_of("haiku") == 0.02
    assert decision.better_than("tiny") == ("haiku", "opus")
    assert {each.model: each.why_not for each in decision.candidates} == {
        "opus": ("dearer",),
        "haiku": ("dearer",),
        "tiny": (),
    }


@pytest.mark.parametrize("terms", [{"tolerance": 0.0}, {"quality_tier": "premium"}])
def test_no_catch_rate_weakens_a_tolerance_of_zero_nor_the_lack_of_ground(terms: dict[str, Any]) -> None:
    everything = stated(tiny=1.0, haiku=1.0)
    assert decided(everything, **terms).order == ("opus",)
    assert decided(everything, replace(QUALITY, has_ground=False)).order == ("opus",)


def test_a_pinned_model_is_not_cascaded() -> None:
    decision = decided(stated(tiny=0.8), model="tiny")
    assert (decision.order, decision.reason, decision.cascade.why) == (("tiny",), "pinned", "pinned")
    assert decision.cascade.models == ()
    assert decision.better_than("tiny") == ()


@pytest.mark.parametrize("cascade", [NET, stated(tiny=0.8), stated(tiny=0.3), replace(NET, tiers=frozenset({"high"}))])
@pytest.mark.parametrize("model", ["auto", "tiny"])
@pytest.mark.parametrize("terms", [{}, {"tolerance": 0.0}, {"tolerance": 1 / 3}])
def test_a_receipt_through_json_decides_the_same_again(cascade: Cascade, model: str, terms: dict[str, Any]) -> None:
    decision = decided(cascade, model=model, **terms)
    again = choice_of_receipt(json.loads(json.dumps(receipt_of(decision), allow_nan=False)))
    assert again is not None
    assert (again.order, again.reason, again.plan) == (decision.order, decision.reason, decision.cascade)


def test_where_nothing_is_known_of_the_only_model_that_may_serve_the_receipt_is_still_json() -> None:
    only = candidate_of("only", loss=None, cost=5)
    barred = candidate_of("premium", is_eligible=False, why_not=("lacks:vision",))
    choice = choose(
        (only, barred),
        premium="premium",
        tolerance=0.05,
        threshold=0.03,
        pinned=None,
        has_ground=True,
        cascade=NET,
    )
    assert choice is not None
    assert choice.plan is not None
    assert (choice.plan.why, choice.plan.expected_loss) == ("nothing_better", None)
    assert explained((only, barred), choice, "premium", 0.03)[0].why_not == ()
