"""Bad bodies, each with its code and its place; good ones, read as they were meant; anything else, never a crash."""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.chat import Image, Message, Text, ToolCall, ToolResult
from router.errors import RequestError
from router.providers.openai_body import OWN_FIELDS
from router.server.body import DEPTH_MAX, parse_json_object
from router.server.openai_extra import BILLED_APART
from router.server.openai_messages import IMAGE_BYTES_MAX
from router.server.openai_parse import KNOWN, parse_chat

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.chat import Request

Result = TypeVar("Result")
USER = {"role": "user", "content": "Hi"}
PNG = "data:image/png;base64," + base64.b64encode(b"png").decode()
CALLING = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def parsed(**changes: Any) -> Request:
    body = {"model": "auto", "messages": [USER], **changes}
    return parse_chat(parse_json_object(json.dumps(body).encode()), 100)


def outcome_of(work: Callable[[], Result]) -> Result | RequestError:
    try:
        return work()
    except RequestError as refused:
        return refused


def image(url: Any, **changes: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url, **changes}}]}]}


def message(**changes: Any) -> dict[str, Any]:
    return {"messages": [{**USER, **changes}]}


CALL = "messages[0].tool_calls[0]"
IMAGE_URL = "messages[0].content[0].image_url.url"
BAD: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "messages"),
    ({"messages": None}, "messages"),
    ({"messages": "Hi"}, "messages"),
    ({"messages": ["Hi"]}, "messages[0]"),
    ({"messages": [{"content": "Hi"}]}, "messages[0].role"),
    (message(role="robot"), "messages[0].role"),
    (message(role="function"), "messages[0].role"),
    (message(role=7), "messages[0].role"),
    (message(name=7), "messages[0].name"),
    (message(content=None), "messages[0].content"),
    (message(content=7), "messages[0].content"),
    (message(content=[]), "messages[0].content"),
    (message(content=["Hi"]), "messages[0].content[0]"),
    (message(content=[{"text": "Hi"}]), "messages[0].content[0].type"),
    (message(content=[{"type": "text"}]), "messages[0].content[0].text"),
    (message(content=[{"type": "text", "text": None}]), "messages[0].content[0].text"),
    (message(content=[{"type": "video"}]), "messages[0].content[0].type"),
    (message(content=[{"type": "refusal", "refusal": "no"}]), "messages[0].content[0].type"),
    (
        message(content=[{"type": "text", "text": "x", "cache_control": {"ttl": "2h"}}]),
        "messages[0].content[0].cache_control.ttl",
    ),
    (
        message(content=[{"type": "text", "text": "x", "cache_control": True}]),
        "messages[0].content[0].cache_control",
    ),
    (
        {"messages": [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}]},
        "messages[0].content[0].type",
    ),
    (image("ftp://example.com/a.png"), IMAGE_URL),
    (image("https://"), IMAGE_URL),
    (image("https://exa mple.com/a.png"), IMAGE_URL),
    (image("https://e.com/" + "a" * 9_000), IMAGE_URL),
    (image("data:image/png,abc"), IMAGE_URL),
    (image("data:image/png;base64"), IMAGE_URL),
    (image("data:image/png;base64,"), IMAGE_URL),
    (image("data:image/png;base64,abc"), IMAGE_URL),
    (image("data:image/png;base64,ab c"), IMAGE_URL),
    (image("data:image/png;base64,äöüß"), IMAGE_URL),
    (image("data:image/tiff;base64,aGk="), IMAGE_URL),
    (image("data:application/pdf;base64,aGk="), IMAGE_URL),
    (image(None), IMAGE_URL),
    (image(PNG, detail="huge"), "messages[0].content[0].image_url.detail"),
    (image(PNG, detail=1), "messages[0].content[0].image_url.detail"),
    ({"messages": [{"role": "assistant"}]}, "messages[0].content"),
    ({"messages": [{"role": "assistant", "content": None, "tool_calls": []}]}, "messages[0].content"),
    ({"messages": [{"role": "assistant", "refusal": 1}]}, "messages[0].refusal"),
    ({"messages": [{**CALLING, "function_call": {"name": "f"}}]}, "messages[0].function_call"),
    ({"messages": [{**CALLING, "audio": {"id": "a"}}]}, "messages[0].audio"),
    ({"messages": [{**CALLING, "tool_calls": {}}]}, "messages[0].tool_calls"),
    ({"messages": [{**CALLING, "tool_calls": [{}]}]}, "messages[0].tool_calls[0].id"),
    ({"messages": [{**CALLING, "tool_calls": [{"id": "", "function": {}}]}]}, "messages[0].tool_calls[0].id"),
    ({"messages": [{**CALLING, "tool_calls": [{"id": "c", "type": "custom"}]}]}, "messages[0].tool_calls[0].type"),
    ({"messages": [{**CALLING, "tool_calls": [{"id": "c"}]}]}, "messages[0].tool_calls[0].function"),
    (
        {"messages": [{**CALLING, "tool_calls": [{"id": "c", "function": {"name": "a b"}}]}]},
        "messages[0].tool_calls[0].function.name",
    ),
    (
        {"messages": [{**CALLING, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {}}}]}]},
        "messages[0].tool_calls[0].function.arguments",
    ),
    ({"messages": [{"role": "tool", "tool_call_id": "c1", "content": "x"}]}, "messages[0].tool_call_id"),
    ({"messages": [CALLING, {"role": "tool", "tool_call_id": "c2", "content": "x"}]}, "messages[1].tool_call_id"),
    ({"messages": [CALLING, {"role": "tool", "content": "x"}]}, "messages[1].tool_call_id"),
    ({"messages": [CALLING, {"role": "tool", "tool_call_id": "c1"}]}, "messages[1].content"),
    (message(content="x", cache_control={"ttl": "2h"}), "messages[0].cache_control.ttl"),
    ({"tools": [{"type": "function", "function": {"name": "f"}, "cache_control": 1}]}, "tools[0].cache_control"),
    (message(content=[{"type": "text", "text": "x"}], cache_control={"ttl": "5m"}), "messages[0].cache_control"),
    ({"messages": [USER, CALLING]}, "messages[1].tool_calls[0]"),
    ({"messages": [CALLING, USER]}, "messages[0].tool_calls[0]"),
    ({"messages": [CALLING, CALLING, {"role": "tool", "tool_call_id": "c1", "content": "x"}]}, CALL),
    ({"messages": [CALLING, USER, {"role": "tool", "tool_call_id": "c1", "content": "x"}]}, CALL),
    ({"model": None}, "model"),
    ({"model": ""}, "model"),
    ({"model": "m" * 257}, "model"),
    ({"model": ["auto"]}, "model"),
    ({"n": 5}, "n"),
    ({"n": 0}, "n"),
    ({"n": True}, "n"),
    ({"n": "1"}, "n"),
    ({"service_tier": "priority"}, "service_tier"),
    ({"service_tier": "flex"}, "service_tier"),
    ({"service_tier": ["auto"]}, "service_tier"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    *(({name: value}, name) for name in BILLED_APART for value in ({}, "x", ["x"])),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_tokens": "10"}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"max_tokens": 10**30}, "max_tokens"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": "0.5"}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"top_p": 1.1}, "top_p"),
    ({"top_k": -1}, "top_k"),
    ({"frequency_penalty": 3}, "frequency_penalty"),
    ({"presence_penalty": -3}, "presence_penalty"),
    ({"seed": 0.5}, "seed"),
    ({"seed": 2**60}, "seed"),
    ({"stop": 5}, "stop"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"stop": ["a", 5]}, "stop[1]"),
    ({"stop": ""}, "stop[0]"),
    ({"stop": ["a", ""]}, "stop[1]"),
    ({"stream": "yes"}, "stream"),
    ({"stream": 1}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": []}, "stream_options"),
    ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ({"functions": [{"name": "f"}]}, "functions"),
    ({"function_call": "auto"}, "function_call"),
    ({"tools": {}}, "tools"),
    ({"tools": 0}, "tools"),
    ({"tools": [TOOL, "f"]}, "tools[1]"),
    ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].type"),
    ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
    ({"tools": [{"type": "function", "function": {"name": "a" * 65}}]}, "tools[0].function.name"),
    ({"tools": [{"type": "function", "function": {"name": "f", "description": 1}}]}, "tools[0].function.description"),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}, "tools[0].function.parameters"),
    ({"tools": [{"type": "function", "function": {"name": "f", "strict": "yes"}}]}, "tools[0].function.strict"),
    ({"tools": [TOOL, TOOL]}, "tools[1].function.name"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": "any", "tools": [TOOL]}, "tool_choice"),
    ({"tool_choice": 1}, "tool_choice"),
    ({"tool_choice": {"type": "allowed_tools"}, "tools": [TOOL]}, "tool_choice.type"),
    (
        {"tool_choice": {"type": "function", "function": {"name": "g"}}, "tools": [TOOL]},
        "tool_choice.function.name",
    ),
    ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
    ({"response_format": "json"}, "response_format"),
    ({"response_format": {}}, "response_format.type"),
    ({"response_format": {"type": ["text"]}}, "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}, "response_format.json_schema.name"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": []}}},
        "response_format.json_schema.schema",
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": 1}}},
        "response_format.json_schema.strict",
    ),
    ({"reasoning_effort": "enormous"}, "reasoning_effort"),
    ({"reasoning_effort": ["low"]}, "reasoning_effort"),
    ({"user": 7}, "user"),
    ({"temprature": 0.3}, "temprature"),
    ({"model": "opus", "temprature": 0.3}, "temprature"),
    ({"max_token": 5}, "max_token"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"top_logprobs": 3, "logprobs": False}, "top_logprobs"),
    ({"verbosity": "low"}, "verbosity"),
    ({"model": "auto:high", "min_p": 0.1}, "min_p"),
    ({"ask what you like": 1}, "body"),
    ({"model": "opus", "web_search_options": {}}, "web_search_options"),
]


