"""Calls for the adapters' tests: a Chat Completions body, as the server parses it, aimed at a deployment."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import orjson

from router.chat import Request, Wire
from router.config.prices import load_catalog
from router.policy import PolicyModel, Upstream
from router.ports import Call, Deployment
from router.server.openai_parse import parse_chat

OPUS = "anthropic/claude-opus-5-5"
HAIKU = "anthropic/claude-haiku-5-5"
HAIKU_45 = "anthropic/claude-haiku-4-5"
FLASH = "gemini/gemini-3.8-flash"
FLASH_25 = "gemini/gemini-2.5-flash"
LLAMA = "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo"
WIRES: dict[str, tuple[str, Wire]] = {
    "anthropic": ("anthropic", "anthropic"),
    "gemini": ("google", "gemini"),
    "together_ai": ("meta", "openai"),
    "openai": ("openai", "openai"),
}
QUICK = Upstream(connect_timeout_s=2.0, first_byte_timeout_s=5.0, between_bytes_timeout_s=5.0)
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@lru_cache(maxsize=1)
def catalog() -> Any:
    return load_catalog()


def model_of(provider_model: str, **card_changes: Any) -> PolicyModel:
    card = catalog().card(provider_model)
    assert card is not None, provider_model
    vendor, wire = WIRES.get(provider_model.split("/", 1)[0], ("other", "litellm"))
    return PolicyModel(
        id=provider_model.rsplit("/", 1)[-1],
        provider_model=provider_model,
        vendor=vendor,
        tier="standard",
        wire=wire,
        card=replace(card, **card_changes),
        prices=card.prices,
    )


def request_of(body: dict[str, Any]) -> Request:
    raw = orjson.dumps(body)
    return parse_chat(orjson.loads(raw), len(raw))


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def call_of(
    provider_model: str,
    body: dict[str, Any] | Request | None = None,
    *,
    base: str = "http://127.0.0.1:9",
    key: str = "simulated",
    output_tokens_max: int = 512,
    is_raw: bool = True,
    card_changes: dict[str, Any] | None = None,
    **changes: Any,
) -> Call:
    request = body if isinstance(body, Request) else request_of(body or {"messages": [user("What is 2 + 2?")]})
    return Call(
        request=request,
        deployment=Deployment(model_of(provider_model, **(card_changes or {})), base, key),
        attempt_id=changes.pop("attempt_id", "dec_1-1"),
        output_tokens_max=output_tokens_max,
        upstream=changes.pop("upstream", QUICK),
        raw_surface=request.surface if is_raw else None,
        **changes,
    )
