"""The hub's request as a body of Gemini's generateContent."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import orjson

from router.chat import Image, Text, ToolCall, ToolResult
from router.providers.turns import OPENING, arguments_of, system_parts_of, turns_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.chat import Message, Request, ToolChoice
    from router.policy import PolicyModel
    from router.ports import Call

MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}
SAMPLING = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
    "seed": "seed",
}
LEVELS = {"low": "low", "medium": "medium"}
# Gemini 2.5 takes a budget instead of a level; the sizes are litellm's defaults for the same words.
BUDGETS = {"none": 0, "minimal": 512, "low": 1_024, "medium": 2_048}
BUDGET_HIGH = 4_096
BUDGET_MIN_OF_PRO = 128
VERSION = re.compile(r"gemini-(\d+)")
THIRD_GENERATION = 3
# Gemini 3 wants each call of its own back with a signature that no OpenAI client can keep; Google names this value for
# histories that come without (docs: Thought signatures, FAQ).
NO_SIGNATURE = base64.b64encode(b"skip_thought_signature_validator").decode()
JSON_BY_SCHEMA = "When you do not call a function, answer with one JSON value that satisfies this JSON Schema, alone: "


def body_of(call: Call) -> dict[str, object]:
    """The upstream body; the output limit is always written, and nothing that was dropped is in it."""
    request = call.request
    system = [{"text": part.text} for part in system_parts_of(request)]
    contents = _contents(call)
    if not contents:
        # With nothing but a system prompt, that is what the user says.
        contents, system = [{"role": "user", "parts": system or [{"text": OPENING}]}], []
    generation = _generation(call)
    if request.tools and "responseMimeType" in generation and generation_of(call.deployment.model) < THIRD_GENERATION:
        # Before its third generation Gemini takes either functions or structured output.
        del generation["responseMimeType"]
        system.append({"text": JSON_BY_SCHEMA + orjson.dumps(generation.pop("responseJsonSchema", {})).decode()})
    body: dict[str, object] = {"contents": contents, "generationConfig": generation}
    if system:
        body["systemInstruction"] = {"parts": system}
    if request.tools:
        body["tools"] = [{"functionDeclarations": _declarations(request)}]
        choice = request.tool_choice
        if choice is not None and ("forced_tool_use" not in call.dropped or choice.mode == "none"):
            body["toolConfig"] = {"functionCallingConfig": _calling(choice)}
    return body


def generation_of(model: PolicyModel) -> int:
    """The major version that a model's name tells; a name that tells none is taken for a new one."""
    found = VERSION.search(model.vendor_model)
    return int(found[1]) if found else THIRD_GENERATION


def _declarations(request: Request) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for tool in request.tools:
        declaration: dict[str, object] = {"name": tool.name, "description": tool.description or tool.name}
        if tool.parameters:
            declaration["parametersJsonSchema"] = tool.parameters
        found.append(declaration)
    return found


def _calling(choice: ToolChoice) -> dict[str, object]:
    found: dict[str, object] = {"mode": MODES[choice.mode]}
    if choice.mode == "named":
        found["allowedFunctionNames"] = [choice.name]
    return found


def _generation(call: Call) -> dict[str, object]:
    request = call.request
    config: dict[str, object] = {"maxOutputTokens": call.output_tokens_max}
    if call.wants_logprobs:
        config["responseLogprobs"] = True
    if "sampling_params" not in call.dropped:
        config |= {SAMPLING[name]: getattr(request.sampling, name) for name in request.sampling.names()}
    if request.stop:
        config["stopSequences"] = list(request.stop)
    wanted = request.response_format
    if wanted is not None and wanted.kind != "text":
        config["responseMimeType"] = "application/json"
        if wanted.schema is not None:
            config["responseJsonSchema"] = wanted.schema
    effort = request.reasoning_effort
    is_thinker = "reasoning" in call.deployment.model.card.capabilities
    if effort is not None and is_thinker and "reasoning_effort" not in call.dropped:
        config["thinkingConfig"] = _thinking(effort, call.deployment.model)
    return config


