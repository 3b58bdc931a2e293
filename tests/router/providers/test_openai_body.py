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
