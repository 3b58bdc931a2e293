"""The hub's request as a body of Anthropic's Messages API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from router.providers.anthropic_schema import output_schema_of
from router.providers.anthropic_turns import Renderer, marked
from router.providers.turns import system_parts_of, turns_of

if TYPE_CHECKING:
    from router.chat import Request, Tool, ToolChoice
    from router.ports import Call

CACHE_MARKS_MAX = 4
EMPTY_SCHEMA: dict[str, object] = {"type": "object", "properties": {}}
JSON_ONLY = "Answer with one JSON object and nothing else: no prose, no code fence."
JSON_BY_SCHEMA = "Answer with one JSON value that satisfies this JSON Schema, and nothing else: "
# OpenAI's words for effort -> Anthropic's; `none` asks for no thinking, and is not here.
EFFORT = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
# Models before adaptive thinking take a budget instead; the sizes are litellm's defaults for the same words.
THINKING_BUDGET = {"minimal": 1_024, "low": 1_024, "medium": 2_048, "high": 4_096, "xhigh": 8_192, "max": 16_384}
THINKING_BUDGET_MIN = 1_024


def body_of(call: Call, *, is_streamed: bool) -> dict[str, object]:
    """The upstream body; the output limit is always written, and nothing that was dropped is in it."""
    request = call.request
    system = system_parts_of(request)
    renderer = Renderer()
    turns = renderer.turns(turns_of(call), system)
    body: dict[str, object] = {
        "model": call.deployment.model.vendor_model,
        "max_tokens": call.output_tokens_max,
        "messages": turns,
    }
    blocks = [] if renderer.has_spoken_system else [renderer.text(part) for part in system]
    blocks += [{"type": "text", "text": each} for each in _instructions(call)]
    if blocks:
        body["system"] = blocks
    is_native = "native_structured_output" in call.deployment.model.card.capabilities
    tools = [_tool(each, is_native=is_native) for each in request.tools]
    bound_cache_marks(tools, blocks, turns)
    if tools:
        body["tools"] = tools
        choice = _tool_choice(request.tool_choice, request.allows_parallel_tools, call.dropped)
        if choice is not None:
            body["tool_choice"] = choice
    body |= _thinking(call, turns)
    if "sampling_params" not in call.dropped:
        body |= _sampling(request, is_thinking="thinking" in body)
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    output = _output_config(call, is_thinking="thinking" in body)
    if output:
        body["output_config"] = output
    if request.end_user:
        body["metadata"] = {"user_id": request.end_user}
    if is_streamed:
        body["stream"] = True
    return body


def _instructions(call: Call) -> list[str]:
    """What this API, or an old model of it, has no setting for: one more sentence of the system prompt."""
    wanted = call.request.response_format
    if wanted is None or wanted.kind == "text":
        return []
    if wanted.kind == "json_object" or wanted.schema is None:
        return [JSON_ONLY]
    if "native_structured_output" in call.deployment.model.card.capabilities:
        return []
    return [JSON_BY_SCHEMA + orjson.dumps(wanted.schema).decode()]


def _output_config(call: Call, *, is_thinking: bool) -> dict[str, object]:
    """Structured output, and the effort where the model takes one."""
    card, wanted = call.deployment.model.card, call.request.response_format
    output: dict[str, object] = {}
    if wanted is not None and wanted.schema is not None and "native_structured_output" in card.capabilities:
        output["format"] = {"type": "json_schema", "schema": output_schema_of(wanted.schema)}
    asked = call.request.reasoning_effort
    if asked is None or "reasoning_effort" in call.dropped or "output_config" not in card.capabilities:
        return output
    if asked == "none":
        # What cannot stop thinking can at least think little.
        return {**output, "effort": "low"} if card.thinking_always_on else output
    effort = EFFORT.get(asked, "high")
    is_over = effort == "xhigh" and "xhigh_effort" not in card.capabilities
    if is_over or (effort == "max" and "adaptive_thinking" not in card.capabilities):
        effort = "high"
    return {**output, "effort": effort} if is_thinking or card.thinking_always_on else output


def _thinking(call: Call, turns: list[dict[str, object]]) -> dict[str, object]:
    """Thinking where an effort was asked for and the API allows it: not with a forced tool, not over a bare call."""
    request, card = call.request, call.deployment.model.card
    asked = request.reasoning_effort
    if asked in (None, "none") or "reasoning_effort" in call.dropped or "reasoning" not in card.capabilities:
        return {}
    choice = request.tool_choice
    if choice is not None and choice.mode in ("required", "named") and "forced_tool_use" not in call.dropped:
        return {}
    if turns[-1]["role"] == "assistant":
        return {}  # a prefill is the answer's beginning: nothing can be thought before it
    if "adaptive_thinking" in card.capabilities:
        return {"thinking": {"type": "adaptive"}}
    if _ends_in_bare_call(turns) or call.output_tokens_max <= THINKING_BUDGET_MIN:
        return {}
    budget = min(THINKING_BUDGET.get(str(asked), THINKING_BUDGET["high"]), call.output_tokens_max - 1)
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def _ends_in_bare_call(turns: list[dict[str, object]]) -> bool:
    """Whether the last assistant turn calls tools without the thinking that budgeted models want back with a call."""
    last = next((turn["content"] for turn in reversed(turns) if turn["role"] == "assistant"), None)
    kinds = [block["type"] for block in last] if isinstance(last, list) else []
    return "tool_use" in kinds and "thinking" not in kinds


def _sampling(request: Request, *, is_thinking: bool) -> dict[str, object]:
    """Temperature, or else top_p: Claude 4 takes one of them. OpenAI's scale ends at 2, this one at 1.

    A thinking model samples on its own terms: none is sent.
    """
    found: dict[str, object] = {}
    sampling = request.sampling
    if is_thinking:
        return found
    if sampling.temperature is not None:
        found["temperature"] = min(sampling.temperature, 1.0)
    elif sampling.top_p is not None:
        found["top_p"] = sampling.top_p
    if sampling.top_k is not None:
        found["top_k"] = sampling.top_k
    return found


def _tool(tool: Tool, *, is_native: bool) -> dict[str, object]:
    schema = dict(tool.parameters) or EMPTY_SCHEMA
    found: dict[str, object] = {
        "name": tool.name,
        "input_schema": schema if "type" in schema else {**EMPTY_SCHEMA, **schema},
    }
    if tool.description:
        found["description"] = tool.description
    if tool.is_strict and is_native:
        found["input_schema"] = output_schema_of(schema)
        found["strict"] = True
    return marked(found, tool.cache)


def _tool_choice(choice: ToolChoice | None, parallel: bool | None, dropped: frozenset[str]) -> object:  # noqa: FBT001
    mode = "auto" if choice is None else choice.mode
    if "forced_tool_use" in dropped and mode != "none":
        mode = "auto"
    found: dict[str, object] = {"type": {"required": "any", "named": "tool"}.get(mode, mode)}
    if mode == "named" and choice is not None:
        found["name"] = choice.name
    if parallel is False and mode != "none":
        found["disable_parallel_tool_use"] = True
    return None if found == {"type": "auto"} else found


def bound_cache_marks(
    tools: list[dict[str, object]], system: list[dict[str, object]], turns: list[dict[str, object]]
) -> None:
    """Keep what the API accepts: the last four marks (the longest prefixes), and no hour after five minutes.

    Tools, system, turns: so a prompt is put together there. The order is ours to break by hoisting system prompts and
    tool results, so it is ours to mend.
    """
    blocks = [
        *tools,
        *system,
        *(block for turn in turns if isinstance(turn["content"], list) for block in turn["content"]),
    ]
    marked = [block for block in blocks if "cache_control" in block]
    for block in marked[:-CACHE_MARKS_MAX]:
        del block["cache_control"]
    is_short = False
    for block in marked[-CACHE_MARKS_MAX:]:
        mark = block["cache_control"]
        if isinstance(mark, dict):
            is_short = is_short or mark.get("ttl") == "5m"
            if is_short:
                mark["ttl"] = "5m"
