"""The hub's request as a Chat Completions body: the caller's own where it came that way, else rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.chat import Image, Text, Thinking, ToolCall, ToolResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.chat import Message, Part, Request
    from router.ports import Call

SAMPLING_FIELDS = ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed")
# Ours alone, or written anew below.
OWN_FIELDS = frozenset({"model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "metadata"})


def body_of(call: Call, *, is_streamed: bool) -> dict[str, object]:
    """The upstream body; the output limit is always written, and nothing that was dropped is in it."""
    request = call.request
    if request.surface == "openai_chat":
        body = {name: value for name, value in request.body.items() if name not in OWN_FIELDS}
        if "sampling_params" in call.dropped:
            for name in SAMPLING_FIELDS:
                body.pop(name, None)
        if "forced_tool_use" in call.dropped:
            body["tool_choice"] = "auto"
        if "reasoning_effort" in call.dropped:
            body.pop("reasoning_effort", None)
    else:
        body = _rendered(request, call.dropped)
    body["model"] = call.deployment.model.vendor_model
    is_openai = call.deployment.model.provider_model.startswith("openai/")
    body["max_completion_tokens" if is_openai else "max_tokens"] = call.output_tokens_max
    if is_streamed:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return body


def _rendered(request: Request, dropped: frozenset[str]) -> dict[str, object]:
    body: dict[str, object] = {"messages": [each for message in request.messages for each in _messages(message)]}
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description or "", "parameters": tool.parameters},
            }
            for tool in request.tools
        ]
    choice = request.tool_choice
    if choice is not None:
        named = {"type": "function", "function": {"name": choice.name}}
        body["tool_choice"] = named if choice.mode == "named" else choice.mode
        if "forced_tool_use" in dropped:
            body["tool_choice"] = "auto"
    if request.allows_parallel_tools is not None:
        body["parallel_tool_calls"] = request.allows_parallel_tools
    if "sampling_params" not in dropped:
        body |= {name: getattr(request.sampling, name) for name in request.sampling.names()}
    wanted = request.response_format
    if wanted is not None and wanted.kind == "json_schema":
        schema = {"name": wanted.name or "answer", "schema": wanted.schema, "strict": bool(wanted.is_strict)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif wanted is not None and wanted.kind == "json_object":
        body["response_format"] = {"type": "json_object"}
    if request.stop:
        body["stop"] = list(request.stop)
    if request.reasoning_effort is not None and "reasoning_effort" not in dropped:
        body["reasoning_effort"] = request.reasoning_effort
    return body


def _messages(message: Message) -> list[dict[str, object]]:
    """One hub message as one or more of theirs: each tool result is a message of its own."""
    found: list[dict[str, object]] = []
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    for result in results:
        content = "\n".join(part.text for part in result.parts if isinstance(part, Text))
        found.append({"role": "tool", "tool_call_id": result.call_id, "content": content})
    rest = [part for part in message.parts if not isinstance(part, ToolResult | Thinking)]
    if rest or not results:
        rendered: dict[str, object] = {"role": message.role, "content": _content(rest)}
        calls = [part for part in rest if isinstance(part, ToolCall)]
        if calls:
            rendered["tool_calls"] = [
                {"id": each.id, "type": "function", "function": {"name": each.name, "arguments": each.arguments}}
                for each in calls
            ]
        found.append(rendered)
    return found


def _content(parts: Sequence[Part]) -> object:
    if not any(isinstance(part, Image) for part in parts):
        return "".join(part.text for part in parts if isinstance(part, Text))
    content: list[dict[str, object]] = []
    for part in parts:
        if isinstance(part, Text):
            content.append({"type": "text", "text": part.text})
        elif isinstance(part, Image):
            url = part.url or f"data:{part.media_type};base64,{part.data}"
            content.append({"type": "image_url", "image_url": {"url": url}})
    return content
