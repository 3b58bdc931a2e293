"""Bodies of the callers' own wire, in words that hosts of open models know."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from router.providers.openai_body import body_of
from tests.router.providers.calls import LLAMA, call_of, user

OPENAI = "openai/gpt-4.1"
GROQ = "groq/llama-3.3-70b-versatile"
REFUSED: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief"},
    user("Hi"),
    {"role": "assistant", "content": None, "refusal": "I cannot", "annotations": []},
    {"role": "assistant", "content": [{"type": "text", "text": "Well,"}, {"type": "refusal", "refusal": "no"}]},
    user("Why?"),
]


def sent(provider_model: str, able: tuple[str, ...] = (), /, **body: Any) -> dict[str, Any]:
    call = call_of(LLAMA, {"model": "auto", **body})
    card = replace(call.deployment.model.card, capabilities=frozenset(able))
    model = replace(call.deployment.model, provider_model=provider_model, card=card)
    return body_of(replace(call, deployment=replace(call.deployment, model=model)), is_streamed=False)


def test_a_refusal_in_the_history_is_text_where_the_host_knows_no_other() -> None:
    assert sent(LLAMA, messages=REFUSED)["messages"] == [
        {"role": "system", "content": "Be brief"},
        user("Hi"),
        {"role": "assistant", "content": "I cannot"},
        {"role": "assistant", "content": [{"type": "text", "text": "Well,"}, {"type": "text", "text": "no"}]},
        user("Why?"),
    ]


def test_openai_itself_is_told_the_history_as_it_came_but_for_what_it_refuses() -> None:
    known = {"role": "assistant", "content": None, "refusal": "I cannot"}
    assert sent(OPENAI, messages=REFUSED)["messages"] == [*REFUSED[:2], known, *REFUSED[3:]]


MARK = {"cache_control": {"type": "ephemeral"}}
PICTURE = {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
F = {"name": "f", "parameters": {"type": "object", "properties": {"annotations": {"type": "string"}}}}
ECHOED: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief", **MARK},
    {"role": "user", "content": [{"type": "text", "text": "Hi", **MARK}, {**PICTURE, **MARK}]},
    {
        "role": "assistant",
        "content": "Well",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "reasoning_content": "Hm",
        "thinking_blocks": [],
        "provider_specific_fields": None,
        "tool_calls": [{**CALL, "index": 0}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "1", "name": "f"},
    user("So?"),
]


@pytest.mark.parametrize("provider_model", [LLAMA, GROQ])
def test_what_other_vendors_answers_and_marks_hold_is_not_sent_to_a_host_that_refuses_it(provider_model: str) -> None:
    body = sent(provider_model, messages=ECHOED, tools=[{"type": "function", "function": {**F, **MARK}, **MARK}])
    assert body["messages"] == [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, PICTURE]},
        {"role": "assistant", "content": "Well", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "1", **({} if provider_model == GROQ else {"name": "f"})},
        user("So?"),
    ]
    assert body["tools"] == [{"type": "function", "function": F}], "a schema's own words stay"


def test_what_a_host_refuses_and_nobody_asked_for_is_left_out() -> None:
    nothing = {"logprobs": False, "frequency_penalty": 0.0, "parallel_tool_calls": True}
    asked = sent("cerebras/llama", messages=[user("Hi")], **nothing).keys()
    assert asked == {"model", "messages", "max_tokens", "logprobs"}
    assert "logprobs" not in sent(GROQ, messages=[user("Hi")], **nothing)


@pytest.mark.parametrize(
    ("provider_model", "able", "asked", "told"),
    [
        ("openai/o3", (), "none", "low"),
        ("openai/gpt-5", ("minimal_effort",), "none", "minimal"),
        ("openai/gpt-5.4", ("none_effort", "xhigh_effort"), "none", "none"),
        ("openai/gpt-5.4", ("none_effort", "xhigh_effort"), "max", "xhigh"),
        ("openai/gpt-5", ("minimal_effort",), "xhigh", "high"),
        ("groq/openai/gpt-oss-120b", (), "minimal", "low"),
        ("groq/qwen/qwen3-32b", (), "none", "none"),
    ],
)
def test_an_effort_is_the_nearest_that_the_model_takes(
    provider_model: str, able: tuple[str, ...], asked: str, told: str
) -> None:
    able = ("reasoning", *able)
    assert sent(provider_model, able, messages=[user("Hi")], reasoning_effort=asked)["reasoning_effort"] == told


def test_a_model_that_makes_one_call_at_a_time_is_not_told_how_many() -> None:
    body = {"messages": [user("Hi")], "tools": [{"type": "function", "function": F}], "parallel_tool_calls": True}
    assert "parallel_tool_calls" not in sent("openai/o3", ("tools",), **body)
    assert sent("openai/gpt-5", ("tools", "parallel_tools"), **body)["parallel_tool_calls"] is True


def test_a_host_that_takes_more_is_told_more() -> None:
    assert sent("hosted_vllm/llama", messages=ECHOED)["messages"] == ECHOED


def test_advice_for_openai_goes_to_no_other_host_and_a_null_to_none() -> None:
    advice = {"store": True, "prompt_cache_key": "k", "safety_identifier": "s", "service_tier": "auto"}
    told = {name: sent(name, messages=[user("Hi")], **advice, seed=None) for name in (OPENAI, LLAMA, GROQ)}
    assert {name: told[OPENAI].get(name) for name in advice} == advice
    assert "seed" not in told[OPENAI]
    assert told[LLAMA].keys() == {"model", "messages", "max_tokens"}
    assert told[GROQ].keys() == {"model", "messages", "max_tokens", "service_tier"}


def test_arguments_that_a_model_broke_off_are_kept_under_a_name_for_templates_that_read_them() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"city": "Ro'}}
    whole = {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    history = [
        user("Hi"),
        {"role": "assistant", "content": None, "tool_calls": [call, whole]},
        {"role": "tool", "tool_call_id": "c1", "content": "what?"},
        {"role": "tool", "tool_call_id": "c2", "content": "1"},
    ]
    body = {"messages": history}
    told = [each["function"]["arguments"] for each in sent(LLAMA, **body)["messages"][1]["tool_calls"]]
    assert told == ['{"arguments":"{\\"city\\": \\"Ro"}', "{}"]
    assert sent(OPENAI, **body)["messages"] == history
