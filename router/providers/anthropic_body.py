"""The hub's request as a body of Anthropic's Messages API."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import orjson

from router.chat import Image, Text, Thinking, ToolCall, ToolResult

if TYPE_CHECKING:
    from collections.abc import Iterable

    from router.chat import Message, Part, Request, ToolChoice
    from router.ports import Call

TOOL_ID = re.compile(r"[^a-zA-Z0-9_-]")
EMPTY_SCHEMA: dict[str, object] = {"type": "object", "properties": {}}
JSON_ONLY = "Answer with one JSON object and nothing else."
# OpenAI's word for effort -> Anthropic's; what it has no word for becomes the nearest.
EFFORT = {
    "none": "low",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
}


def body_of(call: Call, *, is_streamed: bool) -> dict[str, object]:
    """The upstream body; the output limit is always written, and nothing that was dropped is in it."""
    request, card = call.request, call.deployment.model.card
    body: dict[str, object] = {
        "model": call.deployment.model.vendor_model,
        "max_tokens": call.output_tokens_max,
        "messages": _messages(request.messages),
    }
    system = _system(request)
    if system:
        body["system"] = system
    if request.tools:
        body["tools"] = [
            {"name": each.name, "input_schema": each.parameters or EMPTY_SCHEMA}
            | ({"description": each.description} if each.description else {})
            for each in request.tools
        ]
        choice = _tool_choice(request.tool_choice, request.allows_parallel_tools, call.dropped)
        if choice is not None:
            body["tool_choice"] = choice
    if "sampling_params" not in call.dropped:
        for name in ("temperature", "top_p", "top_k"):
            value = getattr(request.sampling, name)
            if value is not None:
                body[name] = min(value, 1.0) if name == "temperature" else value
    if request.stop:
        body["stop_sequences"] = [each for each in request.stop if each.strip()]
    output = _output_config(request, card.capabilities)
    if output:
        body["output_config"] = output
    if request.end_user:
        body["metadata"] = {"user_id": request.end_user}
    if is_streamed:
        body["stream"] = True
    return body


def _output_config(request: Request, capabilities: frozenset[str]) -> dict[str, object]:
    """Structured output and effort, where asked for and understood."""
    output: dict[str, object] = {}
    wanted = request.response_format
    if wanted is not None and wanted.kind == "json_schema" and wanted.schema is not None:
        output["format"] = {"type": "json_schema", "schema": wanted.schema}
    if request.reasoning_effort is not None and "adaptive_thinking" in capabilities:
        output["effort"] = EFFORT.get(request.reasoning_effort, "high")
    return output


def _system(request: Request) -> list[dict[str, object]]:
    """System and developer messages as blocks; JSON mode, which this API lacks, becomes one more sentence."""
    blocks = [
        _text(part)
        for message in request.messages
        if message.role == "system"
        for part in message.parts
        if isinstance(part, Text) and part.text.strip()
    ]
    if request.response_format is not None and request.response_format.kind == "json_object":
        blocks.append({"type": "text", "text": JSON_ONLY})
    return blocks


def _tool_choice(choice: ToolChoice | None, parallel: bool | None, dropped: frozenset[str]) -> object:  # noqa: FBT001
    mode = "auto" if choice is None or "forced_tool_use" in dropped else choice.mode
    found: dict[str, object] = {"type": {"required": "any", "named": "tool"}.get(mode, mode)}
    if mode == "named" and choice is not None:
        found["name"] = choice.name
    if parallel is False and mode != "none":
        found["disable_parallel_tool_use"] = True
    return None if found == {"type": "auto"} else found


def _messages(messages: Iterable[Message]) -> list[dict[str, object]]:
    """Alternating turns: neighbours of one role are merged, tool results lead the user turn that carries them."""
    turns: list[tuple[str, list[dict[str, object]]]] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [block for part in message.parts if (block := _block(part)) is not None]
        if not blocks:
            continue
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    found: list[dict[str, object]] = []
    for role, blocks in turns:
        results = [each for each in blocks if each["type"] == "tool_result"]
        rest = [each for each in blocks if each["type"] != "tool_result"]
        found.append({"role": role, "content": results + rest})
    return found


def _text(part: Text) -> dict[str, object]:
    block: dict[str, object] = {"type": "text", "text": part.text}
    if part.cache is not None:
        block["cache_control"] = {"type": "ephemeral", "ttl": part.cache}
    return block


def _block(part: Part) -> dict[str, object] | None:
    """One part as a content block; None for what this API refuses or has no use for (empty text, foreign thinking)."""
    match part:
        case Text():
            return _text(part) if part.text.strip() else None
        case Image(url=str(url)):
            return {"type": "image", "source": {"type": "url", "url": url}}
        case Image():
            source = {"type": "base64", "media_type": part.media_type, "data": part.data}
            return {"type": "image", "source": source}
        case ToolCall():
            return {"type": "tool_use", "id": tool_id_of(part.id), "name": part.name, "input": arguments_of(part)}
        case ToolResult():
            content = [block for inner in part.parts if (block := _block(inner)) is not None]
            found: dict[str, object] = {"type": "tool_result", "tool_use_id": tool_id_of(part.call_id)}
            if content:
                found["content"] = content
            return found | ({"is_error": True} if part.is_error else {})
        case Thinking(vendor="anthropic", signature=str(signature)):
            return {"type": "thinking", "thinking": part.text, "signature": signature}
        case _:
            return None


def tool_id_of(call_id: str) -> str:
    """A tool id in the alphabet that Anthropic accepts; equal ids stay equal."""
    return TOOL_ID.sub("_", call_id) or "call"


def arguments_of(call: ToolCall) -> dict[str, object]:
    """A call's arguments as an object; text that a model wrote as something else is kept under one name."""
    try:
        parsed = orjson.loads(call.arguments or "{}")
    except orjson.JSONDecodeError:
        return {"arguments": call.arguments}
    return parsed if isinstance(parsed, dict) else {"arguments": parsed}
