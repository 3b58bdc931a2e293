"""Chat Completions in the OpenAPI document: what the hot route's own parser takes, and what it answers."""

from __future__ import annotations

from typing import Any

from router.server.openai_extra import BILLED_APART, SERVICE_TIERS
from router.server.openai_messages import DETAILS
from router.server.openai_parse import EFFORTS, MODEL_CHARS_MAX, STOP_CHARS_MAX, STOPS_MAX
from router.server.openapi_parts import COUNT, DECISION_HEADERS, TEXT, USD, USD_OR_NULL, error_responses, json_of, ref
from router.wires import TEXT_ONLY

OpenApi = dict[str, Any]

NAME: OpenApi = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
TEXT_OR_NULL: OpenApi = {"type": ["string", "null"]}
BOOL_OR_NULL: OpenApi = {"type": ["boolean", "null"]}
OUTPUT_TOKENS: OpenApi = {"type": ["integer", "null"], "minimum": 1, "maximum": 2**53 - 1}
INTEGER: OpenApi = {"type": ["integer", "null"], "maximum": 2**53 - 1}


def _number(low: float, high: float) -> OpenApi:
    return {"type": ["number", "null"], "minimum": low, "maximum": high}


def _object(properties: OpenApi, *required: str) -> OpenApi:
    return {"type": "object", "required": list(required), "properties": properties}


def _or_null(schema: OpenApi) -> OpenApi:
    return {"anyOf": [schema, {"type": "null"}]}


CACHE_MARK = _or_null(_object({"ttl": {"enum": ["5m", "1h"]}}))
TEXT_PART = _object(
    {"type": {"const": "text"}, "text": TEXT, "cache_control": CACHE_MARK},
    "type",
    "text",
)
IMAGE_PART = _object(
    {
        "type": {"const": "image_url"},
        "image_url": _object(
            {
                "url": {"type": "string", "description": "http(s), or a base64 data URL of JPEG, PNG, GIF or WebP."},
                "detail": {"enum": [*DETAILS, None]},
            },
            "url",
        ),
        "cache_control": CACHE_MARK,
    },
    "type",
    "image_url",
)
REFUSAL_PART = _object({"type": {"const": "refusal"}, "refusal": TEXT}, "type", "refusal")
TOOL_CALL = _object(
    {
        "id": {"type": "string", "minLength": 1, "maxLength": 512},
        "type": {"const": "function"},
        "function": _object({"name": NAME, "arguments": TEXT}, "name", "arguments"),
    },
    "id",
    "function",
)


def _content(*parts: OpenApi) -> OpenApi:
    return {"anyOf": [TEXT, {"type": "array", "minItems": 1, "items": {"anyOf": list(parts)}}]}