@pytest.mark.parametrize(("changes", "param"), BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_what_cannot_be_served_is_refused_by_name(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as refused:
        parsed(**changes)
    assert refused.value.code == "invalid_request"
    assert refused.value.http_status == 400
    assert refused.value.param == param
    assert refused.value.message.startswith(f"{param}: ")


def test_an_image_over_the_limit_is_refused_before_it_is_decoded() -> None:
    data = "A" * (IMAGE_BYTES_MAX // 3 * 4 + 8)
    body = {"messages": image(f"data:image/png;base64,{data}")["messages"]}
    with pytest.raises(RequestError, match="more than") as refused:
        parse_chat(body, len(data))
    assert refused.value.param == IMAGE_URL
    assert len(refused.value.message) < 200


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"{'model': 1}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"a": 1} x',
        b'{"a": 1,}',
        b"[" * 5_000,
        b'{"a":' * (DEPTH_MAX + 1) + b"1" + b"}" * (DEPTH_MAX + 1),
        b'{"a":' + b"[" * DEPTH_MAX + b"]" * DEPTH_MAX + b"}",
    ],
)
def test_what_is_no_sound_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(RequestError) as refused:
        parse_json_object(raw)
    assert refused.value.code == "invalid_request"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (gzip.compress(b"{}", mtime=0), "is compressed"),
        ('{"model":"é"}'.encode("latin-1"), "not UTF-8"),
        ('{"model":"auto"}'.encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"{\n'a': 1}", "line 2, column 1"),
    ],
    ids=["nothing", "blanks", "gzip", "latin-1", "utf-16", "mark", "quotes"],
)
def test_a_body_that_is_no_json_is_told_why(raw: bytes, why: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse_json_object(raw)
    assert why in refused.value.message


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"a","model":"b"}',
        b'{"model": "a", "model": "b"}',
        b'{"model" : "a", "mod\\u0065l": "b"}',
        b'{"a": [{"x": {"y": 1, "y": 1}}]}',
        b'{"a\\\\":1,"a\\\\":2}',
        b'{"a\\":":1,"a\\":":2}',
        b'{"a":"say \\": twice","a":1}',
        b'{"a" :1,"b":2,"b":3}',
    ],
)
def test_a_key_that_stands_twice_is_refused(raw: bytes) -> None:
    with pytest.raises(RequestError, match="twice"):
        parse_json_object(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('":\\ {}')),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.sampled_from('abc":\\ \n')), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.text(st.sampled_from('abc":\\ ')), JSON, max_size=5), st.booleans())
