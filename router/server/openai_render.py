"""Answers as Chat Completions bodies, and the headers that carry the bill."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from router.chat import Text, Thinking, ToolCall
from router.money import usd_of

if TYPE_CHECKING:
    from router.bill import Bill
    from router.chat import Reply
    from router.decision import Decision
    from router.tokens import Usage

JSON_TYPE = (b"content-type", b"application/json")


def money_fields(bill: Bill) -> dict[str, object]:
    """The bill's figures as the last chunk names them: USD as exact decimal text."""
    premium, savings = bill.premium_cost, bill.savings_nanousd
    return {
        "decision_id": bill.decision_id,
        "cost_usd": usd_of(bill.cost_nanousd),
        "premium_cost_usd": usd_of(premium.point_nanousd) if premium is not None else None,
        "savings_usd": usd_of(savings) if savings is not None else None,
        **budget_fields(bill),
    }


def budget_fields(bill: Bill) -> dict[str, object]:
    """What the tightest hard budget had left; nothing where no budget counts the request."""
    left = bill.budget_remaining_nanousd
    return {} if left is None else {"budget_remaining_usd": usd_of(left)}


def _choice_headers(
    decision_id: str,
    model: str,
    reason: str,
    complexity: float | None,
    expected_loss: float | None,
    dropped: tuple[str, ...],
    cascade: str | None,
    promise: str | None,
) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"x-router-decision-id", decision_id.encode()),
        (b"x-router-model", model.encode()),
        (b"x-router-reason", reason.encode()),
    ]
    if promise is not None:
        headers.append((b"x-router-promise", promise.encode()))
    if complexity is not None:
        headers.append((b"x-router-complexity", b"%.4f" % complexity))
    if expected_loss is not None:
        headers.append((b"x-router-expected-loss", b"%.4f" % expected_loss))
    if dropped:
        headers.append((b"x-router-dropped", ",".join(dropped).encode()))
    if cascade is not None:
        headers.append((b"x-router-cascade", cascade.encode()))
    return headers


def decision_headers(
    decision: Decision,
    model: str,
    dropped: tuple[str, ...],
    cascade: str | None = None,
    budget_remaining_nanousd: int | None = None,
    lineage: str | None = None,
    guard: str | None = None,
) -> list[tuple[bytes, bytes]]:
    """What is known when a stream's headers go out."""
    loss = decision.loss_of(model)
    headers = _choice_headers(
        decision.decision_id,
        model,
        decision.reason,
        decision.complexity,
        loss,
        dropped,
        cascade,
        decision.promise,
    )
    if budget_remaining_nanousd is not None:
        headers.append(_budget_header(budget_remaining_nanousd))
    return headers + _guard_headers(lineage, guard, decision.context_warning)


def _guard_headers(lineage: str | None, guard: str | None, context: str | None) -> list[tuple[bytes, bytes]]:
    """The ticket for calls that descend from this one, what a guard noticed, which bound on the input was passed."""
    headers = [] if lineage is None else [(b"x-router-lineage", lineage.encode())]
    if guard is not None:
        headers.append((b"x-router-guard", guard.encode()))
    if context is not None:
        headers.append((b"x-router-context", context.encode()))
    return headers


def _budget_header(remaining_nanousd: int) -> tuple[bytes, bytes]:
    return (b"x-router-budget-remaining-usd", usd_of(remaining_nanousd).encode())


def bill_headers(bill: Bill) -> list[tuple[bytes, bytes]]:
    """Everything, once the answer is whole; premium's cost and the savings only where premium is modelled."""
    headers = _choice_headers(
        bill.decision_id,
        bill.model,
        bill.reason,
        bill.complexity,
        bill.expected_loss,
        bill.dropped,
        bill.cascade,
        bill.promise,
    )
    headers.append((b"x-router-cost-usd", usd_of(bill.cost_nanousd).encode()))
    if bill.premium_cost is not None and bill.savings_nanousd is not None:
        headers.append((b"x-router-premium-cost-usd", usd_of(bill.premium_cost.point_nanousd).encode()))
        headers.append((b"x-router-savings-usd", usd_of(bill.savings_nanousd).encode()))
    if bill.budget_remaining_nanousd is not None:
        headers.append(_budget_header(bill.budget_remaining_nanousd))
    return headers + _guard_headers(bill.lineage, bill.guard, bill.context)


def usage_fields(usage: Usage) -> dict[str, object]:
    """A Chat Completions `usage`: prompt tokens include the cache's, completion tokens the reasoning."""
    tokens = usage.tokens
    return {
        "prompt_tokens": tokens.input_tokens,
        "completion_tokens": tokens.output_tokens,
        "total_tokens": tokens.total_tokens,
        "prompt_tokens_details": {"cached_tokens": tokens.cache_read},
        "completion_tokens_details": {"reasoning_tokens": tokens.output_reasoning},
    }


def completion_bytes(reply: Reply, bill: Bill, created_s: int) -> bytes:
    """The whole answer: the vendor's own bytes where they are of this shape, else rendered."""
    if reply.raw is not None:
        return reply.raw
    text = "".join([part.text for part in reply.parts if isinstance(part, Text)])
    calls = [part for part in reply.parts if isinstance(part, ToolCall)]
    thinking = "".join([part.text for part in reply.parts if isinstance(part, Thinking)])
    message: dict[str, object] = {"role": "assistant", "content": text if text or not calls else None, "refusal": None}
    if thinking:
        message["reasoning_content"] = thinking
    if calls:
        message["tool_calls"] = [
            {"id": each.id, "type": "function", "function": {"name": each.name, "arguments": each.arguments}}
            for each in calls
        ]
    body: dict[str, object] = {
        "id": reply.vendor_id or f"chatcmpl-{bill.decision_id}",
        "object": "chat.completion",
        "created": created_s,
        "model": reply.vendor_model or bill.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}],
    }
    if reply.usage is not None:
        body["usage"] = usage_fields(reply.usage)
    return orjson.dumps(body)
