from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.chat import Image, Message, ResponseFormat, Text, Thinking, Tool, ToolCall, ToolResult
from router.prompt import (
    HISTORY_BYTES_MAX,
    code_share_of,
    encode_text,
    history_of,
    prompt_view_of,
    question_index_of,
    sizes_of,
    text_of,
    tools_bytes_of,
)
from tests.builders import request_of

IMAGE = Image(url="https://example.com/x.png")
CONVERSATION = (
    Message("system", (Text("Be brief."),)),
    Message("user", (Text("What is the weather?"), IMAGE)),
    Message("assistant", (Thinking("hm", "sig", "anthropic"), ToolCall("c", "weather", '{"city":"Rome"}'))),
    Message("tool", (ToolResult("c", (Text("sunny"), IMAGE)),)),
    Message("assistant", (Text("It is sunny."),)),
    Message("user", (Text("And tomorrow?"),)),
    Message("assistant", (ToolCall("d", "forecast", "{}"),)),
    Message("tool", (ToolResult("d", (Text("rain"),)),)),
)


def test_a_conversation_is_seen_as_question_system_and_history() -> None:
    request = request_of(messages=CONVERSATION, tools=(Tool("weather", "tells", {"type": "object"}),))
    sizes = sizes_of(request)
    view = prompt_view_of(request, sizes)
    assert view.question == b"And tomorrow?"
    assert view.system == b"Be brief."
    assert view.history == b'What is the weather?\nweather {"city":"Rome"}\nsunny\nIt is sunny.\nforecast {}\nrain'
    assert (view.n_turns, view.n_messages, view.n_tools, view.n_tool_results, view.n_images) == (2, 8, 1, 2, 2)
    assert view.tool_schema_bytes == len("weather") + len("tells") + len('{"type":"object"}')
    assert view.input_bytes == sizes.text_bytes + sizes.tools_bytes
    assert not view.has_response_schema


@pytest.mark.parametrize(("kind", "has_schema"), [("text", False), ("json_object", False), ("json_schema", True)])
def test_a_schema_for_the_answer_is_noticed(kind: str, has_schema: bool) -> None:
    request = request_of(response_format=ResponseFormat(kind))
    assert prompt_view_of(request, sizes_of(request)).has_response_schema is has_schema


def test_a_request_without_a_users_word_has_an_empty_question() -> None:
    for messages in ((), (Message("system", (Text("x"),)),), (Message("user", (ToolResult("c", (Text("y"),)),)),)):
        request = request_of(messages=messages)
        assert question_index_of(messages) is None
        assert prompt_view_of(request, sizes_of(request)).question == b""


def test_an_image_alone_is_a_users_turn() -> None:
    assert question_index_of((Message("user", (Text("a"),)), Message("user", (IMAGE,)))) == 1


def test_every_system_message_counts_wherever_it_stands() -> None:
    messages = (Message("system", (Text("a"),)), Message("user", (Text("q"),)), Message("system", (Text("b"),)))
    request = request_of(messages=messages)
    assert prompt_view_of(request, sizes_of(request)).system == b"a\nb"


def test_of_a_long_history_the_newest_is_kept() -> None:
    old, new = Message("assistant", (Text("old " * 5_000),)), Message("assistant", (Text("new " * 1_000),))
    question = Message("user", (Text("q"),))
    history = history_of((old, new, question), 2)
    assert HISTORY_BYTES_MAX - 4 <= len(history) <= HISTORY_BYTES_MAX
    assert history.endswith(b"new ")
    assert history.startswith(b"ld old ")
    longest = history_of((old, Message("assistant", (Text("x" * 20_000),)), question), 2)
    assert longest == b"x" * HISTORY_BYTES_MAX


@given(st.lists(st.text(max_size=3_000), max_size=12))
def test_history_is_bounded_whatever_was_said(texts: list[str]) -> None:
    messages = tuple(Message("assistant", (Text(text),)) for text in texts)
    assert len(history_of(messages, None)) <= HISTORY_BYTES_MAX


def test_sizes_count_bytes_not_characters() -> None:
    latin, chinese, cyrillic = (
        sizes_of(request_of(text=text)) for text in ("word " * 20, "\u4e2d" * 30, "\u0434" * 30)
    )
    assert (latin.text_bytes, latin.non_ascii_share) == (100, 0.0)
    assert (chinese.text_bytes, chinese.non_ascii_share) == (90, pytest.approx(2 / 3))
    assert (cyrillic.text_bytes, cyrillic.non_ascii_share) == (60, 0.5)
    empty = sizes_of(request_of(messages=()))
    assert (empty.text_bytes, empty.non_ascii_share, empty.code_share, empty.messages) == (0, 0.0, 0.0, 0)


def test_half_a_surrogate_pair_is_weighed_and_scored() -> None:
    request = request_of(messages=(Message("user", (Text("a\ud83d"),)),))
    assert prompt_view_of(request, sizes_of(request)).question == b"a?"
    assert encode_text("\ud800") == b"?"


def test_code_is_told_from_prose() -> None:
    prose = code_share_of(b"The quick brown fox jumps over the lazy dog and sleeps in the warm sun. " * 5)
    code = code_share_of(b"for (i = 0; i < n; i++) { a[i] = b[i] * c(i); }" * 5)
    assert prose < 0.1
    assert code == 1.0
    assert code_share_of(b"") == 0.0


def test_the_largest_message_says_whether_it_is_code() -> None:
    code = "x[i] = {a: (b); c = d[e];}" * 50
    mixed = request_of(messages=(Message("system", (Text("short"),)), Message("user", (Text(code),))))
    assert sizes_of(mixed).code_share == 1.0


def test_tools_weigh_their_compact_json() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    tools = (Tool("f", None, schema), Tool("g", "does", {}))
    assert tools_bytes_of(request_of(tools=tools)) == 1 + len(json.dumps(schema, separators=(",", ":"))) + 5 + 2
    assert sizes_of(request_of()).tools_bytes == 0


def test_thinking_and_images_have_no_text() -> None:
    assert text_of((Thinking("hm"), IMAGE)) == ""
    assert text_of((Text("a"), ToolCall("c", "f", "{}"), ToolResult("c", (Text("b"), IMAGE)))) == "a\nf {}\nb"
