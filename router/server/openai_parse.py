"""A Chat Completions body to the hub's Request. Every refusal names its field; content is never echoed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from router.chat import Image, Message, Request, ResponseFormat, Sampling, Text, Tool, ToolCall, ToolChoice, ToolResult
from router.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.chat import CacheTtl, Part, Role

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
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
IMAGE_BYTES_MAX = 20_000_000
IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
STOPS_MAX, MESSAGES_MAX, TOOLS_MAX = 4, 10_000, 1_000
EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})
RANGES = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "frequency_penalty": (-2.0, 2.0),
    "presence_penalty": (-2.0, 2.0),
}


def bad(param: str, message: str) -> RequestError:
    """A refusal that names its field."""
    return RequestError(f"{param}: {message}", param=param)


def _text(value: object, param: str) -> str:
    if not isinstance(value, str):
        raise bad(param, "must be text")
    return value


def _list(value: object, param: str, limit: int) -> list[object]:
    if not isinstance(value, list):
        raise bad(param, "must be a list")
    if len(value) > limit:
        raise bad(param, f"has {len(value)} entries, at most {limit}")
    return value


def _object(value: object, param: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise bad(param, "must be an object")
    return value


def _bool(body: Mapping[str, object], name: str) -> bool | None:
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise bad(name, "must be true or false")


def _integer(body: Mapping[str, object], name: str, low: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value < 2**53:
        raise bad(name, f"must be a whole number of at least {low}")
    return value


def _number(body: Mapping[str, object], name: str) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    low, high = RANGES[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise bad(name, f"must be a number in {low:g}..{high:g}")
    return float(value)


def parse_chat(body: Mapping[str, object], body_bytes: int) -> Request:
    """The request of a decoded body. Raises RequestError naming the field."""
    if "functions" in body or "function_call" in body:
        raise bad("functions", "is the legacy form: use `tools` and `tool_choice`")
    if body.get("n") not in (None, 1) or isinstance(body.get("n"), bool):
        raise bad("n", "must be 1: ask again for another answer")
    model = _text(body.get("model", "auto"), "model")
    messages = _messages(body.get("messages"))
    asked = [_integer(body, name, 1) for name in ("max_completion_tokens", "max_tokens")]
    options = _object(body.get("stream_options") or {}, "stream_options")
    effort = body.get("reasoning_effort")
    if effort is not None and effort not in EFFORTS:
        raise bad("reasoning_effort", f"must be one of {', '.join(sorted(EFFORTS))}")
    tools = _tools(body.get("tools"))
    user = body.get("user")
    return Request(
        surface="openai_chat",
        model=model,
        messages=messages,
        body=body,
        body_bytes=body_bytes,
        tools=tools,
        tool_choice=_tool_choice(body.get("tool_choice"), tools),
        allows_parallel_tools=_bool(body, "parallel_tool_calls"),
        sampling=Sampling(
            temperature=_number(body, "temperature"),
            top_p=_number(body, "top_p"),
            top_k=_integer(body, "top_k", 0),
            frequency_penalty=_number(body, "frequency_penalty"),
            presence_penalty=_number(body, "presence_penalty"),
            seed=_integer(body, "seed", -(2**53) + 1),
        ),
        response_format=_response_format(body.get("response_format")),
        stop=_stop(body.get("stop")),
        output_tokens_max=asked[0] if asked[0] is not None else asked[1],
        reasoning_effort=effort if isinstance(effort, str) else None,
        is_streamed=bool(_bool(body, "stream")),
        wants_stream_usage=bool(_bool(options, "include_usage")),
        end_user=None if user is None else _text(user, "user"),
        extra={name: value for name, value in body.items() if name not in KNOWN},
    )


def _messages(value: object) -> tuple[Message, ...]:
    items = _list(value, "messages", MESSAGES_MAX)
    if not items:
        raise bad("messages", "must not be empty")
    calls: set[str] = set()
    found: list[Message] = []
    for index, item in enumerate(items):
        here = f"messages[{index}]"
        message = _object(item, here)
        role = ROLES.get(_text(message.get("role"), f"{here}.role"))
        if role is None:
            raise bad(f"{here}.role", f"must be one of {', '.join(ROLES)}")
        if role == "tool":
            call_id = _text(message.get("tool_call_id"), f"{here}.tool_call_id")
            if call_id not in calls:
                raise bad(f"{here}.tool_call_id", "answers no tool call of an earlier assistant message")
            parts = _content(message.get("content"), f"{here}.content", may_be_empty=True)
            kept = tuple(part for part in parts if isinstance(part, Text | Image))
            found.append(Message("tool", (ToolResult(call_id, kept),)))
            continue
        made = _tool_calls(message.get("tool_calls"), here) if role == "assistant" else ()
        calls.update(call.id for call in made)
        parts = _content(message.get("content"), f"{here}.content", may_be_empty=role == "assistant")
        found.append(Message(role, (*parts, *made)))
    return tuple(found)


def _tool_calls(value: object, here: str) -> tuple[ToolCall, ...]:
    found: list[ToolCall] = []
    for index, item in enumerate(_list(value or [], f"{here}.tool_calls", TOOLS_MAX)):
        place = f"{here}.tool_calls[{index}]"
        call = _object(item, place)
        function = _object(call.get("function"), f"{place}.function")
        name = _text(function.get("name"), f"{place}.function.name")
        arguments = _text(function.get("arguments", ""), f"{place}.function.arguments")
        found.append(ToolCall(_text(call.get("id"), f"{place}.id"), name, arguments))
    return tuple(found)


def _content(value: object, here: str, *, may_be_empty: bool) -> tuple[Part, ...]:
    if isinstance(value, str):
        return (Text(value),)
    if value is None and may_be_empty:
        return ()
    found: list[Part] = []
    for index, item in enumerate(_list(value, here, MESSAGES_MAX)):
        place = f"{here}[{index}]"
        part = _object(item, place)
        kind = _text(part.get("type"), f"{place}.type")
        if kind in ("text", "input_text", "refusal"):
            found.append(Text(_text(part.get("text" if kind != "refusal" else kind), f"{place}.text"), _cache(part)))
        elif kind == "image_url":
            found.append(_image(part.get("image_url"), f"{place}.image_url"))
        else:
            raise bad(f"{place}.type", "must be `text` or `image_url`: other kinds are not available in this version")
    if not found and not may_be_empty:
        raise bad(here, "must not be empty")
    return tuple(found)


def _cache(part: Mapping[str, object]) -> CacheTtl | None:
    mark = part.get("cache_control")
    if not isinstance(mark, dict):
        return None
    return "1h" if mark.get("ttl") == "1h" else "5m"


def _image(value: object, here: str) -> Image:
    block = {"url": value} if isinstance(value, str) else _object(value, here)
    url = _text(block.get("url"), f"{here}.url")
    detail = block.get("detail")
    if url.startswith(("https://", "http://")):
        return Image(url=url, detail=detail if isinstance(detail, str) else None)
    head, comma, data = url.partition(",")
    media_type = head.removeprefix("data:").removesuffix(";base64")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        raise bad(f"{here}.url", "must be an http(s) address or a data URL with base64")
    if media_type not in IMAGE_TYPES:
        raise bad(f"{here}.url", f"must hold one of {', '.join(sorted(IMAGE_TYPES))}")
    if len(data) * 3 // 4 > IMAGE_BYTES_MAX:
        raise bad(f"{here}.url", f"holds more than {IMAGE_BYTES_MAX} bytes")
    if not data or len(data) % 4 or not data.isascii():
        raise bad(f"{here}.url", "does not hold base64")
    return Image(media_type=media_type, data=data)


def _tools(value: object) -> tuple[Tool, ...]:
    found: list[Tool] = []
    for index, item in enumerate(_list(value or [], "tools", TOOLS_MAX)):
        here = f"tools[{index}]"
        tool = _object(item, here)
        if tool.get("type") != "function":
            raise bad(f"{here}.type", "must be `function`")
        function = _object(tool.get("function"), f"{here}.function")
        about = function.get("description")
        strict = function.get("strict")
        found.append(
            Tool(
                _text(function.get("name"), f"{here}.function.name"),
                None if about is None else _text(about, f"{here}.function.description"),
                _object(function.get("parameters") or {}, f"{here}.function.parameters"),
                strict if isinstance(strict, bool) else None,
            )
        )
    return tuple(found)


def _tool_choice(value: object, tools: tuple[Tool, ...]) -> ToolChoice | None:
    if value is None:
        return None
    modes: dict[str, Literal["auto", "none", "required"]] = {"auto": "auto", "none": "none", "required": "required"}
    if isinstance(value, str) and value in modes:
        if value == "required" and not tools:
            raise bad("tool_choice", "is `required`, and there are no tools")
        return ToolChoice(modes[value])
    function = _object(_object(value, "tool_choice").get("function"), "tool_choice.function")
    name = _text(function.get("name"), "tool_choice.function.name")
    if all(tool.name != name for tool in tools):
        raise bad("tool_choice.function.name", "is the name of none of the tools")
    return ToolChoice("named", name)


def _response_format(value: object) -> ResponseFormat | None:
    if value is None:
        return None
    block = _object(value, "response_format")
    kind = block.get("type")
    if kind == "text":
        return ResponseFormat("text")
    if kind == "json_object":
        return ResponseFormat("json_object")
    if kind != "json_schema":
        raise bad("response_format.type", "must be `text`, `json_object` or `json_schema`")
    inner = _object(block.get("json_schema"), "response_format.json_schema")
    name, strict = inner.get("name"), inner.get("strict")
    return ResponseFormat(
        "json_schema",
        _text(name, "response_format.json_schema.name") if name is not None else None,
        _object(inner.get("schema"), "response_format.json_schema.schema"),
        strict if isinstance(strict, bool) else None,
    )


def _stop(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    items = [value] if isinstance(value, str) else _list(value, "stop", STOPS_MAX)
    return tuple(_text(item, f"stop[{index}]") for index, item in enumerate(items))
