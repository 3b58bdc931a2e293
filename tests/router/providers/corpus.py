"""Chat Completions bodies that the translations are tried on, by name; each is about one thing."""

from __future__ import annotations

from typing import Any

from tests.router.providers.calls import PNG, user

PNG_URL = f"data:image/png;base64,{PNG}"
HTTPS_IMAGE = "https://example.com/cat.png"
CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
NESTED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "Who"},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
        "home": {"type": "object", "properties": {"zip": {"type": "string"}}, "required": ["zip"]},
    },
    "required": ["name", "tags"],
}
CLOSED: dict[str, Any] = {**CITY, "additionalProperties": False}
BOUNDED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "score": {"type": "number", "minimum": 0, "maximum": 1, "description": "How good"},
        "words": {"type": "array", "items": {"type": "string", "maxLength": 9}, "maxItems": 3},
        "either": {"oneOf": [{"type": "string"}, {"type": "integer", "minimum": 1}]},
    },
    "required": ["score"],
    "additionalProperties": False,
}


def tool(name: str, parameters: dict[str, Any] | None = None, **function: Any) -> dict[str, Any]:
    about = {"description": f"The tool {name}"}
    return {"type": "function", "function": {"name": name, **about, "parameters": parameters or CITY, **function}}


def called(*calls: tuple[str, str, str], content: str | None = None) -> dict[str, Any]:
    made = [{"id": i, "type": "function", "function": {"name": n, "arguments": a}} for i, n, a in calls]
    return {"role": "assistant", "content": content, "tool_calls": made}


def result(call_id: str, content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def system(content: Any) -> dict[str, Any]:
    return {"role": "system", "content": content}


def schema_format(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, **more}}


def text(value: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **more}


