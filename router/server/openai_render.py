"""Answers as Chat Completions: bodies, chunks, and the headers that carry the bill."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import orjson

from router.chat import (
    Finish,
    RawFrames,
    StreamStart,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
)
from router.money import usd_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.bill import Bill
    from router.chat import Reply, StreamEvent
    from router.decision import Decision
    from router.tokens import Usage

DONE = b"data: [DONE]\n\n"
JSON_TYPE = (b"content-type", b"application/json")
SSE_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


def money_fields(bill: Bill) -> dict[str, object]:
    """The bill's figures as the last chunk and the receipt name them: USD as exact decimal text."""
    premium, savings = bill.premium_cost, bill.savings_nanousd
    return {
        "decision_id": bill.decision_id,
        "cost_usd": usd_of(bill.cost_nanousd),
        "premium_cost_usd": usd_of(premium.point_nanousd) if premium is not None else None,
        "savings_usd": usd_of(savings) if savings is not None else None,
    }


def decision_headers(decision: Decision, model: str, dropped: tuple[str, ...]) -> list[tuple[bytes, bytes]]:
    """What is known when a stream's headers go out."""
    loss = decision.candidate(model).predicted_loss
    headers = [
        (b"x-router-decision-id", decision.decision_id.encode()),
        (b"x-router-model", model.encode()),
        (b"x-router-reason", decision.reason.encode()),
        (b"x-router-complexity", f"{decision.complexity:.4f}".encode()),
    ]
    if loss is not None:
        headers.append((b"x-router-expected-loss", f"{loss:.4f}".encode()))
    if dropped:
        headers.append((b"x-router-dropped", ",".join(dropped).encode()))
    return headers


def bill_headers(bill: Bill) -> list[tuple[bytes, bytes]]:
    """Everything, once the answer is whole."""
    headers = [
        (b"x-router-decision-id", bill.decision_id.encode()),
        (b"x-router-model", bill.model.encode()),
        (b"x-router-reason", bill.reason.encode()),
        (b"x-router-complexity", f"{bill.complexity or 0.0:.4f}".encode()),
        (b"x-router-cost-usd", usd_of(bill.cost_nanousd).encode()),
    ]
    if bill.expected_loss is not None:
        headers.append((b"x-router-expected-loss", f"{bill.expected_loss:.4f}".encode()))
    if bill.premium_cost is not None and bill.savings_nanousd is not None:
        headers.append((b"x-router-premium-cost-usd", usd_of(bill.premium_cost.point_nanousd).encode()))
        headers.append((b"x-router-savings-usd", usd_of(bill.savings_nanousd).encode()))
    if bill.dropped:
        headers.append((b"x-router-dropped", ",".join(bill.dropped).encode()))
    return headers


def usage_fields(usage: Usage | None) -> dict[str, object] | None:
    """A Chat Completions `usage`: prompt tokens include the cache's, completion tokens the reasoning."""
    if usage is None:
        return None
    tokens = usage.tokens
    return {
        "prompt_tokens": tokens.input_tokens,
        "completion_tokens": tokens.output_tokens,
        "total_tokens": tokens.total_tokens,
        "prompt_tokens_details": {"cached_tokens": tokens.cache_read},
        "completion_tokens_details": {"reasoning_tokens": tokens.output_reasoning},
    }


def completion_bytes(reply: Reply, model: str) -> bytes:
    """The whole answer: the vendor's own bytes where they are of this shape, else rendered."""
    if reply.raw is not None:
        return reply.raw
    message: dict[str, object] = {"role": "assistant", "content": None}
    text = "".join(part.text for part in reply.parts if isinstance(part, Text))
    calls = [part for part in reply.parts if isinstance(part, ToolCall)]
    thinking = "".join(part.text for part in reply.parts if isinstance(part, Thinking))
    message["content"] = text if text or not calls else None
    if thinking:
        message["reasoning_content"] = thinking
    if calls:
        message["tool_calls"] = [
            {"id": each.id, "type": "function", "function": {"name": each.name, "arguments": each.arguments}}
            for each in calls
        ]
    body: dict[str, object] = {
        "id": reply.vendor_id or "chatcmpl-tollgate",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": reply.vendor_model or model,
        "choices": [{"index": 0, "message": message, "finish_reason": reply.finish_reason, "logprobs": None}],
    }
    usage = usage_fields(reply.usage)
    if usage is not None:
        body["usage"] = usage
    return orjson.dumps(body)


class ChunkWriter:
    """Events of one stream as server-sent chunks."""

    def __init__(self, model: str) -> None:
        self._head: dict[str, object] = {
            "id": "chatcmpl-tollgate",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }
        self._has_role = False

    def chunk(self, event: StreamEvent) -> bytes:
        """The event's bytes; empty where it says nothing to the client."""
        match event:
            case RawFrames(data=data):
                self._has_role = True
                return data
            case StreamStart(vendor_id=vendor_id, vendor_model=vendor_model):
                self._head["id"] = vendor_id or self._head["id"]
                self._head["model"] = vendor_model or self._head["model"]
                return b""
            case TextDelta(text=text):
                return self._delta({"content": text})
            case ThinkingDelta(text=text):
                return self._delta({"reasoning_content": text})
            case ToolCallDelta():
                return self._delta({"tool_calls": [_call_delta(event)]})
            case Finish(reason=reason, is_forwarded=False):
                return self._delta({}, reason)
            case _:
                return b""

    def _delta(self, delta: Mapping[str, object], finish: str | None = None) -> bytes:
        if not self._has_role:
            self._has_role = True
            delta = {"role": "assistant", **delta}
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return b"data: " + orjson.dumps({**self._head, "choices": [choice]}) + b"\n\n"

    def last(self, usage: Usage | None, bill: Bill) -> bytes:
        """The last chunk: no choice, the usage and the bill, then the end mark.

        It is sent whether or not the client asked for usage: OpenAI's SDKs, LangChain and litellm all accept a chunk
        without choices, and there is no other place where a stream can say what it cost.
        """
        fields = usage_fields(usage) or {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        body = {**self._head, "choices": [], "usage": {**fields, **money_fields(bill)}}
        return b"data: " + orjson.dumps(body) + b"\n\n" + DONE


def _call_delta(event: ToolCallDelta) -> dict[str, object]:
    function: dict[str, object] = {"arguments": event.arguments}
    if event.name is not None:
        function["name"] = event.name
    call: dict[str, object] = {"index": event.index, "function": function}
    if event.id is not None:
        call |= {"id": event.id, "type": "function"}
    return call
