"""The hub's request as a body of Gemini's generateContent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.chat import Image, Text, ToolCall, ToolResult
from router.providers.anthropic_body import arguments_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.chat import Message, Part, Request, ToolChoice
    from router.ports import Call

MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}
# Calls in a history need the signature of the thought behind them, and Chat Completions has no place for one: Google's
# documented word for a call that comes from elsewhere.
NO_SIGNATURE = "skip_thought_signature_validator"
THINKING_LEVELS = {"none": "low", "minimal": "low", "low": "low", "medium": "medium"}
SAMPLING = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
    "seed": "seed",
}


def body_of(call: Call) -> dict[str, object]:
    """The upstream body; the output limit is always written, and nothing that was dropped is in it."""
    request = call.request
    names = {part.id: part.name for message in request.messages for part in message.parts if isinstance(part, ToolCall)}
    body: dict[str, object] = {"contents": _contents(request, names), "generationConfig": _generation(call)}
    system = [
        {"text": part.text}
        for message in request.messages
        if message.role == "system"
        for part in message.parts
        if isinstance(part, Text) and part.text
    ]
    if system:
        body["systemInstruction"] = {"parts": system}
    if request.tools:
        declarations: list[dict[str, object]] = []
        for tool in request.tools:
            declaration: dict[str, object] = {"name": tool.name, "description": tool.description or tool.name}
            if tool.parameters:
                declaration["parametersJsonSchema"] = tool.parameters
            declarations.append(declaration)
        body["tools"] = [{"functionDeclarations": declarations}]
        choice = request.tool_choice
        if choice is not None and "forced_tool_use" not in call.dropped:
            body["toolConfig"] = {"functionCallingConfig": _calling(choice)}
    return body


def _calling(choice: ToolChoice) -> dict[str, object]:
    found: dict[str, object] = {"mode": MODES[choice.mode]}
    if choice.mode == "named":
        found["allowedFunctionNames"] = [choice.name]
    return found


def _generation(call: Call) -> dict[str, object]:
    request = call.request
    config: dict[str, object] = {"maxOutputTokens": call.output_tokens_max}
    if "sampling_params" not in call.dropped:
        config |= {SAMPLING[name]: getattr(request.sampling, name) for name in request.sampling.names()}
    if request.stop:
        config["stopSequences"] = list(request.stop)
    wanted = request.response_format
    if wanted is not None and wanted.kind != "text":
        config["responseMimeType"] = "application/json"
        if wanted.schema is not None:
            config["responseJsonSchema"] = wanted.schema
    if request.reasoning_effort is not None and "reasoning" in call.deployment.model.card.capabilities:
        config["thinkingConfig"] = {"thinkingLevel": THINKING_LEVELS.get(request.reasoning_effort, "high")}
    return config


def _contents(request: Request, names: Mapping[str, str]) -> list[dict[str, object]]:
    """Turns of user and model; neighbours of one role are merged, as a tool's results must stand in one turn."""
    found: list[tuple[str, list[dict[str, object]]]] = []
    for message in request.messages:
        if message.role == "system":
            continue
        role = "model" if message.role == "assistant" else "user"
        parts = _parts(message, names)
        if not parts:
            continue
        if found and found[-1][0] == role:
            found[-1][1].extend(parts)
        else:
            found.append((role, parts))
    return [{"role": role, "parts": parts} for role, parts in found]


def _parts(message: Message, names: Mapping[str, str]) -> list[dict[str, object]]:
    return [rendered for part in message.parts if (rendered := _part(part, names)) is not None]


def _part(part: Part, names: Mapping[str, str]) -> dict[str, object] | None:
    match part:
        case Text():
            return {"text": part.text} if part.text else None
        case Image(url=None):
            return {"inlineData": {"mimeType": part.media_type, "data": part.data}}
        case ToolCall():
            call = {"name": part.name, "args": arguments_of(part)}
            return {"functionCall": call, "thoughtSignature": NO_SIGNATURE}
        case ToolResult():
            text = "\n".join(inner.text for inner in part.parts if isinstance(inner, Text))
            response = {"error": text} if part.is_error else {"result": text}
            # A result without its call was refused when the request was parsed.
            return {"functionResponse": {"name": names.get(part.call_id, part.call_id), "response": response}}
        case _:
            return None
