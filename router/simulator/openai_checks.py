"""What an OpenAI-compatible host refuses about a chat request's shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from router.simulator.refusals import TOOL_NAME, Body, invalid, is_int, is_number, require
from router.simulator.tokens import MESSAGE_TOKENS, decoded, tokens_of_image, tokens_of_text

if TYPE_CHECKING:
    from router.simulator.catalogue import Model

VENDOR = "openai"
CHOICES_MAX = 8
STOPS_MAX = 4
ROLES = ("system", "developer", "user", "assistant", "tool")
SAMPLING = ("temperature", "top_p", "top_k")
# OpenAI, Groq and Cerebras refuse what they do not know in a history or a tool.
MESSAGE_FIELDS = frozenset({"role", "content", "name", "refusal", "tool_calls", "tool_call_id"})
PART_FIELDS = frozenset({"type", "text", "image_url", "refusal"})
CALL_FIELDS = frozenset({"id", "type", "function"})
TOOL_FIELDS = frozenset({"type", "function"})
FUNCTION_FIELDS = frozenset({"name", "description", "parameters", "strict"})


@dataclass(slots=True)
class Prompt:
    """A conversation that was read."""

    tokens: int = 0
    question: str = ""
    is_after_tool: bool = False


def require_known(block: Body, known: frozenset[str], place: str) -> None:
    """Refuse a field that this API does not name."""
    for name in block:
        require(name in known, f"Unknown parameter: '{place}.{name}'.", param=f"{place}.{name}")


def check_settings(body: Body, model: Model) -> None:
    """Refuse settings of the wrong type, out of range, or that the model does not take."""
    for name in ("max_tokens", "max_completion_tokens"):
        value = body.get(name)
        if value is not None:
            require(is_int(value), f"Invalid type for '{name}': expected an integer.", param=name)
            require(value >= 1, f"Invalid '{name}': integer below minimum value. Expected a value >= 1.", param=name)
            limit = model.output_tokens_max
            message = f"{name} is too large: {value}. This model supports at most {limit} completion tokens."
            require(value <= limit, message, param=name)
    for name, low, high in (
        ("temperature", 0, 2),
        ("top_p", 0, 1),
        ("presence_penalty", -2, 2),
        ("frequency_penalty", -2, 2),
    ):
        value = body.get(name)
        if value is not None:
            require(is_number(value), f"Invalid type for '{name}': expected a decimal.", param=name)
            require(low <= value <= high, f"Invalid '{name}': expected a value between {low} and {high}.", param=name)
    given = next((name for name in SAMPLING if body.get(name) is not None), None)
    if given and model.refuses("supports_sampling_params"):
        raise invalid(f"Unsupported parameter: '{given}' is not supported with this model.", param=given)
    choices = body.get("n")
    if choices is not None:
        require(is_int(choices) and 1 <= choices <= CHOICES_MAX, f"Invalid 'n': expected 1..{CHOICES_MAX}.", param="n")
    for name in ("stream", "parallel_tool_calls"):
        require(
            isinstance(body.get(name) or False, bool), f"Invalid type for '{name}': expected a boolean.", param=name
        )
    options = body.get("stream_options")
    require(options is None or isinstance(options, dict), "Invalid type for 'stream_options'.", param="stream_options")
    message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
    require(options is None or body.get("stream"), message, param="stream_options")
    _check_stop(body.get("stop"))


def _check_stop(stop: object) -> None:
    if stop is None or (isinstance(stop, str) and stop):
        return
    is_sound = isinstance(stop, list) and all(isinstance(item, str) and item for item in stop)
    require(is_sound, "Invalid 'stop': expected a string or an array of strings.", param="stop")
    require(
        isinstance(stop, list) and len(stop) <= STOPS_MAX, f"Invalid 'stop': at most {STOPS_MAX} items.", param="stop"
    )


def read_tools(body: Body, model: Model) -> list[Body]:
    """The function definitions, checked."""
    tools = body.get("tools") or []
    require(isinstance(tools, list), "Invalid type for 'tools': expected an array.", param="tools")
    if tools:
        message = "Function calling is not supported by this model."
        require(not model.refuses("supports_function_calling"), message, param="tools")
    made: list[Body] = []
    for index, tool in enumerate(tools):
        place = f"tools[{index}]"
        is_function = isinstance(tool, dict) and tool.get("type") == "function"
        require(is_function, f"Invalid value for '{place}.type': expected 'function'.", param=place)
        require_known(tool, TOOL_FIELDS, place)
        function = tool.get("function")
        require(isinstance(function, dict), f"Missing required parameter: '{place}.function'.", param=place)
        require_known(function, FUNCTION_FIELDS, f"{place}.function")
        name = function.get("name")
        is_sound = isinstance(name, str) and TOOL_NAME.fullmatch(name) is not None
        message = f"Invalid '{place}.function.name': expected a string that matches '^[a-zA-Z0-9_-]+$'."
        require(is_sound, message, param=f"{place}.function.name")
        parameters = function.get("parameters")
        is_sound = parameters is None or isinstance(parameters, dict)
        require(is_sound, f"Invalid type for '{place}.function.parameters'.", param=f"{place}.function.parameters")
        made.append(function)
    return made


def tool_mode(body: Body, tools: list[Body], model: Model) -> tuple[str, frozenset[str]]:
    """auto, any or none, and the names that the choice is narrowed to."""
    choice = body.get("tool_choice")
    if choice is None or choice == "auto":
        return "auto", frozenset()
    if choice == "none":
        return "none", frozenset()
    require(tools, "'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
    message = "Invalid value for 'tool_choice': forced tool use is not supported with this model."
    is_refused = model.refuses("supports_forced_tool_use") or model.refuses("supports_tool_choice")
    require(not is_refused, message, param="tool_choice")
    if choice == "required":
        return "any", frozenset()
    function = choice.get("function") if isinstance(choice, dict) and choice.get("type") == "function" else None
    message = "Invalid value for 'tool_choice': expected 'none', 'auto', 'required' or a function."
    require(isinstance(function, dict), message, param="tool_choice")
    name = function.get("name") if isinstance(function, dict) else None
    message = f"Tool choice '{name}' is not in the list of 'tools'."
    require(name in [tool["name"] for tool in tools], message, param="tool_choice")
    return "any", frozenset({str(name)})


def output_schema(body: Body, model: Model) -> dict[str, Any] | None:
    """The schema that the answer has to satisfy, a free object for `json_object`."""
    form = body.get("response_format")
    if form is None:
        return None
    kind = form.get("type") if isinstance(form, dict) else None
    message = "Invalid value for 'response_format.type': expected 'text', 'json_object' or 'json_schema'."
    require(kind in ("text", "json_object", "json_schema"), message, param="response_format.type")
    if kind == "text":
        return None
    message = "'response_format' of this type is not supported with this model."
    require(not model.refuses("supports_response_schema"), message, param="response_format")
    if kind == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
    named = form.get("json_schema")
    is_sound = isinstance(named, dict) and isinstance(named.get("schema"), dict) and isinstance(named.get("name"), str)
    message = "Missing required parameter: 'response_format.json_schema'."
    require(is_sound, message, param="response_format.json_schema")
    schema: dict[str, Any] = named["schema"]
    return schema


def read_messages(messages: object, *, has_vision: bool) -> Prompt:
    """Check and count the conversation."""
    is_sound = isinstance(messages, list) and messages
    require(is_sound, "Invalid 'messages': expected a non-empty array.", param="messages")
    prompt = Prompt(tokens=3)
    open_calls: set[str] = set()
    for index, message in enumerate(messages if isinstance(messages, list) else []):
        place = f"messages[{index}]"
        require(isinstance(message, dict), f"Invalid type for '{place}': expected an object.", param=place)
        require_known(message, MESSAGE_FIELDS, place)
        role, content = message.get("role"), message.get("content")
        require(
            role in ROLES, f"Invalid value: '{role}'. Supported values are: {', '.join(ROLES)}.", param=f"{place}.role"
        )
        calls = message.get("tool_calls") or []
        has_content = content is not None or (role == "assistant" and calls)
        require(has_content, "Invalid value for 'content': expected a string, got null.", param=f"{place}.content")
        text, tokens = _content(content, place, has_vision=has_vision)
        prompt.tokens += MESSAGE_TOKENS[VENDOR] + tokens
        if role == "tool":
            known = str(message.get("tool_call_id")) in open_calls
            problem = "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
            require(known, f"Invalid parameter: {problem}", param=f"{place}.role")
            open_calls.discard(str(message["tool_call_id"]))
        else:
            problem = "An assistant message with 'tool_calls' must be followed by tool messages responding to each"
            require(not open_calls, f"{problem} 'tool_call_id'.", param=f"{place}.role")
            open_calls = _calls(calls, place, prompt) if role == "assistant" else set()
        if role == "user" and text:
            prompt.question = text[-4000:]
        prompt.is_after_tool = role == "tool"
    return prompt


def _calls(calls: object, place: str, prompt: Prompt) -> set[str]:
    require(isinstance(calls, list), f"Invalid type for '{place}.tool_calls'.", param=f"{place}.tool_calls")
    ids: set[str] = set()
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(call.get("id"), str):
            raise invalid(f"Invalid '{place}.tool_calls'.", param=f"{place}.tool_calls")
        require_known(call, CALL_FIELDS, f"{place}.tool_calls[{len(ids)}]")
        text = str(function.get("arguments") or "{}")
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError:
            raise invalid(f"Invalid '{place}.tool_calls': arguments are not JSON.", param=place) from None
        prompt.tokens += 8 + tokens_of_text(str(function.get("name")) + text, VENDOR)
        ids.add(str(call["id"]))
    return ids


def _content(content: object, place: str, *, has_vision: bool) -> tuple[str, int]:
    """The text and the tokens of one message's content."""
    if content is None:
        return "", 0
    if isinstance(content, str):
        return content, tokens_of_text(content, VENDOR)
    require(isinstance(content, list), f"Invalid type for '{place}.content'.", param=f"{place}.content")
    texts: list[str] = []
    tokens = 0
    for index, part in enumerate(content if isinstance(content, list) else []):
        at = f"{place}.content[{index}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, dict):
            require_known(part, PART_FIELDS, at)
        if kind == "text":
            require(isinstance(part.get("text"), str), f"Missing required parameter: '{at}.text'.", param=at)
            texts.append(part["text"])
            tokens += tokens_of_text(part["text"], VENDOR)
        elif kind == "image_url":
            require(has_vision, "This model does not support image input.", param=at)
            tokens += _image_tokens(part.get("image_url"), at)
        else:
            raise invalid(f"Invalid value: '{kind}'. Supported values are: 'text', 'image_url'.", param=f"{at}.type")
    return "\n".join(texts), tokens


def _image_tokens(image: object, place: str) -> int:
    url = image.get("url") if isinstance(image, dict) else image
    require(isinstance(url, str) and url, f"Missing required parameter: '{place}.image_url.url'.", param=place)
    if not str(url).startswith("data:"):
        require(str(url).startswith(("http://", "https://")), f"Invalid '{place}.image_url.url'.", param=place)
        return tokens_of_image(None, VENDOR)
    head, _, coded = str(url).partition(",")
    data = decoded(coded) if head.endswith(";base64") else None
    require(data, f"Invalid '{place}.image_url.url': not base64.", param=place)
    return tokens_of_image(data, VENDOR)
