"""Anthropic's Messages API: `POST /v1/messages` and `/v1/messages/count_tokens`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from router.simulator.answers import Answer, Ask, Tool
from router.simulator.anthropic_checks import check_output_schema, check_settings, check_tools, check_turns
from router.simulator.anthropic_prompt import PromptReader, cached_usage
from router.simulator.refusals import Body, RefusedError, invalid, is_int, require
from router.simulator.wire import Head, Rejection, Ticket, pieces_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.simulator.catalogue import Catalogue, Model, Usage
    from router.simulator.prefixes import PrefixCache

ERRORS = {
    "invalid": (400, "invalid_request_error"),
    "auth": (401, "authentication_error"),
    "not_found": (404, "not_found_error"),
    "too_large": (413, "request_too_large"),
    "rate_limit": (429, "rate_limit_error"),
    "internal": (500, "api_error"),
    "overloaded": (529, "overloaded_error"),
}
STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tool": "tool_use",
    "refusal": "refusal",
}
EFFORTS = {"low": 0.4, "medium": 0.7, "high": 1.0, "xhigh": 1.6, "max": 2.5}
THINKING_BUDGET_MIN = 1024
PIECE_CHARACTERS = 36


class AnthropicWire:
    """Strict as the vendor: version header, unknown fields, sampling settings, prefill, forced tools."""

    vendor = "anthropic"
    routes = ("/v1/messages", "/v1/messages/count_tokens")
    request_id_header = "request-id"

    def check_key(self, head: Head) -> None:
        """Want a key (any) and the API's version."""
        has_bearer = head.headers.get("authorization", "").lower().startswith("bearer ")
        if not head.headers.get("x-api-key") and not has_bearer:
            raise RefusedError("auth", "x-api-key header is required")
        require(head.headers.get("anthropic-version"), "anthropic-version: header is required")

    def read(self, head: Head, body: Body, catalogue: Catalogue) -> Ask:
        """Accept or refuse a request."""
        is_count = head.action == "count_tokens"
        check_settings(body, needs_max_tokens=not is_count)
        model = catalogue.find(self.vendor, body["model"])
        if model is None:
            raise RefusedError("not_found", f"model: {body['model']}")
        check_tools(body)
        effort = _effort_of(body, model)
        _check_against_model(body, model, is_thinking=effort > 0)
        tools = body.get("tools") or []
        scope = f"{head.headers.get('x-api-key', '')}\x00{model.name}".encode()
        reader = PromptReader(
            scope, is_cached=b"cache_control" in head.raw, has_vision=not model.flags or model.offers("supports_vision")
        )
        reader.read_tools(tools)
        reader.read_system(body.get("system"))
        reader.read_messages(body.get("messages"), has_system_turns=model.offers("supports_mid_conversation_system"))
        if body.get("cache_control") is not None:
            reader.mark_end(body["cache_control"])
        reader.require_breakpoints()
        _check_conversation(reader, model)
        choice = body.get("tool_choice") or {"type": "auto"}
        window = model.context_tokens_max
        require(reader.tokens <= window, f"prompt is too long: {reader.tokens} tokens > {window} maximum")
        names = frozenset({choice["name"]}) if choice["type"] == "tool" else frozenset()
        return Ask(
            vendor=self.vendor,
            model=model,
            prompt_tokens=reader.tokens,
            question=reader.question(),
            output_tokens_max=body.get("max_tokens") or 1,
            is_stream=body.get("stream") is True and not is_count,
            tools=tuple(Tool(tool["name"], tool["input_schema"]) for tool in tools),
            tool_mode="any" if choice["type"] == "tool" else choice["type"],
            tool_names=names,
            is_parallel=not choice.get("disable_parallel_tool_use"),
            is_after_tool=any(b["type"] == "tool_result" for b in reader.turns[-1][1]),
            schema=_output_schema(body),
            stops=tuple(body.get("stop_sequences") or ()),
            effort=effort,
            prefix=reader.boundaries,
            options={"is_count": is_count, "display": (body.get("thinking") or {}).get("display", "omitted")},
        )

    def counted(self, ask: Ask) -> bytes | None:
        """The answer to `count_tokens`."""
        return orjson.dumps({"input_tokens": ask.prompt_tokens}) if ask.options["is_count"] else None

    def usage_of(self, ask: Ask, answers: Sequence[Answer], cache: PrefixCache) -> Usage:
        """Reasoning is part of the output's count."""
        usage = cached_usage(ask.prefix, ask.prompt_tokens, ask.model, cache)
        answer = answers[0]
        return replace(usage, output_text=answer.text_tokens, output_reasoning=answer.reasoning_tokens)

    def usage_shown(self, usage: Usage) -> dict[str, Any]:
        """Anthropic's usage: `input_tokens` leaves out what was read from or written to the cache."""
        return {
            "input_tokens": usage.input_uncached,
            "cache_creation_input_tokens": usage.cache_write_5m + usage.cache_write_1h,
            "cache_read_input_tokens": usage.cache_read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": usage.cache_write_5m,
                "ephemeral_1h_input_tokens": usage.cache_write_1h,
            },
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"thinking_tokens": usage.output_reasoning},
            "service_tier": "standard",
            "inference_geo": "global",
        }

    def body_of(self, ask: Ask, answers: Sequence[Answer], usage: Usage | None, ticket: Ticket) -> bytes:
        """A `message` object."""
        answer = answers[0]
        message = _message(ask, ticket, usage=self.usage_shown(usage) if usage else None)
        message["content"] = _blocks(ask, answer, ticket)
        message["stop_reason"] = STOP_REASONS[answer.finish]
        message["stop_sequence"] = answer.stop_sequence
        if answer.finish == "refusal":
            message["stop_details"] = {"type": "refusal", "category": None, "explanation": None}
        return orjson.dumps(message)

    def events_of(
        self, ask: Ask, answers: Sequence[Answer], usage: Usage | None, ticket: Ticket, pieces: int | None
    ) -> list[bytes]:
        """The named events from `message_start` to `message_stop`."""
        answer = answers[0]
        shown = self.usage_shown(usage) if usage else None
        start = {**shown, "output_tokens": 1} if shown else None
        if start is not None:
            del start["output_tokens_details"]
        events = [_event("message_start", message=_message(ask, ticket, usage=start)), _event("ping")]
        for index, block in enumerate(_blocks(ask, answer, ticket)):
            events += _block_events(index, block, pieces)
        delta: dict[str, Any] = {"stop_reason": STOP_REASONS[answer.finish], "stop_sequence": answer.stop_sequence}
        if answer.finish == "refusal":
            delta["stop_details"] = {"type": "refusal", "category": None, "explanation": None}
        last: dict[str, Any] = {"delta": delta}
        if shown:
            keys = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
            last["usage"] = {key: shown[key] for key in (*keys, "output_tokens_details")}
        return [*events, _event("message_delta", **last), _event("message_stop")]

    def stream_type(self, ask: Ask) -> str:
        """Server-sent events."""
        del ask
        return "text/event-stream; charset=utf-8"

    def rejection_of(self, refused: RefusedError, request_id: str) -> Rejection:
        """`{"type": "error", "error": {type, message}, "request_id"}`."""
        status, kind = ERRORS[refused.kind]
        error = {"type": kind, "message": refused.message}
        body = orjson.dumps({"type": "error", "error": error, "request_id": request_id})
        headers = {} if status in (429, 500, 529) else {"x-should-retry": "false"}
        return Rejection(status, body, headers)

    def listed(self, catalogue: Catalogue, host: str) -> bytes:
        """A page of models."""
        del host
        names = [name for name in catalogue.names(self.vendor) if name.startswith("claude")]
        models = [
            {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"} for name in names
        ]
        return orjson.dumps(
            {
                "data": models,
                "has_more": False,
                "first_id": names[0] if names else None,
                "last_id": names[-1] if names else None,
            }
        )


def _effort_of(body: Body, model: Model) -> float:
    """How much the model reasons, 0 for not at all."""
    config = body.get("output_config") or {}
    require(isinstance(config, dict), "output_config: Input should be a valid dictionary")
    extra = sorted(set(config) - {"effort", "format"})
    require(not extra, f"output_config.{extra[0] if extra else ''}: Extra inputs are not permitted")
    named = str(config.get("effort") or "high")
    require(named in EFFORTS, "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'")
    thinking = body.get("thinking")
    if thinking is None:
        return EFFORTS[named] if model.thinks_always else 0.0
    require(isinstance(thinking, dict), "thinking: Input should be a valid dictionary")
    kind = thinking.get("type")
    require(
        kind in ("enabled", "adaptive", "disabled"), "thinking.type: Input should be 'adaptive', 'disabled', 'enabled'"
    )
    if kind == "disabled":
        require(not model.thinks_always, "thinking.type: 'disabled' is not supported for this model")
        return 0.0
    if kind == "enabled":
        is_old = not model.thinks_always and not model.refuses("supports_sampling_params")
        require(is_old, "thinking.type: 'enabled' is not supported for this model; use 'adaptive'")
        budget = thinking.get("budget_tokens")
        require(is_int(budget), "thinking.enabled.budget_tokens: Field required")
        low = f"thinking.enabled.budget_tokens: Input should be greater than or equal to {THINKING_BUDGET_MIN}"
        require(budget >= THINKING_BUDGET_MIN, low)
        require(
            budget < body.get("max_tokens", budget + 1), "`max_tokens` must be greater than `thinking.budget_tokens`"
        )
    else:
        require(model.offers("supports_adaptive_thinking"), "adaptive thinking is not supported on this model")
    return EFFORTS[named]


def _check_against_model(body: Body, model: Model, *, is_thinking: bool) -> None:
    """Refuse what the catalogue says the model does not take."""
    limit, asked = model.output_tokens_max, body.get("max_tokens", 1)
    require(
        asked <= limit,
        f"max_tokens: {asked} > {limit}, which is the maximum allowed number of output tokens for {model.name}",
    )
    given = [name for name in ("temperature", "top_p", "top_k") if body.get(name) is not None]
    if given and model.refuses("supports_sampling_params"):
        raise invalid(f"`{given[0]}` is not supported for this model")
    is_both = "temperature" in given and "top_p" in given
    require(not is_both, "`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    choice = (body.get("tool_choice") or {}).get("type")
    if choice in ("any", "tool"):
        is_refused = model.refuses("supports_forced_tool_use")
        require(not is_refused, f"tool_choice.type: '{choice}' is not supported for this model; use 'auto' or 'none'")
        require(not is_thinking, "Thinking may not be enabled when tool_choice forces tool use.")
    if is_thinking and given:
        require(body.get("temperature") in (None, 1), "`temperature` may only be set to 1 when thinking is enabled.")
    if body.get("tools"):
        require(not model.refuses("supports_function_calling"), "tools: not supported for this model")


def _check_conversation(reader: PromptReader, model: Model) -> None:
    check_turns(reader.turns)
    role, blocks = reader.turns[-1]
    if role == "assistant":
        message = (
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
        require(not model.refuses("supports_assistant_prefill"), message)
        text = blocks[-1].get("text", "") if blocks else ""
        require(text == text.rstrip(), "messages: final assistant content cannot end with trailing whitespace")


def _output_schema(body: Body) -> dict[str, Any] | None:
    form = (body.get("output_config") or {}).get("format")
    if form is None:
        return None
    kind = form.get("type") if isinstance(form, dict) else None
    require(kind == "json_schema", "output_config.format.type: Input should be 'json_schema'")
    check_output_schema(form.get("schema"))
    schema: dict[str, Any] = form["schema"]
    return schema


def _message(ask: Ask, ticket: Ticket, usage: dict[str, Any] | None) -> dict[str, Any]:
    message: dict[str, Any] = {
        "id": f"msg_01{ticket.mark[:22]}",
        "type": "message",
        "role": "assistant",
        "model": ask.model.name,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    if usage is not None:
        message["usage"] = usage
    return message


def _blocks(ask: Ask, answer: Answer, ticket: Ticket) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.reasoning_tokens:
        summary = "Weighing what was asked before answering." if ask.options["display"] == "summarized" else ""
        blocks.append({"type": "thinking", "thinking": summary, "signature": f"Er{ticket.mark}=="})
    if answer.finish == "refusal":
        return blocks
    if answer.text:
        blocks.append({"type": "text", "text": answer.text})
    for index, call in enumerate(answer.calls):
        tool_id = f"toolu_01{index:02d}{ticket.mark[:20]}"
        blocks.append({"type": "tool_use", "id": tool_id, "name": call.name, "input": call.arguments})
    return blocks


def _block_events(index: int, block: dict[str, Any], pieces: int | None) -> list[bytes]:
    kind = block["type"]
    start: dict[str, Any]
    deltas: list[dict[str, Any]]
    if kind == "text":
        start = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": part} for part in pieces_of(block["text"], PIECE_CHARACTERS, pieces)]
    elif kind == "thinking":
        start = {"type": "thinking", "thinking": "", "signature": ""}
        deltas = [{"type": "thinking_delta", "thinking": block["thinking"]}] if block["thinking"] else []
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    else:
        start = {"type": "tool_use", "id": block["id"], "name": block["name"], "input": {}}
        parts = ["", *pieces_of(orjson.dumps(block["input"]).decode(), PIECE_CHARACTERS, None)]
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
    return [
        _event("content_block_start", index=index, content_block=start),
        *(_event("content_block_delta", index=index, delta=delta) for delta in deltas),
        _event("content_block_stop", index=index),
    ]


def _event(name: str, **fields: Any) -> bytes:  # noqa: ANN401 - any JSON value
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps({"type": name, **fields}))
