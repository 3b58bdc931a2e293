"""An OpenAI-compatible host of open models, in the style of Together, Groq and vLLM: `POST /v1/chat/completions`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from router.simulator.answers import Answer, Ask, Tool
from router.simulator.catalogue import Usage
from router.simulator.openai_checks import check_settings, output_schema, read_messages, read_tools, tool_mode
from router.simulator.prefixes import implicit_read
from router.simulator.refusals import Body, RefusedError, require
from router.simulator.tokens import TOOLS_TOKENS, tokens_of_text
from router.simulator.wire import Head, Rejection, Ticket, pieces_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.simulator.catalogue import Catalogue, Model
    from router.simulator.prefixes import PrefixCache

VENDOR = "openai"
ERRORS = {
    "invalid": (400, "invalid_request_error"),
    "auth": (401, "invalid_request_error"),
    "not_found": (404, "invalid_request_error"),
    "too_large": (413, "invalid_request_error"),
    "rate_limit": (429, "rate_limit_error"),
    "internal": (500, "server_error"),
    "overloaded": (503, "service_unavailable"),
}
CODES = {"auth": "invalid_api_key", "not_found": "model_not_found", "rate_limit": "rate_limit_exceeded"}
FINISHES = {"stop": "stop", "length": "length", "stop_sequence": "stop", "tool": "tool_calls", "refusal": "stop"}
PIECE_CHARACTERS = 18


class OpenAIWire:
    """Takes what such hosts take: fields it does not know are ignored, wrong ones are refused."""

    vendor = VENDOR
    routes = ("/v1/chat/completions", "/{host}/v1/chat/completions")
    request_id_header = "x-request-id"

    def check_key(self, head: Head) -> None:
        """Want a bearer token (any)."""
        scheme, _, token = head.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            message = (
                "You didn't provide an API key. You need to provide it in an Authorization header using Bearer auth."
            )
            raise RefusedError("auth", message, code="invalid_api_key")

    def read(self, head: Head, body: Body, catalogue: Catalogue) -> Ask:
        """Accept or refuse a request."""
        name = body.get("model")
        require(isinstance(name, str) and name, "you must provide a model parameter", param="model")
        model = catalogue.find(VENDOR, str(name), head.host)
        if model is None:
            message = f"The model `{name}` does not exist or you do not have access to it."
            raise RefusedError("not_found", message, param="model", code="model_not_found")
        check_settings(body, model)
        tools = read_tools(body, model)
        mode, names = tool_mode(body, tools, model)
        has_vision = not model.flags or model.offers("supports_vision")
        prompt = read_messages(body.get("messages"), has_vision=has_vision)
        tokens = prompt.tokens
        if tools:
            tokens += TOOLS_TOKENS[VENDOR] + sum(tokens_of_text(orjson.dumps(tool).decode(), VENDOR) for tool in tools)
        return Ask(
            vendor=VENDOR,
            model=model,
            prompt_tokens=tokens,
            question=prompt.question,
            output_tokens_max=_output_limit(body, model, tokens),
            is_stream=body.get("stream") is True,
            tools=tuple(Tool(tool["name"], tool.get("parameters") or {}) for tool in tools),
            tool_mode=mode,
            tool_names=names,
            is_parallel=body.get("parallel_tool_calls") is not False,
            is_after_tool=prompt.is_after_tool,
            schema=output_schema(body, model),
            stops=_stops(body),
            effort=1.0 if model.offers("supports_reasoning") else 0.0,
            choices=body.get("n") or 1,
            prefix=(head.headers.get("authorization", ""), body),
            options={
                "include_usage": (body.get("stream_options") or {}).get("include_usage") is True,
                "logprobs": bool(body.get("logprobs")),
            },
        )

    def counted(self, ask: Ask) -> bytes | None:
        """Such hosts count nothing in advance."""
        del ask
        return None

    def usage_of(self, ask: Ask, answers: Sequence[Answer], cache: PrefixCache) -> Usage:
        """Long prompts are cached by models that the catalogue sells cache reads for."""
        read = 0
        sells_reads = ask.model.offers("supports_prompt_caching")
        if sells_reads and ask.prompt_tokens >= ask.model.cache_tokens_min:
            key, body = ask.prefix
            held = orjson.dumps([body.get("tools"), body["messages"]])
            read = implicit_read(cache, f"{key}\x00{ask.model.name}".encode(), held, ask.prompt_tokens)
        return Usage(
            input_uncached=ask.prompt_tokens - read,
            cache_read=read,
            output_text=sum(answer.text_tokens for answer in answers),
            output_reasoning=sum(answer.reasoning_tokens for answer in answers),
        )

    def usage_shown(self, usage: Usage) -> dict[str, Any]:
        """OpenAI's usage: prompt tokens include cached ones, completion tokens include reasoning."""
        return {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cache_read},
            "completion_tokens_details": {"reasoning_tokens": usage.output_reasoning},
        }

    def body_of(self, ask: Ask, answers: Sequence[Answer], usage: Usage | None, ticket: Ticket) -> bytes:
        """A `chat.completion`."""
        choices = []
        for index, answer in enumerate(answers):
            message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
            if answer.finish in ("stop", "length", "stop_sequence"):
                message["content"] = answer.text
            if answer.calls:
                message["tool_calls"] = [
                    {
                        "id": _call_id(ticket, index, at),
                        "type": "function",
                        "function": {"name": c.name, "arguments": c.text},
                    }
                    for at, c in enumerate(answer.calls)
                ]
            finish = FINISHES[answer.finish]
            logprobs = _logprobs(answer.text, ticket) if ask.options["logprobs"] else None
            choices.append({"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish})
        made = _frame(ask, ticket, "chat.completion", choices)
        if usage is not None:
            made["usage"] = self.usage_shown(usage)
        return orjson.dumps(made)

    def events_of(
        self, ask: Ask, answers: Sequence[Answer], usage: Usage | None, ticket: Ticket, pieces: int | None
    ) -> list[bytes]:
        """`chat.completion.chunk`s and `[DONE]`; usage in a last chunk of its own, for who asked."""
        events = []
        for index, answer in enumerate(answers):
            deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
            deltas += [{"content": part} for part in pieces_of(answer.text, PIECE_CHARACTERS, pieces)]
            for at, call in enumerate(answer.calls):
                named = {"name": call.name, "arguments": ""}
                opened = {"index": at, "id": _call_id(ticket, index, at), "type": "function", "function": named}
                deltas.append({"tool_calls": [opened]})
                for part in pieces_of(call.text, PIECE_CHARACTERS, None):
                    deltas.append({"tool_calls": [{"index": at, "function": {"arguments": part}}]})
            events += [_chunk(ask, ticket, index, delta, None) for delta in deltas]
            events.append(_chunk(ask, ticket, index, {}, FINISHES[answer.finish]))
        if ask.options["include_usage"] and usage is not None:
            last = _frame(ask, ticket, "chat.completion.chunk", [])
            last["usage"] = self.usage_shown(usage)
            events.append(b"data: " + orjson.dumps(last) + b"\n\n")
        return [*events, b"data: [DONE]\n\n"]

    def stream_type(self, ask: Ask) -> str:
        """Server-sent events."""
        del ask
        return "text/event-stream"

    def rejection_of(self, refused: RefusedError, request_id: str) -> Rejection:
        """`{"error": {message, type, param, code}}`."""
        del request_id
        status, kind = ERRORS[refused.kind]
        code = refused.code or CODES.get(refused.kind)
        error = {"message": refused.message, "type": kind, "param": refused.param, "code": code}
        return Rejection(status, orjson.dumps({"error": error}), {})

    def listed(self, catalogue: Catalogue, host: str) -> bytes:
        """The host's models."""
        models = [
            {"id": name, "object": "model", "created": 1_767_225_600, "owned_by": name.split("/", 1)[0]}
            for name in catalogue.names(VENDOR, host)
        ]
        return orjson.dumps({"object": "list", "data": models})


def _output_limit(body: Body, model: Model, prompt_tokens: int) -> int:
    """What is left of the window, or less; refused when prompt and asked output do not fit."""
    window = model.context_tokens_max
    asked = body.get("max_completion_tokens") or body.get("max_tokens")
    if prompt_tokens + (asked or 1) > window:
        message = (
            f"This model's maximum context length is {window} tokens. However, you requested "
            f"{prompt_tokens + (asked or 1)} tokens ({prompt_tokens} in the messages, {asked or 1} in the completion). "
            "Please reduce the length of the messages or completion."
        )
        raise RefusedError("invalid", message, param="messages", code="context_length_exceeded")
    return int(asked) if asked else min(model.output_tokens_max, window - prompt_tokens)


def _stops(body: Body) -> tuple[str, ...]:
    stop = body.get("stop")
    return () if stop is None else (stop,) if isinstance(stop, str) else tuple(stop)


def _logprobs(text: str, ticket: Ticket) -> dict[str, Any]:
    """Every token of an answer is as sure as the next."""
    pieces = pieces_of(text, PIECE_CHARACTERS, None)
    return {
        "content": [{"token": each, "logprob": ticket.logprob, "bytes": None, "top_logprobs": []} for each in pieces],
        "refusal": None,
    }


def _call_id(ticket: Ticket, choice: int, at: int) -> str:
    return f"call_{choice}{at:02d}{ticket.mark[:21]}"


def _frame(ask: Ask, ticket: Ticket, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{ticket.mark[:24]}",
        "object": kind,
        "created": ticket.created_s,
        "model": ask.model.name,
        "choices": choices,
    }


def _chunk(ask: Ask, ticket: Ticket, index: int, delta: dict[str, Any], finish: str | None) -> bytes:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return b"data: " + orjson.dumps(_frame(ask, ticket, "chat.completion.chunk", [choice])) + b"\n\n"
