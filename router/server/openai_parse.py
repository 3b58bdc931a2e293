"""A Chat Completions body to the hub's Request. Every refusal names its field; content is never echoed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from router.chat import NO_SAMPLING, Request, ResponseFormat, Sampling, Tool, ToolChoice
from router.server.openai_extra import extra_of
from router.server.openai_fields import (
    INTEGER_MAX,
    bad,
    bool_of,
    integer_of,
    list_of,
    name_of,
    number_of,
    object_of,
    optional_text_of,
    text_of,
)
from router.server.openai_messages import cache_of, parse_messages

if TYPE_CHECKING:
    from collections.abc import Mapping

KNOWN = frozenset(
    {
        "model",
        "messages",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "temperature",
        "top_p",
        "top_k",
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "response_format",
        "stop",
        "max_tokens",
        "max_completion_tokens",
        "reasoning_effort",
        "stream",
        "stream_options",
        "user",
        "metadata",
        "n",
    }
)
LEGACY = {"functions": "tools", "function_call": "tool_choice"}
STOPS_MAX, STOP_CHARS_MAX, TOOLS_MAX, MODEL_CHARS_MAX = 4, 1_024, 1_000, 256
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
MODES: dict[str, Literal["auto", "none", "required"]] = {"auto": "auto", "none": "none", "required": "required"}


def parse_chat(body: Mapping[str, object], body_bytes: int) -> Request:
    """The request of a decoded body. Raises RequestError naming the field."""
    for name, instead in LEGACY.items():
        if body.get(name) is not None:
            raise bad(name, f"is the legacy form: use `{instead}`")
    if integer_of(body.get("n"), "n", 1) not in (None, 1):
        raise bad("n", "must be 1: ask again for another answer")
    model = text_of(body.get("model", "auto"), "model")
    if not 0 < len(model) <= MODEL_CHARS_MAX:
        raise bad("model", f"must have 1 to {MODEL_CHARS_MAX} characters")
    tools = _tools(body.get("tools"))
    is_streamed = bool_of(body.get("stream"), "stream") or False
    return Request(
        surface="openai_chat",
        model=model,
        messages=parse_messages(body.get("messages")),
        body=body,
        body_bytes=body_bytes,
        tools=tools,
        tool_choice=_tool_choice(body.get("tool_choice"), tools),
        allows_parallel_tools=bool_of(body.get("parallel_tool_calls"), "parallel_tool_calls"),
        sampling=_sampling(body),
        response_format=_response_format(body.get("response_format")),
        stop=_stop(body.get("stop")),
        output_tokens_max=_output_tokens_max(body),
        reasoning_effort=_effort(body.get("reasoning_effort")),
        is_streamed=is_streamed,
        wants_stream_usage=_wants_usage(body.get("stream_options"), is_streamed=is_streamed),
        end_user=optional_text_of(body.get("user"), "user"),
        extra=extra_of(body, model, KNOWN),
    )


SAMPLING_FIELDS = ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed")


def _sampling(body: Mapping[str, object]) -> Sampling:
    if all(body.get(name) is None for name in SAMPLING_FIELDS):
        return NO_SAMPLING
    return Sampling(
        temperature=number_of(body, "temperature", 0, 2),
        top_p=number_of(body, "top_p", 0, 1),
        top_k=integer_of(body.get("top_k"), "top_k", 0),
        frequency_penalty=number_of(body, "frequency_penalty", -2, 2),
        presence_penalty=number_of(body, "presence_penalty", -2, 2),
        seed=integer_of(body.get("seed"), "seed", -INTEGER_MAX),
    )


def _output_tokens_max(body: Mapping[str, object]) -> int | None:
    older = integer_of(body.get("max_tokens"), "max_tokens", 1)
    newer = integer_of(body.get("max_completion_tokens"), "max_completion_tokens", 1)
    if older is not None and newer is not None:
        raise bad("max_tokens", "stands beside `max_completion_tokens`: send one of them")
    return newer if older is None else older


def _effort(value: object) -> str | None:
    effort = optional_text_of(value, "reasoning_effort")
    if effort is not None and effort not in EFFORTS:
        raise bad("reasoning_effort", f"must be one of {', '.join(EFFORTS)}")
    return effort


def _wants_usage(value: object, *, is_streamed: bool) -> bool:
    if value is None:
        return False
    options = object_of(value, "stream_options")
    if not is_streamed:
        raise bad("stream_options", "is for streams: set `stream` to true")
    return bool_of(options.get("include_usage"), "stream_options.include_usage") or False


def _tools(value: object) -> tuple[Tool, ...]:
    found: dict[str, Tool] = {}
    for index, item in enumerate(list_of(value, "tools", TOOLS_MAX)):
        here = f"tools[{index}]"
        tool = object_of(item, here)
        if tool.get("type") != "function":
            raise bad(f"{here}.type", "must be `function`")
        function = object_of(tool.get("function"), f"{here}.function")
        name = name_of(function.get("name"), f"{here}.function.name")
        if name in found:
            raise bad(f"{here}.function.name", "is the name of an earlier tool too")
        parameters = function.get("parameters")
        found[name] = Tool(
            name,
            optional_text_of(function.get("description"), f"{here}.function.description"),
            {} if parameters is None else object_of(parameters, f"{here}.function.parameters"),
            bool_of(function.get("strict"), f"{here}.function.strict"),
            cache_of(tool.get("cache_control"), here) or cache_of(function.get("cache_control"), f"{here}.function"),
        )
    return tuple(found.values())


def _tool_choice(value: object, tools: tuple[Tool, ...]) -> ToolChoice | None:
    if value is None:
        return None
    if isinstance(value, str):
        if value not in MODES:
            raise bad("tool_choice", "must be `auto`, `none`, `required` or a named function")
        if value == "required" and not tools:
            raise bad("tool_choice", "is `required`, and there are no tools")
        return ToolChoice(MODES[value])
    choice = object_of(value, "tool_choice")
    if choice.get("type") != "function":
        raise bad("tool_choice.type", "must be `function`")
    function = object_of(choice.get("function"), "tool_choice.function")
    name = text_of(function.get("name"), "tool_choice.function.name")
    if all(tool.name != name for tool in tools):
        raise bad("tool_choice.function.name", "is the name of none of the tools")
    return ToolChoice("named", name)


def _response_format(value: object) -> ResponseFormat | None:
    if value is None:
        return None
    block = object_of(value, "response_format")
    kind = block.get("type")
    if kind == "text":
        return ResponseFormat("text")
    if kind == "json_object":
        return ResponseFormat("json_object")
    if kind != "json_schema":
        raise bad("response_format.type", "must be `text`, `json_object` or `json_schema`")
    here = "response_format.json_schema"
    inner = object_of(block.get("json_schema"), here)
    return ResponseFormat(
        "json_schema",
        name_of(inner.get("name"), f"{here}.name"),
        object_of(inner.get("schema"), f"{here}.schema"),
        bool_of(inner.get("strict"), f"{here}.strict"),
    )


def _stop(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    items = [value] if isinstance(value, str) else list_of(value, "stop", STOPS_MAX)
    found = tuple(text_of(item, f"stop[{index}]") for index, item in enumerate(items))
    for index, each in enumerate(found):
        if not 0 < len(each) <= STOP_CHARS_MAX:
            raise bad(f"stop[{index}]", f"must have 1 to {STOP_CHARS_MAX} characters")
    return found
