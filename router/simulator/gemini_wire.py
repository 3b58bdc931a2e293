"""Google's Gemini API: `POST /v1beta/models/{model}:generateContent`, `:streamGenerateContent`, `:countTokens`."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from router.simulator.answers import Answer, Ask, Tool
from router.simulator.catalogue import Usage
from router.simulator.gemini_checks import (
    GENERATION,
    TOP_LEVEL,
    camel_keys,
    check_generation,
    check_turns,
    read_tools,
    require_known,
)
from router.simulator.gemini_prompt import VENDOR, Prompt, read_prompt
from router.simulator.prefixes import implicit_read
from router.simulator.refusals import Body, RefusedError, is_int, require
from router.simulator.wire import Head, Rejection, Ticket, pieces_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.simulator.catalogue import Catalogue, Model
from router.simulator.prefixes import PrefixCache

ERRORS = {
    "invalid": (400, "INVALID_ARGUMENT"),
    "auth": (403, "PERMISSION_DENIED"),
    "not_found": (404, "NOT_FOUND"),
    "too_large": (413, "INVALID_ARGUMENT"),
    "rate_limit": (429, "RESOURCE_EXHAUSTED"),
    "internal": (500, "INTERNAL"),
    "overloaded": (503, "UNAVAILABLE"),
}
FINISHES = {"stop": "STOP", "length": "MAX_TOKENS", "stop_sequence": "STOP", "tool": "STOP", "refusal": "SAFETY"}
LEVELS = {"minimal": 0.05, "low": 0.4, "medium": 0.7, "high": 1.0}
PIECE_CHARACTERS = 220
_GENERATION_3 = re.compile(r"gemini-([3-9]|\d\d)")


class GeminiWire:
    """Strict as the vendor: unknown names, its schema subset, sampling settings, thought signatures."""

    vendor = VENDOR
    routes = (r"/v1beta/models/{model:[^:]+}:{action}",)
    request_id_header = "x-request-id"

    def check_key(self, head: Head) -> None:
        """Want a key (any), in the header or the query."""
        if not (head.headers.get("x-goog-api-key") or head.query.get("key")):
            raise RefusedError(
                "auth",
                "Method doesn't allow unregistered callers (callers without established identity). Please use API Key "
                "or other form of API consumer identity to call this API.",
            )

    def read(self, head: Head, body: Body, catalogue: Catalogue) -> Ask:
        """Accept or refuse a request."""
        model = catalogue.find(VENDOR, head.model)
        if model is None or head.action not in ("generateContent", "streamGenerateContent", "countTokens"):
            raise RefusedError(
                "not_found",
                f"models/{head.model} is not found for API version v1beta, or is not supported for {head.action}. Call "
                "ListModels to see the list of available models and their supported methods.",
            )
        is_count = head.action == "countTokens"
        if is_count:
            body = body.get("generateContentRequest") or body
        body = require_known(body, TOP_LEVEL, "")
        config = require_known(body.get("generationConfig") or {}, GENERATION, "generation_config")
        check_generation(config)
        effort = _effort_of(config, model)
        _check_against_model(config, model)
        declared = read_tools(body.get("tools") or [])
        prompt = Prompt()
        read_prompt(body, model, declared, prompt)
        check_turns(prompt.turns, needs_signatures=bool(_GENERATION_3.match(model.name)))
        window = model.context_tokens_max
        message = f"The input token count ({prompt.tokens}) exceeds the maximum number of tokens allowed ({window})."
        require(prompt.tokens <= window, message)
        mode, names = _tool_mode(body, declared)
        require(
            mode != "any" or not model.refuses("supports_forced_tool_use"), "Function calling mode ANY is not supported"
        )
        return Ask(
            vendor=VENDOR,
            model=model,
            prompt_tokens=prompt.tokens,
            question=prompt.question(),
            output_tokens_max=config.get("maxOutputTokens") or model.output_tokens_max,
            is_stream=head.action == "streamGenerateContent",
            tools=tuple(Tool(t["name"], t.get("parameters") or t.get("parametersJsonSchema") or {}) for t in declared),
            tool_mode=mode,
            tool_names=names,
            is_after_tool=any("functionResponse" in part for part in prompt.turns[-1][1]),
            schema=_output_schema(config),
            stops=tuple(config.get("stopSequences") or ()),
            effort=effort,
            prefix=(head.headers.get("x-goog-api-key") or head.query.get("key", ""), body),
            options={
                "is_count": is_count,
                "is_sse": head.query.get("alt") == "sse",
                "logprobs": config.get("responseLogprobs") is True,
                "thoughts": camel_keys(config.get("thinkingConfig") or {}).get("includeThoughts") is True,
            },
        )

    def counted(self, ask: Ask) -> bytes | None:
        """The answer to `countTokens`."""
        return orjson.dumps({"totalTokens": ask.prompt_tokens}) if ask.options["is_count"] else None

    def usage_of(self, ask: Ask, answers: Sequence[Answer], cache: PrefixCache) -> Usage:
        """Long prompts are cached without being asked for; thoughts stand beside the candidates."""
        read = 0
        has_caching = not ask.model.refuses("supports_prompt_caching")
        if has_caching and ask.prompt_tokens >= ask.model.cache_tokens_min:
            key, body = ask.prefix
            held = orjson.dumps([body.get("systemInstruction"), body.get("tools"), body.get("contents")])
            read = implicit_read(cache, f"{key}\x00{ask.model.name}".encode(), held, ask.prompt_tokens)
        return Usage(
            input_uncached=ask.prompt_tokens - read,
            cache_read=read,
            output_text=sum(answer.text_tokens for answer in answers),
            output_reasoning=sum(answer.reasoning_tokens for answer in answers),
        )

    def usage_shown(self, usage: Usage) -> dict[str, Any]:
        """`usageMetadata`: the prompt includes what was cached, candidates leave out thoughts; zeros are left out."""
        shown: dict[str, Any] = {
            "promptTokenCount": usage.input_tokens,
            "candidatesTokenCount": usage.output_text,
            "totalTokenCount": usage.input_tokens + usage.output_tokens,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input_tokens}],
        }
        if usage.cache_read:
            shown["cachedContentTokenCount"] = usage.cache_read
            shown["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": usage.cache_read}]
        if usage.output_reasoning:
            shown["thoughtsTokenCount"] = usage.output_reasoning
        return shown

    def body_of(self, ask: Ask, answers: Sequence[Answer], usage: Usage | None, ticket: Ticket) -> bytes:
        """A `GenerateContentResponse`."""
        answer = answers[0]
        parts = [*_thoughts(ask, answer), *_parts(answer, ticket, [answer.text] if answer.text else [])]
        chunk = _chunk(ask, ticket, parts, FINISHES[answer.finish])
        if ask.options["logprobs"]:
            chunk["candidates"][0]["avgLogprobs"] = ticket.logprob
        if usage is not None:
            chunk["usageMetadata"] = self.usage_shown(usage)
        return orjson.dumps(chunk)

    def events_of(
        self, ask: Ask, answers: Sequence[Answer], usage: Usage | None, ticket: Ticket, pieces: int | None
    ) -> list[bytes]:
        """Chunks of the same shape, usage running in each; a JSON array unless `alt=sse` was asked for."""
        answer = answers[0]
        texts = pieces_of(answer.text, PIECE_CHARACTERS, pieces)
        groups = [[part] for part in (*_thoughts(ask, answer), *_parts(answer, ticket, texts))] or [[]]
        chunks = []
        for index, group in enumerate(groups):
            is_last = index == len(groups) - 1
            chunk = _chunk(ask, ticket, group, FINISHES[answer.finish] if is_last else None)
            if usage is not None:
                text = usage.output_text if is_last else usage.output_text * (index + 1) // len(groups)
                chunk["usageMetadata"] = self.usage_shown(replace(usage, output_text=text))
            chunks.append(orjson.dumps(chunk))
        if ask.options["is_sse"]:
            return [b"data: " + chunk + b"\r\n\r\n" for chunk in chunks]
        return [b"[" + chunks[0], *(b",\r\n" + chunk for chunk in chunks[1:]), b"]"]

    def stream_type(self, ask: Ask) -> str:
        """Server-sent events, or one long JSON array."""
        return "text/event-stream" if ask.options["is_sse"] else "application/json; charset=UTF-8"

    def rejection_of(self, refused: RefusedError, request_id: str) -> Rejection:
        """`{"error": {code, message, status}}`."""
        del request_id
        status, name = ERRORS[refused.kind]
        error: dict[str, Any] = {"code": status, "message": refused.message, "status": name}
        if refused.kind == "rate_limit":
            error["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}]
        return Rejection(status, orjson.dumps({"error": error}), {})

    def listed(self, catalogue: Catalogue, host: str) -> bytes:
        """The models, with their limits."""
        del host
        models = []
        for name in catalogue.names(VENDOR):
            model = catalogue.find(VENDOR, name)
            if model is not None:
                models.append(
                    {
                        "name": f"models/{name}",
                        "inputTokenLimit": model.context_tokens_max,
                        "outputTokenLimit": model.output_tokens_max,
                        "supportedGenerationMethods": ["generateContent", "countTokens"],
                    }
                )
        return orjson.dumps({"models": models})


def _effort_of(config: Body, model: Model) -> float:
    """How much the model thinks, 0 for not at all."""
    known = frozenset({"thinkingBudget", "thinkingLevel", "includeThoughts"})
    thinking = require_known(config.get("thinkingConfig") or {}, known, "generation_config.thinking_config")
    if not model.offers("supports_reasoning"):
        require(not thinking, "Thinking is not supported by this model.")
        return 0.0
    budget, level = thinking.get("thinkingBudget"), thinking.get("thinkingLevel")
    is_both = budget is not None and level is not None
    require(not is_both, "You can only set only one of thinking budget and thinking level.")
    if level is not None:
        require(_GENERATION_3.match(model.name), "Thinking level is not supported for this model.")
        named = str(level).lower()
        is_refused = named == "minimal" and model.refuses("supports_minimal_reasoning_effort")
        require(
            named in LEVELS and not is_refused, f"Thinking level {str(level).upper()} is not supported for this model."
        )
        return LEVELS[named]
    if budget is None or budget == -1:
        return 1.0
    require(
        is_int(budget) and budget >= 0, "The thinking budget is invalid. Please choose a value between 0 and 32768."
    )
    if budget == 0:
        message = "Budget 0 is invalid. This model only works in thinking mode."
        is_optional = "flash" in model.name and not model.refuses("supports_minimal_reasoning_effort")
        require(is_optional, message)
        return 0.0
    return float(min(2.0, max(0.2, budget / 4096)))


def _check_against_model(config: Body, model: Model) -> None:
    limit, asked = model.output_tokens_max, config.get("maxOutputTokens") or 1
    message = (
        f"Unable to submit request because it has a maxOutputTokens value of {asked} but the supported range is from "
        f"1 (inclusive) to {limit + 1} (exclusive). Update the value and try again."
    )
    require(asked <= limit, message)
    # a temperature of 1, the default, is taken: litellm always sends it to Gemini 3
    given = [name for name in ("temperature", "topP", "topK") if config.get(name) not in (None, 1)]
    is_refused = given and model.refuses("supports_sampling_params")
    require(not is_refused, f"generation_config.{given[0] if given else ''} is not supported by this model.")


def _tool_mode(body: Body, declared: list[Body]) -> tuple[str, frozenset[str]]:
    known = frozenset({"functionCallingConfig", "retrievalConfig", "includeServerSideToolInvocations"})
    config = require_known(body.get("toolConfig") or {}, known, "tool_config")
    fields = frozenset({"mode", "allowedFunctionNames"})
    calling = require_known(config.get("functionCallingConfig") or {}, fields, "tool_config.function_calling_config")
    mode = str(calling.get("mode", "AUTO")).upper()
    is_known = mode in ("AUTO", "ANY", "NONE", "VALIDATED", "MODE_UNSPECIFIED")
    require(is_known, "Invalid value at 'tool_config.function_calling_config.mode'")
    names = calling.get("allowedFunctionNames") or []
    is_sound = isinstance(names, list) and all(isinstance(name, str) for name in names)
    require(is_sound, "Invalid value at 'tool_config.function_calling_config.allowed_function_names'")
    message = "Allowed function names should be set only when function calling mode is ANY."
    require(not names or mode in ("ANY", "VALIDATED"), message)
    offered = {tool["name"] for tool in declared}
    message = "Allowed function names should be a subset of the provided function declarations."
    require(set(names) <= offered, message)
    message = "Function calling config is set without function_declarations."
    require(offered or mode != "ANY", message)
    return {"ANY": "any", "NONE": "none"}.get(mode, "auto"), frozenset(names)


def _output_schema(config: Body) -> dict[str, Any] | None:
    if config.get("responseMimeType") != "application/json":
        return None
    schema = config.get("responseSchema") or config.get("responseJsonSchema") or config.get("_responseJsonSchema")
    return (
        schema if isinstance(schema, dict) else {"type": "object", "properties": {"answer": {}}, "required": ["answer"]}
    )


def _chunk(ask: Ask, ticket: Ticket, parts: list[Body], finish: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0}
    if parts:
        candidate = {"content": {"parts": parts, "role": "model"}, **candidate}
    if finish is not None:
        candidate["finishReason"] = finish
    if finish == "SAFETY":
        candidate["safetyRatings"] = [
            {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}
        ]
    return {"candidates": [candidate], "modelVersion": ask.model.name, "responseId": ticket.mark[:22]}


def _thoughts(ask: Ask, answer: Answer) -> list[Body]:
    is_shown = ask.options["thoughts"] and answer.reasoning_tokens
    return [{"text": "Weighing what was asked before answering.", "thought": True}] if is_shown else []


def _parts(answer: Answer, ticket: Ticket, texts: list[str]) -> list[Body]:
    """Text parts, then calls; the first call carries the thought signature when the model thought."""
    if answer.finish == "refusal":
        return []
    parts: list[Body] = [{"text": text} for text in texts]
    for index, call in enumerate(answer.calls):
        part: Body = {
            "functionCall": {"name": call.name, "args": call.arguments, "id": f"{ticket.mark[:14]}{index:02d}"}
        }
        if index == 0 and answer.reasoning_tokens:
            part["thoughtSignature"] = f"Eo{ticket.mark}=="
        parts.append(part)
    return parts
