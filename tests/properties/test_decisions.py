"""What holds of every decision, whatever the policy, the prompt and the predictions are."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import assume, given
from hypothesis import strategies as st

from router.chat import Image, Message, Sampling, Text, Tool
from router.decide import decide
from router.decision import Decision
from router.errors import ContextLengthExceededError, NoEligibleModelError
from router.policy import Caller, Condition, Policy, PolicyModel, Requirement, Rule, Terms
from router.receipt import choice_of_receipt, receipt_of
from tests.builders import CAPABLE, model_of, policy_of, request_of
from tests.router.scripted import ScriptedQuality

if TYPE_CHECKING:
    from router.chat import Request

HOSTS = ("anthropic/claude-opus-5", "anthropic/claude-haiku-4-5", "gemini/gemini-3-flash", "groq/llama-3", "openai/gpt")
WIRES = {"anthropic": "anthropic", "gemini": "gemini", "groq": "openai", "openai": "openai"}


@st.composite
def models(draw: st.DrawFn, name: str) -> PolicyModel:
    host = draw(st.sampled_from(HOSTS))
    vendor = host.split("/", 1)[0]
    model = model_of(
        name,
        input_usd=draw(st.sampled_from(["0.1", "1", "1", "5"])),
        output_usd=draw(st.sampled_from(["0.5", "5", "5", "25"])),
        provider_model=f"{host}-{name}",
        vendor=vendor,
        tier=draw(st.sampled_from(["economy", "standard", "premium"])),
        wire=WIRES[vendor],
        capabilities=frozenset(draw(st.sets(st.sampled_from(sorted(CAPABLE)))) | {"tools"}),
        refuses=frozenset(draw(st.sets(st.sampled_from(["sampling_params", "assistant_prefill"])))),
        context_window=draw(st.sampled_from([None, 5_000, 200_000])),
        thinking_always_on=draw(st.booleans()),
    )
    return replace(model, is_reachable=draw(st.integers(0, 9)) > 0)


@st.composite
def rules(draw: st.DrawFn, name: str) -> Rule:
    when = Condition(
        team=draw(st.sampled_from([(), ("search",), ("legal",)])), has_images=draw(st.sampled_from([None, True, False]))
    )
    require = Requirement(
        tier_min=draw(st.sampled_from([None, None, "standard"])),
        vendors=draw(st.sampled_from([frozenset(), frozenset({"anthropic", "gemini"})])),
        tolerance_max=draw(st.sampled_from([None, 0.0, 0.1, 0.5])),
    )
    return Rule(name, when, require)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Policy, ScriptedQuality, Request, Caller]:
    names = draw(st.permutations([f"m{index}" for index in range(draw(st.integers(1, 5)))]))
    found = [draw(models(name)) for name in names]
    policy = policy_of(
        *found,
        premium=draw(st.sampled_from(names)),
        rules=tuple(draw(rules(f"r{index}")) for index in range(draw(st.integers(0, 3)))),
        droppable=frozenset(draw(st.sets(st.sampled_from(["sampling_params", "output_limit"])))),
    )
    losses = {each.provider_model: draw(st.sampled_from([None, -0.1, 0.0, 0.05, 0.05, 0.3])) for each in found}
    losses[policy.premium_model.provider_model] = 0.0
    quality = ScriptedQuality(losses, has_ground=draw(st.booleans()))
    parts: list[Any] = [Text(draw(st.sampled_from(["hi", "word " * 6_000])))]
    if draw(st.integers(0, 4)) == 0:
        parts.append(Image(media_type="image/png", data="aGk="))
    request = request_of(
        messages=(Message("user", tuple(parts)),),
        tools=(Tool("f", None, {}),) if draw(st.booleans()) else (),
        sampling=Sampling(temperature=draw(st.sampled_from([None, None, 0.5]))),
        output_tokens_max=draw(st.sampled_from([None, 5, 4_000, 100_000])),
    )
    return policy, quality, request, Caller(team=draw(st.sampled_from([None, "search", "legal"])))


TOLERANCES = st.sampled_from([0.0, 1e-9, 0.05, 0.1, 0.3, 1.0]) | st.floats(0, 1)


def outcome_of(world: tuple[Policy, ScriptedQuality, Request, Caller], tolerance: float) -> Decision | list[Any]:
    """The decision, or the candidates that a refusal lists."""
    policy, quality, request, caller = world
    try:
        return decide(request, caller, Terms(tolerance=tolerance), policy, quality, decision_id="d")  # type: ignore[arg-type]
    except NoEligibleModelError as error:
        listed: Any = error.data["candidates"]
        assert {each["model"] for each in listed} == set(policy.models)
        assert all(each["why_not"] for each in listed)
        return sorted(listed, key=lambda each: each["model"])
    except ContextLengthExceededError:
        return []


@given(worlds(), TOLERANCES, TOLERANCES)
def test_a_larger_tolerance_never_costs_more(world: Any, first: float, second: float) -> None:
    strict, lax = (outcome_of(world, tolerance) for tolerance in sorted((first, second)))
    assert isinstance(strict, Decision) is isinstance(lax, Decision), "a tolerance decides who is best, never who may"
    if isinstance(strict, Decision) and isinstance(lax, Decision):
        assert lax.expected_cost_nanousd <= strict.expected_cost_nanousd


@given(worlds(), TOLERANCES, st.randoms(use_true_random=False))
def test_the_order_of_models_and_rules_means_nothing(world: Any, tolerance: float, chance: Any) -> None:
    policy, quality, request, caller = world
    names, shuffled_rules = list(policy.models), list(policy.rules)
    chance.shuffle(names)
    chance.shuffle(shuffled_rules)
    turned = replace(policy, models={name: policy.models[name] for name in names}, rules=tuple(shuffled_rules))
    before, after = outcome_of(world, tolerance), outcome_of((turned, quality, request, caller), tolerance)
    if isinstance(before, Decision):
        assert isinstance(after, Decision)
        assert (after.order, after.reason, after.tolerance) == (before.order, before.reason, before.tolerance)
        assert {each.model: each.predicted_loss for each in after.candidates} == {
            each.model: each.predicted_loss for each in before.candidates
        }
    else:
        assert isinstance(after, list)
        assert [each["model"] for each in after] == [each["model"] for each in before]
        assert [sorted(each["why_not"]) for each in after] == [sorted(each["why_not"]) for each in before]


@given(worlds(), TOLERANCES, st.data())
def test_removing_a_loser_changes_nothing(world: Any, tolerance: float, data: st.DataObject) -> None:
    policy, quality, request, caller = world
    before = outcome_of(world, tolerance)
    assume(isinstance(before, Decision))
    assert isinstance(before, Decision)
    losers = sorted(set(policy.models) - {before.model, policy.premium})
    assume(losers)
    gone = data.draw(st.sampled_from(losers))
    fewer = replace(policy, models={name: each for name, each in policy.models.items() if name != gone})
    after = outcome_of((fewer, quality, request, caller), tolerance)
    assert isinstance(after, Decision)
    assert after.model == before.model
    assert after.order == tuple(name for name in before.order if name != gone)
    assert after.expected_cost_nanousd == before.expected_cost_nanousd


@given(worlds(), TOLERANCES)
def test_whoever_is_asked_may_serve_and_keeps_the_tolerance(world: Any, tolerance: float) -> None:
    policy, _, _, _ = world
    decision = outcome_of(world, tolerance)
    assume(isinstance(decision, Decision))
    assert isinstance(decision, Decision)
    assert decision.tolerance <= tolerance
    costs = [decision.candidate(name).expected_cost_nanousd for name in decision.order]
    assert costs == sorted(costs)
    for name in decision.order:
        candidate = decision.candidate(name)
        assert candidate.is_eligible
        assert candidate.output_tokens <= candidate.output_tokens_max
        if name != policy.premium and decision.reason != "premium_not_eligible":
            assert candidate.predicted_loss is not None
            assert candidate.predicted_loss <= decision.threshold
            assert decision.has_ground
            assert decision.tolerance > 0
    for each in decision.candidates:
        assert (each.why_not == ()) is (each.model == decision.model)


@given(worlds(), TOLERANCES)
def test_a_receipt_decides_the_same_again_bit_for_bit(world: Any, tolerance: float) -> None:
    decision = outcome_of(world, tolerance)
    assume(isinstance(decision, Decision))
    assert isinstance(decision, Decision)
    text = json.dumps(receipt_of(decision), allow_nan=False)
    again = choice_of_receipt(json.loads(text))
    assert again is not None
    assert (again.order, again.reason) == (decision.order, decision.reason)
    assert json.dumps(json.loads(text)) == text