def image(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


WEATHER = tool("get_weather")
TIME = tool("get_time", NESTED)
TOKYO = ("call_1", "get_weather", '{"city": "Tokyo"}')
OSLO = ("call_2", "get_weather", '{"city": "Oslo"}')
MARK = {"cache_control": {"type": "ephemeral"}}
ONE_TURN = [user("weather in Tokyo?"), called(TOKYO), result("call_1", "18 C, clear")]

CORPUS: dict[str, dict[str, Any]] = {
    # conversations
    "plain": {"messages": [user("What is 2 + 2?")]},
    "system": {"messages": [system("Be brief."), user("Hi")]},
    "two_systems": {"messages": [system("Be brief."), system("Be kind."), user("Hi")]},
    "system_parts": {"messages": [system([text("Be brief."), text("Be kind.")]), user("Hi")]},
    "late_system": {"messages": [user("Hi"), said("Hello"), system("Now in French."), user("Again")]},
    "turns": {"messages": [user("Hi"), said("Hello"), user("What is 1 + 1?")]},
    "many_turns": {"messages": [turn for i in range(4) for turn in (user(f"q{i}"), said(f"a{i}"))] + [user("end")]},
    "two_users": {"messages": [user("one"), user("two")]},
    "two_assistants": {"messages": [user("one"), said("a"), said("b"), user("two")]},
    "parts": {"messages": [user([text("one"), text("two")])]},
    "unicode": {"messages": [user("Grüße, 世界 \U0001f600")]},
    "newlines": {"messages": [user("a\n\n  b\t\n")]},
    "assistant_first": {"messages": [said("How can I help?"), user("Hi")]},
    "empty_assistant": {"messages": [user("a"), said(""), user("b")]},
    # tools
    "tool": {"messages": [user("weather in Tokyo?")], "tools": [WEATHER]},
    "two_tools": {"messages": [user("weather?")], "tools": [WEATHER, TIME]},
    "tool_without_parameters": {
        "messages": [user("ping")],
        "tools": [tool("ping", {"type": "object", "properties": {}})],
    },
    "tool_auto": {"messages": [user("w")], "tools": [WEATHER], "tool_choice": "auto"},
    "tool_required": {"messages": [user("w")], "tools": [WEATHER], "tool_choice": "required"},
    "tool_none": {"messages": [user("w")], "tools": [WEATHER], "tool_choice": "none"},
    "tool_named": {
        "messages": [user("w")],
        "tools": [WEATHER, TIME],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
    },
    "parallel_off": {"messages": [user("w")], "tools": [WEATHER], "parallel_tool_calls": False},
    "parallel_on": {"messages": [user("w")], "tools": [WEATHER], "parallel_tool_calls": True},
    "tool_nested_schema": {"messages": [user("w")], "tools": [tool("save", NESTED)]},
    "tool_result": {"messages": ONE_TURN, "tools": [WEATHER]},
    "tool_result_then_user": {"messages": [*ONE_TURN, user("and Oslo?")], "tools": [WEATHER]},
    "tool_two_turns": {
        "messages": [*ONE_TURN, said("Clear."), user("Oslo?"), called(OSLO), result("call_2", "3 C")],
        "tools": [WEATHER],
    },
    "parallel_results": {
        "messages": [user("both?"), called(TOKYO, OSLO), result("call_1", "18 C"), result("call_2", "3 C")],
        "tools": [WEATHER],
    },
    "call_with_text": {
        "messages": [user("w"), called(TOKYO, content="Let me look."), result("call_1", "18 C")],
        "tools": [WEATHER],
    },
    "call_without_arguments": {
        "messages": [user("p"), called(("call_9", "ping", "{}")), result("call_9", "pong")],
        "tools": [tool("ping", {"type": "object", "properties": {}})],
    },
    "result_is_json": {
        "messages": [user("w"), called(TOKYO), result("call_1", '{"celsius": 18, "sky": "clear"}')],
        "tools": [WEATHER],
    },
    "result_parts": {
        "messages": [user("w"), called(TOKYO), result("call_1", [text("18 C"), text("clear")])],
        "tools": [WEATHER],
    },
    "foreign_ids": {
        "messages": [user("w"), called(("call:1/a", "get_weather", "{}")), result("call:1/a", "18 C")],
        "tools": [WEATHER],
    },
    # vision
    "image_base64": {"messages": [user([text("What is this?"), image(PNG_URL)])]},
    "image_url": {"messages": [user([text("What is this?"), image(HTTPS_IMAGE)])]},
    "image_detail": {"messages": [user([text("What is this?"), image(PNG_URL, detail="high")])]},
    "two_images": {"messages": [user([image(PNG_URL), text("Compare."), image(PNG_URL)])]},
    "image_in_turns": {"messages": [user([text("This?"), image(PNG_URL)]), said("A dot."), user("Which colour?")]},
    # settings
    "temperature": {"messages": [user("a")], "temperature": 0.3},
    "temperature_zero": {"messages": [user("a")], "temperature": 0},
    "top_p": {"messages": [user("a")], "top_p": 0.9},
    "top_k": {"messages": [user("a")], "top_k": 40},
    "penalties": {"messages": [user("a")], "frequency_penalty": 0.5, "presence_penalty": -0.5},
    "seed": {"messages": [user("a")], "seed": 7},
    "stop_text": {"messages": [user("a")], "stop": "END"},
    "stop_list": {"messages": [user("a")], "stop": ["END", "###"]},
    "user": {"messages": [user("a")], "user": "user-17"},
    "max_tokens": {"messages": [user("a")], "max_tokens": 77},
    "max_completion_tokens": {"messages": [user("a")], "max_completion_tokens": 78},
    # answers in a form
    "json_object": {"messages": [user("JSON of Paris")], "response_format": {"type": "json_object"}},
    "json_schema": {"messages": [user("Paris")], "response_format": schema_format(CLOSED, strict=True)},
    "json_schema_open": {"messages": [user("Paris")], "response_format": schema_format(NESTED)},
    "json_schema_bounded": {"messages": [user("Paris")], "response_format": schema_format(BOUNDED)},
    "text_format": {"messages": [user("Paris")], "response_format": {"type": "text"}},
    "schema_and_tools": {
        "messages": [user("Paris")],
        "tools": [WEATHER],
        "response_format": schema_format(CLOSED, strict=True),
    },
    # reasoning
    "effort_none": {"messages": [user("a")], "reasoning_effort": "none"},
    "effort_minimal": {"messages": [user("a")], "reasoning_effort": "minimal"},
    "effort_low": {"messages": [user("a")], "reasoning_effort": "low"},
    "effort_medium": {"messages": [user("a")], "reasoning_effort": "medium"},
    "effort_high": {"messages": [user("a")], "reasoning_effort": "high"},
    # prompt caching
    "cached_system": {"messages": [system([text("A long prefix.", **MARK)]), user("Hi")]},
    "cached_tool": {"messages": [user("weather?")], "tools": [WEATHER, {**TIME, **MARK}]},
    "cached_image": {"messages": [user([{**image(PNG_URL), **MARK}, text("What?")])]},
    "cached_user": {"messages": [user([text("A long prefix.", **MARK), text("Hi")])]},
    "cached_hour": {
        "messages": [system([text("Long.", cache_control={"type": "ephemeral", "ttl": "1h"})]), user("Hi")]
    },
}
