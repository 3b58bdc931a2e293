"""The hub's request as a Chat Completions body: the caller's own where it came that way, else rendered."""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING, TypeAlias

import orjson

from router.chat import Image, Text, Thinking, ToolCall, ToolResult
from router.providers.turns import arguments_of
from router.wires import HOST_REFUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from router.catalog.cards import ModelCard
    from router.chat import Message, Part, Request
    from router.policy import PolicyModel
    from router.ports import Call

SAMPLING_FIELDS = ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed")
# Ours alone, or written anew below.
OWN_FIELDS = frozenset({"model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "metadata"})
# What Chat Completions names in a history and in a tool, and what in turn those hold; None is whatever it may be.
# Clients send back what some model answered, and marks that another vendor reads (`reasoning_content`, `annotations`,
# `cache_control`): most hosts refuse what they do not know.
Shape: TypeAlias = "Mapping[str, Shape | None]"
PART: Shape = {"type": None, "text": None, "image_url": {"url": None, "detail": None}, "refusal": None}
CALL: Shape = {"id": None, "type": None, "function": {"name": None, "arguments": None}}
MESSAGE: Shape = {"role": None, "content": PART, "name": None, "tool_calls": CALL, "tool_call_id": None}
MESSAGES: Mapping[str, Shape] = {
    "openai": {**MESSAGE, "refusal": None},
    "groq": {name: inner for name, inner in MESSAGE.items() if name != "name"},
}
TOOL: Shape = {
    "type": None,
    "function": {"name": None, "description": None, "parameters": None, "strict": None},
}
# Hosts that pass over what they do not know, or have a use for it; litellm sorts it out for the long tail.
TOLERANT = frozenset({"hosted_vllm", "ollama", "ollama_chat", "openrouter"})
# Advice that OpenAI has a use for, and other hosts refuse.
OPENAI_ADVICE = frozenset({"store", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"})
# These open models take an effort of `low`, `medium` or `high` from every host.
GPT_OSS = "gpt-oss"
KNOW_SERVICE_TIER = frozenset({"openai", "groq"})
IMAGES_OF_TOOLS = "The images that the tool returned:"


def body_of(call: Call, *, is_streamed: bool) -> dict[str, object]:
    """The upstream body; the output limit is always written, and nothing that was dropped is in it."""
    request = call.request
    model = call.deployment.model
    provider = model.provider_model.split("/", 1)[0]
    is_openai = provider == "openai"
    body = _own(request, is_openai=is_openai) if request.surface == "openai_chat" else _rendered(request)
    if model.wire == "openai" and provider not in TOLERANT:
        _leave_known(body, provider, model.card)
    if "sampling_params" in call.dropped:
        for name in SAMPLING_FIELDS:
            body.pop(name, None)
    if "forced_tool_use" in call.dropped and "tool_choice" in body:
        body["tool_choice"] = "auto"
    if "reasoning_effort" in call.dropped:
        body.pop("reasoning_effort", None)
    elif "reasoning_effort" in body:
        body["reasoning_effort"] = _effort(str(body["reasoning_effort"]), model)
    if "assistant_prefill" in call.dropped:
        _drop_prefill(body)
    body["model"] = model.vendor_model
    # OpenAI's reasoning models refuse the older name, other hosts do not all know the newer.
    body["max_completion_tokens" if is_openai else "max_tokens"] = call.output_tokens_max
    if call.wants_logprobs and not body.get("logprobs"):  # a caller's own wish says more
        # Together counts alternatives where OpenAI wants a flag (docs: Logprobs).
        body["logprobs"] = 1 if provider == "together_ai" else True
    if is_streamed:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return body


def _own(request: Request, *, is_openai: bool) -> dict[str, object]:
    # A null is what is not there; some hosts know it for fields alone that they know.
    body = {name: value for name, value in request.body.items() if value is not None and name not in OWN_FIELDS}
    messages = body.get("messages")
    if request.rewritten and isinstance(messages, list):
        messages = body["messages"] = [
            _with_texts(each, request.rewritten[index]) if index in request.rewritten else each
            for index, each in enumerate(messages)
        ]
    if not is_openai and isinstance(messages, list):
        body["messages"] = [_for_open_models(each) for each in messages]
    return body


def _effort(asked: str, model: PolicyModel) -> str:
    """The nearest effort that the model takes: what cannot stop thinking can at least think little."""
    name, able = model.provider_model, model.card.capabilities
    if not name.startswith("openai/") and GPT_OSS not in name:
        return asked
    if asked == "none" and "none_effort" not in able:
        asked = "minimal"
    if asked == "minimal" and "minimal_effort" not in able:
        asked = "low"
    if asked in ("xhigh", "max"):
        return "xhigh" if "xhigh_effort" in able else "high"
    return asked


def _leave_known(body: dict[str, object], provider: str, card: ModelCard) -> None:
    """Leave out what the host would refuse as unknown; where that would change the answer it is not asked at all."""
    if provider != "openai":
        for name in OPENAI_ADVICE:
            body.pop(name, None)
    if provider not in KNOW_SERVICE_TIER:
        body.pop("service_tier", None)  # it is the usual one: another is refused before it comes here
    for name in (*HOST_REFUSES.get(provider, ()), *card.refuses):
        body.pop(name, None)
    if provider == "openai" and "parallel_tools" not in card.capabilities:
        body.pop("parallel_tool_calls", None)  # one call at a time is all that it makes
    body["messages"] = _known(body.get("messages"), MESSAGES.get(provider, MESSAGE))
    if "tools" in body:
        body["tools"] = _known(body["tools"], TOOL)


def _known(value: object, shape: Shape) -> object:
    """What the shape names of an object, or of each in a list; mostly that is all of it, and it is the same object."""
    if isinstance(value, list):
        kept = [_known(each, shape) for each in value]
        return value if all(map(is_, kept, value)) else kept
    if not isinstance(value, dict):
        return value
    if not value.keys() <= shape.keys():
        value = {name: each for name, each in value.items() if name in shape}
    for name, inner in shape.items():
        if inner is not None and name in value:
            known = _known(value[name], inner)
            if known is not value[name]:
                value = {**value, name: known}
    return value


def _with_texts(message: dict[str, object], texts: Sequence[str | None]) -> dict[str, object]:
    """The caller's message with other texts, in order; what has none left is gone, everything else as it was."""
    content, left = message.get("content"), iter(texts)
    if isinstance(content, str):
        return {**message, "content": next(left)}
    assert isinstance(content, list)
    kept: list[object] = []
    for item in content:
        if not (isinstance(item, dict) and item.get("type") == "text"):
            kept.append(item)
            continue
        text = next(left)
        if text is not None:
            kept.append({**item, "text": text})
    return {**message, "content": kept}


def _for_open_models(message: dict[str, object]) -> dict[str, object]:
    """The message in words that chat templates of open models know: no `developer`, and a refusal is text."""
    if message.get("role") == "developer":
        return {**message, "role": "system"}
    if message.get("role") != "assistant":
        return message
    content, refusal, calls = message.get("content"), message.get("refusal"), message.get("tool_calls")
    if isinstance(calls, list) and not all(_is_sound(call) for call in calls):
        message = {**message, "tool_calls": [call if _is_sound(call) else _made_sound(call) for call in calls]}
    if content is None and isinstance(refusal, str):
        return {**message, "content": refusal, "refusal": None}
    if isinstance(content, list) and any(_is_refusal(part) for part in content):
        return {**message, "content": [_as_text(part) if _is_refusal(part) else part for part in content]}
    return message


def _is_sound(call: dict[str, dict[str, str]]) -> bool:
    """Whether the call's arguments, which templates read as JSON, are an object, or none."""
    arguments = call["function"]["arguments"]
    try:
        return not arguments or isinstance(orjson.loads(arguments), dict)
    except orjson.JSONDecodeError:
        return False


def _made_sound(call: dict[str, dict[str, str]]) -> dict[str, object]:
    """The call with what its model wrote as anything else under one name, as the other wires are told it."""
    function = call["function"]
    kept = arguments_of(ToolCall("", function["name"], function["arguments"]))
    return {**call, "function": {**function, "arguments": orjson.dumps(kept).decode()}}


def _is_refusal(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == "refusal"


def _as_text(part: dict[str, object]) -> dict[str, object]:
    return {"type": "text", "text": part.get("refusal")}


def _drop_prefill(body: dict[str, object]) -> None:
    messages = body.get("messages")
    if not isinstance(messages, list):
        return
    kept = list(messages)
    while kept and kept[-1].get("role") == "assistant":
        kept.pop()
    body["messages"] = kept


def _rendered(request: Request) -> dict[str, object]:
    body: dict[str, object] = {"messages": _messages(request.messages)}
    if request.tools:
        body["tools"] = [_tool(each.name, each.description, each.parameters, each.is_strict) for each in request.tools]
    choice = request.tool_choice
    if choice is not None:
        named = {"type": "function", "function": {"name": choice.name}}
        body["tool_choice"] = named if choice.mode == "named" else choice.mode
    if request.allows_parallel_tools is not None and request.tools:
        body["parallel_tool_calls"] = request.allows_parallel_tools
    body |= {name: getattr(request.sampling, name) for name in request.sampling.names()}
    wanted = request.response_format
    if wanted is not None and wanted.kind == "json_schema":
        schema = {"name": wanted.name or "answer", "schema": wanted.schema, "strict": bool(wanted.is_strict)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif wanted is not None and wanted.kind == "json_object":
        body["response_format"] = {"type": "json_object"}
    if request.stop:
        body["stop"] = list(request.stop)
    if request.reasoning_effort is not None:
        body["reasoning_effort"] = request.reasoning_effort
    if request.end_user:
        body["user"] = request.end_user
    return body


def _tool(name: str, about: str | None, parameters: object, strict: bool | None) -> dict[str, object]:  # noqa: FBT001
    function: dict[str, object] = {"name": name, "parameters": parameters}
    if about:
        function["description"] = about
    if strict is not None:
        function["strict"] = strict
    return {"type": "function", "function": function}


def _messages(messages: Iterable[Message]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    images: list[Part] = []
    for message in messages:
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        if images and not results:
            found.append(_images_of_tools(images))
            images = []
        found += [_tool_message(result) for result in results]
        images += [part for result in results for part in result.parts if isinstance(part, Image)]
        rest = [part for part in message.parts if not isinstance(part, ToolResult | Thinking)]
        if rest or not results:
            found.append(_message(message.role, rest))
    return [*found, _images_of_tools(images)] if images else found


def _images_of_tools(images: list[Part]) -> dict[str, object]:
    """A tool's message holds text alone there, so its images follow, once all of the turn's results are said."""
    return {"role": "user", "content": _content([Text(IMAGES_OF_TOOLS), *images])}


def _tool_message(result: ToolResult) -> dict[str, object]:
    content = "\n".join(part.text for part in result.parts if isinstance(part, Text))
    return {"role": "tool", "tool_call_id": result.call_id, "content": content}


def _message(role: str, parts: Sequence[Part]) -> dict[str, object]:
    calls = [part for part in parts if isinstance(part, ToolCall)]
    content = _content(parts)
    rendered: dict[str, object] = {"role": role, "content": content if content or not calls else None}
    if calls:
        rendered["tool_calls"] = [
            {"id": each.id, "type": "function", "function": {"name": each.name, "arguments": each.arguments or "{}"}}
            for each in calls
        ]
    return rendered


def _content(parts: Sequence[Part]) -> object:
    if not any(isinstance(part, Image) for part in parts):
        return "\n".join(part.text for part in parts if isinstance(part, Text))
    content: list[dict[str, object]] = []
    for part in parts:
        if isinstance(part, Text):
            content.append({"type": "text", "text": part.text})
        elif isinstance(part, Image):
            image: dict[str, object] = {"url": part.url or f"data:{part.media_type};base64,{part.data}"}
            if part.detail:
                image["detail"] = part.detail
            content.append({"type": "image_url", "image_url": image})
    return content
