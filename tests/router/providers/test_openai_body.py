"""Bodies of the callers' own wire, in words that hosts of open models know."""

from __future__ import annotations

from typing import Any

from router.providers.openai_body import body_of
from tests.router.providers.calls import LLAMA, call_of, user

OPENAI = "openai/gpt-4.1"
REFUSED: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief"},
    user("Hi"),
    {"role": "assistant", "content": None, "refusal": "I cannot", "annotations": []},
    {"role": "assistant", "content": [{"type": "text", "text": "Well,"}, {"type": "refusal", "refusal": "no"}]},
    user("Why?"),
]


def test_a_refusal_in_the_history_is_text_where_the_host_knows_no_other() -> None:
    sent = body_of(call_of(LLAMA, {"model": "auto", "messages": REFUSED}), is_streamed=False)["messages"]
    assert sent == [
        {"role": "system", "content": "Be brief"},
        user("Hi"),
        {"role": "assistant", "content": "I cannot", "refusal": None, "annotations": []},
        {"role": "assistant", "content": [{"type": "text", "text": "Well,"}, {"type": "text", "text": "no"}]},
        user("Why?"),
    ]


def test_openai_itself_is_told_the_history_as_it_came() -> None:
    assert body_of(call_of(OPENAI, {"model": "auto", "messages": REFUSED}), is_streamed=False)["messages"] == REFUSED


def test_arguments_that_a_model_broke_off_are_kept_under_a_name_for_templates_that_read_them() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"city": "Ro'}}
    whole = {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    history = [
        user("Hi"),
        {"role": "assistant", "content": None, "tool_calls": [call, whole]},
        {"role": "tool", "tool_call_id": "c1", "content": "what?"},
        {"role": "tool", "tool_call_id": "c2", "content": "1"},
    ]
    body = {"model": "auto", "messages": history}
    sent = body_of(call_of(LLAMA, body), is_streamed=False)["messages"]
    assert isinstance(sent, list)
    told = [each["function"]["arguments"] for each in sent[1]["tool_calls"]]
    assert told == ['{"arguments":"{\\"city\\": \\"Ro"}', "{}"]
    assert body_of(call_of(OPENAI, body), is_streamed=False)["messages"] == history