MESSAGE: OpenApi = {
    "anyOf": [
        _object(
            {"role": {"enum": ["system", "developer"]}, "content": _content(TEXT_PART), "name": TEXT_OR_NULL},
            "role",
            "content",
        ),
        _object(
            {"role": {"const": "user"}, "content": _content(TEXT_PART, IMAGE_PART), "name": TEXT_OR_NULL},
            "role",
            "content",
        ),
        _object(
            {
                "role": {"const": "assistant"},
                "content": _or_null(_content(TEXT_PART, REFUSAL_PART)),
                "refusal": TEXT_OR_NULL,
                "tool_calls": {"type": ["array", "null"], "items": TOOL_CALL},
                "name": TEXT_OR_NULL,
            },
            "role",
        ),
        _object(
            {
                "role": {"const": "tool"},
                "tool_call_id": {"type": "string", "description": "Of a call in an earlier assistant message."},
                "content": _content(TEXT_PART, IMAGE_PART),
            },
            "role",
            "tool_call_id",
            "content",
        ),
    ]
}
TOOL = _object(
    {
        "type": {"const": "function"},
        "function": _object(
            {
                "name": NAME,
                "description": TEXT_OR_NULL,
                "parameters": {"type": ["object", "null"]},
                "strict": BOOL_OR_NULL,
                "cache_control": CACHE_MARK,
            },
            "name",
        ),
        "cache_control": CACHE_MARK,
    },
    "type",
    "function",
)
RESPONSE_FORMAT: OpenApi = {
    "anyOf": [
        {"type": "null"},
        _object({"type": {"enum": ["text", "json_object"]}}, "type"),
        _object(
            {
                "type": {"const": "json_schema"},
                "json_schema": _object(
                    {"name": NAME, "schema": {"type": "object"}, "strict": BOOL_OR_NULL}, "name", "schema"
                ),
            },
            "type",
            "json_schema",
        ),
    ]
}
STOP: OpenApi = {"type": "string", "minLength": 1, "maxLength": STOP_CHARS_MAX}
REQUEST = _object(
    {
        "model": {
            "type": "string",
            "minLength": 1,
            "maxLength": MODEL_CHARS_MAX,
            "default": "auto",
            "description": "`auto`, `auto:<tier>`, or a model of the policy, which pins it.",
        },
        "messages": {"type": "array", "minItems": 1, "items": ref("ChatMessage")},
        "stream": BOOL_OR_NULL,
        "stream_options": {**_or_null(_object({"include_usage": BOOL_OR_NULL})), "description": "With `stream` only."},
        "n": {"enum": [1, None]},
        "max_tokens": {**OUTPUT_TOKENS, "description": "Not beside `max_completion_tokens`."},
        "max_completion_tokens": OUTPUT_TOKENS,
        "temperature": _number(0, 2),
        "top_p": _number(0, 1),
        "top_k": {**INTEGER, "minimum": 0},
        "frequency_penalty": _number(-2, 2),
        "presence_penalty": _number(-2, 2),
        "seed": {**INTEGER, "minimum": -(2**53) + 1},
        "stop": {"anyOf": [{"type": "null"}, STOP, {"type": "array", "maxItems": STOPS_MAX, "items": STOP}]},
        "tools": {"type": ["array", "null"], "items": TOOL},
        "tool_choice": {
            "anyOf": [
                {"enum": ["auto", "none", "required", None]},
                _object(
                    {"type": {"const": "function"}, "function": _object({"name": TEXT}, "name")}, "type", "function"
                ),
            ]
        },
        "parallel_tool_calls": BOOL_OR_NULL,
        "response_format": RESPONSE_FORMAT,
        "reasoning_effort": {"enum": [*EFFORTS, None]},
        "user": TEXT_OR_NULL,
        "metadata": {
            "type": ["object", "null"],
            "properties": {
                "quality_tier": {"type": ["string", "null"], "minLength": 1},
                "quality_tolerance": {"description": "As `X-Quality-Tolerance`: a number in 0..1, or one as text."},
            },
        },
        "service_tier": {"enum": [*SERVICE_TIERS, None]},
        "modalities": {"enum": [TEXT_ONLY, None]},
        **{name: {"type": "null", "description": f"It {why}."} for name, why in BILLED_APART.items()},
        "functions": {"type": "null", "description": "The legacy form: use `tools`."},
        "function_call": {"type": "null", "description": "The legacy form: use `tool_choice`."},
    },
    "messages",
)
COMPLETION = _object(
    {
        "id": TEXT,
        "object": {"const": "chat.completion"},
        "created": {"type": "integer"},
        "model": TEXT,
        "choices": {
            "type": "array",
            "minItems": 1,
            "items": _object({"message": {"type": "object"}, "finish_reason": TEXT_OR_NULL}, "message"),
        },
        "usage": _or_null(ref("Usage")),
    },
    "choices",
)
USAGE = _object(
    {
        "prompt_tokens": COUNT,
        "completion_tokens": COUNT,
        "total_tokens": COUNT,
        "decision_id": TEXT,
        "cost_usd": USD,
        "premium_cost_usd": USD_OR_NULL,
        "savings_usd": USD_OR_NULL,
        "budget_remaining_usd": USD,
        "usage_source": {"enum": ["estimated", "none"]},
    }
)
CHAT_SCHEMAS: OpenApi = {
    "ChatCompletionRequest": REQUEST,
    "ChatMessage": MESSAGE,
    "ChatCompletion": COMPLETION,
    "Usage": USAGE,
}


def _header(name: str, description: str, **schema: object) -> OpenApi:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


REQUEST_HEADERS: list[OpenApi] = [
    _header("X-Quality-Tier", "A quality tier of the policy.", type="string", minLength=1),
    _header(
        "X-Quality-Tolerance",
        "The mean loss against premium that requests sent with it may have. One request goes to the cheapest model "
        "whose predicted loss is within the threshold calibrated for it, which may lie above or below.",
        type="number",
        minimum=0,
        maximum=1,
    ),
    _header("X-Session-Id", "Conversation or agent run.", type="string", maxLength=256),
    _header("X-Router-Tags", "`feature=search,customer=acme`: up to 32 tags.", type="string"),
]
IDEMPOTENCY_KEY = _header(
    "Idempotency-Key",
    "The same key and body get the same answer, charged once.",
    type="string",
    minLength=1,
    maxLength=256,
)
STREAM = (
    "With `stream`: server-sent `chat.completion.chunk` objects. The last one before `[DONE]` carries `usage` with "
    "`decision_id`, `cost_usd`, `premium_cost_usd`, `savings_usd`: in a chunk without choices where "
    "`stream_options.include_usage` asked for one, else in the chunk with the finish reason. A stream that breaks ends "
    "with an `error` and without `[DONE]`."
)


def chat_operation() -> OpenApi:
    """POST /v1/chat/completions."""
    return {
        "operationId": "createChatCompletion",
        "summary": "OpenAI Chat Completions, routed",
        "tags": ["chat"],
        "parameters": [*REQUEST_HEADERS, IDEMPOTENCY_KEY],
        "requestBody": {"required": True, "content": json_of(ref("ChatCompletionRequest"))},
        "responses": {
            "200": {
                "description": "The answer",
                "headers": DECISION_HEADERS,
                "content": {
                    **json_of(ref("ChatCompletion")),
                    # Before OpenAPI 3.2 nothing says whether this is the stream or an event: it is each event.
                    "text/event-stream": {
                        "schema": {
                            "type": "object",
                            "required": ["data"],
                            "properties": {"data": {"type": "string"}},
                            "description": STREAM,
                        }
                    },
                },
            },
            **error_responses(400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504),
        },
    }
