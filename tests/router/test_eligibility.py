from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from router.catalog.cards import SAMPLING_BESIDE_EFFORT, SAMPLING_UNLESS_NONE
from router.chat import Image, Message, ResponseFormat, Sampling, Text, Tool, ToolChoice, ToolResult
from router.eligibility import Circumstances, check_model, check_requirement, does_match, matching_rules
from router.policy import Caller, Condition, Requirement, Rule
from tests.builders import CAPABLE, model_of, policy_of, request_of

TOOL = Tool("f", None, {})
IMAGE = Image(media_type="image/png", data="aGk=")
CALLER = Caller(key_id="k1", team="legal", project="web")
SEEN = Circumstances(
    quality_tier="balanced",
    tags={"app": "mail", "env": "prod"},
    input_tokens=1_000,
    has_images=True,
    has_tools=False,
    has_response_schema=False,
    support=0.5,
)


def verdict(request: Any, model: Any, **changes: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    settings: dict[str, Any] = {
        "caller": Caller(),
        "rules": (),
        "droppable": frozenset(),
        "input_tokens": 100,
        "output_tokens": 0,
    }
    return check_model(request, model, **(settings | changes))


def user(*parts: Any) -> tuple[Message, ...]:
    return (Message("user", parts),)


PREFILL = (Message("user", (Text("x"),)), Message("assistant", (Text("{"),)))
WARM = Sampling(temperature=0.7)
ALL_REFUSED = frozenset({"sampling_params", "assistant_prefill", "forced_tool_use"})


@pytest.mark.parametrize(
    ("request_", "card", "code"),
    [
        (request_of(messages=user(IMAGE)), {"capabilities": CAPABLE - {"vision"}}, "lacks:vision"),
        (
            request_of(messages=(Message("tool", (ToolResult("c", (IMAGE,)),)), *user(Text("x")))),
            {"capabilities": CAPABLE - {"vision"}},
            "lacks:vision",
        ),
        (request_of(tools=(TOOL,)), {"capabilities": CAPABLE - {"tools"}}, "lacks:tools"),
        (
            request_of(response_format=ResponseFormat("json_schema", schema={})),
            {"capabilities": CAPABLE - {"response_schema"}},
            "lacks:response_schema",
        ),
        (request_of(sampling=Sampling(seed=1)), {}, "wire:seed"),
        (request_of(sampling=Sampling(temperature=0.0)), {"refuses": ALL_REFUSED}, "refuses:sampling_params"),
        (
            request_of(sampling=WARM, reasoning_effort="low"),
            {"refuses": frozenset({SAMPLING_BESIDE_EFFORT})},
            "refuses:sampling_params",
        ),
        (request_of(sampling=WARM), {"refuses": frozenset({SAMPLING_UNLESS_NONE})}, "refuses:sampling_params"),
        (request_of(stop=("x",)), {"wire": "openai", "refuses": frozenset({"stop"})}, "wire:stop"),
        (request_of(sampling=Sampling(top_k=3)), {"wire": "openai", "provider_model": "groq/m"}, "wire:top_k"),
        (request_of(messages=PREFILL), {"refuses": ALL_REFUSED}, "refuses:assistant_prefill"),
        (request_of(tool_choice=ToolChoice("required")), {"refuses": ALL_REFUSED}, "refuses:forced_tool_use"),
        (request_of(tool_choice=ToolChoice("named", "f")), {"refuses": ALL_REFUSED}, "refuses:forced_tool_use"),
        (request_of(output_tokens_max=64_001), {}, "refuses:output_limit"),
        (
            request_of(reasoning_effort="high"),
            {"capabilities": CAPABLE - {"reasoning"}},
            "refuses:reasoning_effort",
        ),
    ],
)
def test_what_the_model_cannot_do_makes_it_ineligible(request_: Any, card: dict[str, Any], code: str) -> None:
    assert verdict(request_, model_of("m", **card)) == ((code,), ())
    if code.startswith("refuses:"):
        name = code.removeprefix("refuses:")
        assert verdict(request_, model_of("m", **card), droppable=frozenset({name})) == ((), (name,))


@pytest.mark.parametrize(
    ("request_", "card"),
    [
        (request_of(messages=user(IMAGE), tools=(TOOL,), response_format=ResponseFormat("json_schema")), {}),
        (request_of(response_format=ResponseFormat("json_object")), {"capabilities": frozenset()}),
        (request_of(tool_choice=ToolChoice("auto")), {"refuses": ALL_REFUSED}),
        (request_of(tool_choice=ToolChoice("none")), {"refuses": ALL_REFUSED}),
        (request_of(output_tokens_max=64_000), {}),
        (request_of(output_tokens_max=10**9), {"max_output_tokens": None}),
        (request_of(messages=PREFILL, sampling=Sampling(top_k=3)), {}),
        (request_of(messages=()), {"refuses": ALL_REFUSED}),
        (request_of(reasoning_effort="high"), {}),
        (request_of(sampling=WARM), {"refuses": frozenset({SAMPLING_BESIDE_EFFORT})}),
        (request_of(sampling=WARM, reasoning_effort="none"), {"refuses": frozenset({SAMPLING_BESIDE_EFFORT})}),
        (request_of(sampling=WARM, reasoning_effort="none"), {"refuses": frozenset({SAMPLING_UNLESS_NONE})}),
        (request_of(reasoning_effort="low"), {"refuses": frozenset({SAMPLING_BESIDE_EFFORT, SAMPLING_UNLESS_NONE})}),
    ],
)
def test_what_the_model_can_do_keeps_it_in(request_: Any, card: dict[str, Any]) -> None:
    assert verdict(request_, model_of("m", **card)) == ((), ())


def test_a_model_without_a_key_and_a_key_without_the_model() -> None:
    model = model_of("m")
    assert verdict(request_of(), replace(model, is_reachable=False))[0] == ("no_api_key",)
    assert verdict(request_of(), model, caller=Caller(allowed_models=frozenset({"other"})))[0] == ("key",)
    assert verdict(request_of(), model, caller=Caller(allowed_models=frozenset({"m"})))[0] == ()


@pytest.mark.parametrize(("input_tokens", "fits"), [(190_000, True), (190_001, False)])
def test_prompt_and_output_together_fill_the_window(input_tokens: int, fits: bool) -> None:
    found, _ = verdict(request_of(), model_of("m"), input_tokens=input_tokens, output_tokens=10_000)
    assert found == (() if fits else ("context_window",))


def test_an_unknown_window_is_not_guessed() -> None:
    assert verdict(request_of(), model_of("m", context_window=None), input_tokens=10**9)[0] == ()


def test_every_reason_is_named_at_once() -> None:
    model = replace(model_of("m", capabilities=frozenset()), is_reachable=False)
    request = request_of(tools=(TOOL,), sampling=Sampling(seed=1), output_tokens_max=64_001)
    rule = Rule("eu-only", Condition(), Requirement(vendors=frozenset({"meta"})))
    why, dropped = verdict(
        request,
        model,
        caller=Caller(allowed_models=frozenset({"other"})),
        rules=(rule,),
        input_tokens=10**6,
        droppable=frozenset({"output_limit"}),
    )
    assert why == ("no_api_key", "lacks:tools", "wire:seed", "context_window", "key", "rule:eu-only")
    assert dropped == ("output_limit",)


@pytest.mark.parametrize(
    ("require", "is_out"),
    [
        (Requirement(), False),
        (Requirement(tier_min="economy"), False),
        (Requirement(tier_min="standard"), False),
        (Requirement(tier_min="premium"), True),
        (Requirement(vendors=frozenset({"anthropic", "meta"})), False),
        (Requirement(vendors=frozenset({"meta"})), True),
        (Requirement(models=frozenset({"m"})), False),
        (Requirement(models=frozenset({"n"})), True),
        (Requirement(capabilities=frozenset({"vision", "tools"})), False),
        (Requirement(capabilities=frozenset({"audio"})), True),
        (Requirement(tolerance_max=0.0), False),
    ],
)
def test_a_rule_narrows_by_each_of_its_fields(require: Requirement, is_out: bool) -> None:
    assert check_requirement(model_of("m"), "r", require) == (("rule:r",) if is_out else ())


@pytest.mark.parametrize(
    ("when", "matches"),
    [
        (Condition(), True),
        (Condition(team=("legal", "search")), True),
        (Condition(team=("search",)), False),
        (Condition(project=("web",)), True),
        (Condition(project=("app",)), False),
        (Condition(key=("k1",)), True),
        (Condition(key=("k2",)), False),
        (Condition(quality_tier=("balanced",)), True),
        (Condition(quality_tier=("high",)), False),
        (Condition(tags={"app": ("mail", "chat")}), True),
        (Condition(tags={"app": ("chat",)}), False),
        (Condition(tags={"customer": ("acme",)}), False),
        (Condition(tags={"app": ("mail",), "env": ("test",)}), False),
        (Condition(has_images=True), True),
        (Condition(has_images=False), False),
        (Condition(has_tools=False), True),
        (Condition(has_tools=True), False),
        (Condition(has_response_schema=False), True),
        (Condition(has_response_schema=True), False),
        (Condition(input_tokens_min=1_000, input_tokens_max=1_000), True),
        (Condition(input_tokens_min=1_001), False),
        (Condition(input_tokens_max=999), False),
        (Condition(support_max=0.5), True),
        (Condition(support_max=0.49), False),
        (Condition(team=("legal",), has_images=True, support_max=0.4), False),
    ],
)
def test_a_condition_holds_where_all_of_it_holds(when: Condition, matches: bool) -> None:
    assert does_match(when, CALLER, SEEN) is matches


def test_a_caller_without_a_team_is_in_no_named_team() -> None:
    assert not does_match(Condition(team=("legal",)), Caller(), SEEN)


def test_all_rules_that_match_apply() -> None:
    rules = (
        Rule("a", Condition(team=("legal",)), Requirement()),
        Rule("b", Condition(team=("search",)), Requirement()),
        Rule("c", Condition(), Requirement()),
    )
    policy = policy_of(model_of("m"), rules=rules)
    assert [rule.name for rule in matching_rules(policy, CALLER, SEEN)] == ["a", "c"]