def _thinking(effort: str, model: PolicyModel) -> dict[str, object]:
    """A level from the third generation on, a budget before; what cannot stop thinking thinks as little as it can."""
    if generation_of(model) < THIRD_GENERATION:
        budget = BUDGETS.get(effort, BUDGET_HIGH)
        return {"thinkingBudget": budget if "flash" in model.vendor_model else max(budget, BUDGET_MIN_OF_PRO)}
    if effort in ("none", "minimal"):
        has_minimal = "flash" in model.vendor_model and "minimal_effort" not in model.card.refuses
        return {"thinkingLevel": "minimal" if has_minimal else "low"}
    return {"thinkingLevel": LEVELS.get(effort, "high")}


def _contents(call: Call) -> list[dict[str, object]]:
    """Turns of user and model that start with a user.

    Neighbours of one role are merged, since all results of one turn's calls must stand together; what the user says
    after them is a turn of its own.
    """
    messages = turns_of(call)
    names = {part.id: part.name for message in messages for part in message.parts if isinstance(part, ToolCall)}
    is_third = generation_of(call.deployment.model) >= THIRD_GENERATION
    found: list[tuple[str, list[dict[str, object]]]] = []
    for message in messages:
        role = "model" if message.role == "assistant" else "user"
        results, said = _parts(message, names, has_ids=is_third)
        for kind, parts in (("results", results), (role, said)):
            if parts and found and found[-1][0] == kind:
                found[-1][1].extend(parts)
            elif parts:
                found.append((kind, parts))
    if found and found[0][0] == "model":
        found.insert(0, ("user", [{"text": OPENING}]))
    if is_third:
        for role, parts in found:
            first = next((part for part in parts if "functionCall" in part), None) if role == "model" else None
            if first is not None:
                first["thoughtSignature"] = NO_SIGNATURE
    return [{"role": "model" if role == "model" else "user", "parts": parts} for role, parts in found]


def _parts(
    message: Message, names: Mapping[str, str], *, has_ids: bool
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """The results of tools, with the images that they returned, and everything else.

    Older models match results to calls by name and order, newer ones by the ids that both then carry.
    """
    results: list[dict[str, object]] = []
    said: list[dict[str, object]] = []
    for part in message.parts:
        match part:
            case ToolResult():
                # A result without its call was refused when the request was parsed.
                answer = {"name": names.get(part.call_id, part.call_id), "response": _response(part)}
                results.append({"functionResponse": {"id": part.call_id, **answer} if has_ids else answer})
                results += [_image(inner) for inner in part.parts if isinstance(inner, Image)]
            case ToolCall():
                asked = {"name": part.name, "args": arguments_of(part)}
                said.append({"functionCall": {"id": part.id, **asked} if has_ids else asked})
            case Image():
                said.append(_image(part))
            case Text() if part.text:
                said.append({"text": part.text})
            case _:
                pass  # empty text, and thoughts, whose signatures do not survive a foreign client
    return results, said


def _response(part: ToolResult) -> dict[str, object]:
    """An object passes as it is, anything else under one name."""
    text = "\n".join(inner.text for inner in part.parts if isinstance(inner, Text))
    if not part.is_error and text.lstrip().startswith("{"):
        try:
            parsed = orjson.loads(text)
        except orjson.JSONDecodeError:
            parsed = None
        if isinstance(parsed, dict):
            return parsed
    return {"error" if part.is_error else "result": text}


def _image(part: Image) -> dict[str, object]:
    if part.url is not None:
        return {
            "fileData": {"fileUri": part.url}
        }  # `router.wires` keeps addresses away; one that comes must not vanish
    return {"inlineData": {"mimeType": part.media_type, "data": part.data}}