def test_every_sound_object_is_read_whatever_its_text_looks_like(body: dict[str, Any], is_spaced: bool) -> None:
    raw = json.dumps(body, separators=(" , ", " : ") if is_spaced else (",", ":"), ensure_ascii=is_spaced).encode()
    assert parse_json_object(raw) == orjson.loads(raw)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(raw: bytes) -> None:
    found = outcome_of(lambda: parse_json_object(raw))
    assert isinstance(found, dict) or found.code == "invalid_request"


FIELD = st.sampled_from(sorted({*KNOWN, "functions", "role", "content", "type", "x"}))
ODD_MESSAGE = st.dictionaries(
    st.sampled_from(["role", "content", "tool_calls", "tool_call_id", "name", "refusal", "audio", "function_call"]),
    st.sampled_from(["user", "assistant", "tool", "system", "c1", "Hi", ""]) | JSON,
    max_size=5,
)
ODD_BODY = st.fixed_dictionaries(
    {"messages": st.lists(st.just(USER) | st.just(CALLING) | ODD_MESSAGE | JSON, max_size=3) | JSON},
    optional=dict.fromkeys(sorted(KNOWN - {"messages"}), JSON),
) | st.dictionaries(FIELD, JSON)


@settings(max_examples=400)
@given(ODD_BODY)
def test_any_object_is_read_or_refused_with_a_place(body: dict[str, Any]) -> None:
    found = outcome_of(lambda: parse_chat(body, 10))
    if isinstance(found, RequestError):
        assert found.param
        assert found.code == "invalid_request"
    else:
        assert found.messages
        assert all(isinstance(each, Message) for each in found.messages)


