"""The policy's guards: how they are written, and what they become."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from router.config.budgets import LimitUsd  # noqa: TC001  # pydantic reads the annotation at run time
from router.config.fields import Address, Strict, Tokens, VariableName
from router.money import parse_usd
from router.policy import ContextBound, Guards, Webhook

SPAN = re.compile(r"^(\d{1,6})(s|m|h|d)$")
MS_OF_UNIT = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
WINDOW_MIN_MS, WINDOW_MAX_MS = 60_000, 7 * 86_400_000


def span_ms(text: str) -> int | None:
    """Milliseconds of `90s`, `10m`, `2h` or `1d`; None for any other text."""
    match = SPAN.match(text)
    return None if match is None else int(match[1]) * MS_OF_UNIT[match[2]]


def _window(value: str) -> str:
    found = span_ms(value)
    if found is None or not WINDOW_MIN_MS <= found <= WINDOW_MAX_MS:
        raise PydanticCustomError("window", "must be a span from 1m to 7d, such as 10m")
    return value


Span = Annotated[str, AfterValidator(_window), WithJsonSchema({"type": "string", "pattern": SPAN.pattern})]


class LoopBlock(Strict):
    """What stops a runaway, with or without the client's help."""

    enabled: bool = Field(default=True, description="`false` lets everything pass, and counts nothing")
    window: Span = Field(default="10m", description="how long a repeat counts, and how long a stop lasts at first")
    repeats_max: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=5, description="equal requests that pass within `window`"
    )
    depth_max: Annotated[int, Field(ge=1, le=1_000)] = Field(
        default=8, description="how deep agents may call agents within a lineage"
    )
    descendants_max: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=200, description="agents that one lineage may have in all"
    )
    usd_per_hour_max: LimitUsd | None = Field(
        default=None, description="USD an hour that a lineage, and a session, may spend; no bound, if not given"
    )


def _hook(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise PydanticCustomError("hook", "must begin with https://, unless it is on this machine")
    return value


class WebhookBlock(Strict):
    """Where trips are told."""

    url: Annotated[Address, AfterValidator(_hook)] = Field(description="gets a POST for every trip; https")
    secret_env: VariableName = Field(description="the variable that holds the secret it is signed with")


class ContextBlock(Strict):
    """How much input a request may have, in tokens as premium counts them."""

    input_tokens_max: Tokens = Field(description="at most so many input tokens, as premium counts them")
    when_exceeded: Literal["reject", "trim", "warn"] = Field(
        default="reject",
        description="`reject` answers 400 with the tokens by part, `trim` takes retrieved chunks out until it fits, "
        "`warn` says so in a header",
    )


class GuardsBlock(Strict):
    """Loops, recursion, fan-out and retry storms."""

    context: ContextBlock | None = Field(default=None, description="how much input a request may have")

    loop: LoopBlock = Field(default_factory=LoopBlock, description="what stops a runaway")
    webhook: WebhookBlock | None = Field(default=None, description="where trips are told")
    when_state_unavailable: Literal["reject", "allow"] = Field(
        default="allow",
        description="while what other gateways saw cannot be read: `allow` goes by what this one sees",
    )


def context_bound_of(block: ContextBlock | None, of: str = "the policy") -> ContextBound | None:
    """The bound; None without one."""
    return None if block is None else ContextBound(block.input_tokens_max, block.when_exceeded, of)


def guards_of(block: GuardsBlock) -> Guards:
    """The bounds as the guards take them."""
    loop = block.loop
    window_ms = span_ms(loop.window)
    assert window_ms is not None
    return Guards(
        is_on=loop.enabled,
        window_ms=window_ms,
        repeats_max=loop.repeats_max,
        depth_max=loop.depth_max,
        descendants_max=loop.descendants_max,
        rejects_without_state=block.when_state_unavailable == "reject",
        webhook=None if block.webhook is None else Webhook(block.webhook.url, block.webhook.secret_env),
        nanousd_per_hour_max=None if loop.usd_per_hour_max is None else parse_usd(loop.usd_per_hour_max),
    )