def test_a_secret_in_a_bad_body_is_never_repeated() -> None:
    for changes, _ in BAD:
        marked = json.loads(json.dumps(changes).replace("Hi", "s3cret").replace("aGk=", "s3cret=="))
        with pytest.raises(RequestError) as refused:
            parsed(**marked)
        assert "s3cret" not in refused.value.message + str(refused.value.data)


def test_a_whole_conversation_is_read() -> None:
    request = parsed(
        messages=[
            {"role": "developer", "content": [{"type": "text", "text": "Be brief", "cache_control": {"ttl": "1h"}}]},
            {"role": "user", "content": [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": PNG}]},
            CALLING,
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "42"}]},
            {"role": "assistant", "content": None, "refusal": "no"},
        ],
        n=1,
        max_completion_tokens=7,
        stop="END",
        seed=-5,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True, "include_obfuscation": False},
        tools=[TOOL, {"type": "function", "function": {"name": "g"}}],
        tool_choice="required",
        response_format={"type": "json_object"},
        user="u",
        metadata={"quality_tier": "high"},
        functions=None,
        verbosity=None,
        logit_bias={"1": 2},
    )
    assert [each.role for each in request.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert request.messages[0].parts == (Text("Be brief", "1h"),)
    assert request.messages[1].parts == (Text("?"), Image("image/png", PNG.partition(",")[2]))
    assert request.messages[2].parts == (ToolCall("c1", "f", "{}"),)
    assert request.messages[3].parts == (ToolResult("c1", (Text("42"),)),)
    assert request.messages[4].parts == (Text("no"),)
    assert (request.output_tokens_max, request.stop, request.end_user) == (7, ("END",), "u")
    assert (request.sampling.seed, request.sampling.temperature) == (-5, 0.0)
    assert (request.is_streamed, request.wants_stream_usage) == (True, True)
    assert [tool.name for tool in request.tools] == ["f", "g"]
    assert request.extra == {"functions": None, "verbosity": None, "logit_bias": {"1": 2}}


def test_a_message_of_one_text_may_carry_the_cache_mark_itself() -> None:
    marked = {"role": "system", "content": "Be brief", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    request = parsed(messages=[marked, USER])
    assert request.messages[0].parts == (Text("Be brief", "1h"),)
    assert request.asks_for_caching


MARKED = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


@pytest.mark.parametrize(
    "changes",
    [
        {"tools": [{**TOOL, **MARKED}]},
        {"tools": [{"type": "function", "function": {"name": "g", **MARKED}}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": PNG, **MARKED}]}]},
        {"messages": [USER, CALLING, {"role": "tool", "tool_call_id": "c1", "content": "x", **MARKED}]},
    ],
    ids=["tool", "function", "image", "result"],
)
def test_whatever_carries_a_cache_mark_may_cost_a_cache_write(changes: dict[str, Any]) -> None:
    assert parsed(**changes).asks_for_caching
    assert not parsed(**json.loads(json.dumps(changes).replace("cache_control", "ignored"))).asks_for_caching


def test_a_call_id_may_come_again_in_a_later_turn() -> None:
    answer = {"role": "tool", "tool_call_id": "c1", "content": "x"}
    brief = {"role": "system", "content": "Be brief"}
    request = parsed(messages=[USER, CALLING, answer, CALLING, brief, answer, answer, USER])
    assert [each.role for each in request.messages][-4:] == ["system", "tool", "tool", "user"]


def test_a_misspelt_field_is_told_the_one_that_was_meant() -> None:
    with pytest.raises(RequestError) as refused:
        parsed(temprature=0.3)
    assert "did you mean `temperature`?" in refused.value.message


def test_advice_passes_and_a_pinned_model_may_be_given_what_its_host_takes() -> None:
    advice = {"store": True, "service_tier": "auto", "safety_identifier": "u1", "prompt_cache_key": "k"}
    whole = {**advice, "modalities": ["text"], "logprobs": True, "top_logprobs": 3, "logit_bias": {"1": 2}}
    assert parsed(**whole).extra == whole
    theirs = {"min_p": 0.1, "guided_json": {}, "max_new_tokens": 5, "repetition_penalty": 1.1, "verbosity": "low"}
    assert parsed(model="llama-70b", **theirs).extra == theirs


def test_absent_and_null_mean_the_same() -> None:
    nothing = dict.fromkeys(sorted(KNOWN - {"model", "messages"}))
    bare, nulls = parsed(), parsed(**nothing)
    assert {name: getattr(bare, name) for name in bare.__slots__ if name != "body"} == {
        name: getattr(nulls, name) for name in nulls.__slots__ if name != "body"
    }


def test_the_usual_service_and_text_alone_may_be_asked_for_by_name() -> None:
    for tier in ("auto", "default", "standard", "on_demand", "standard_only", None):
        assert parsed(service_tier=tier, modalities=["text"], web_search_options=None).body["service_tier"] == tier


def test_a_photo_by_its_other_name_is_a_jpeg() -> None:
    request = parsed(**image("data:image/JPG;base64,aGk="))
    assert request.images == (Image("image/jpeg", "aGk="),)


def test_fields_that_the_router_writes_itself_are_among_those_it_reads() -> None:
    assert OWN_FIELDS <= KNOWN
