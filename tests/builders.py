"""Small valid values for tests: each builder makes one thing, and takes what the test is about."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from router.catalog import ModelCard, contract_schedule
from router.chat import Message, Request, Text
from router.decision import Candidate
from router.policy import Policy, PolicyModel

CAPABLE = frozenset({"vision", "tools", "parallel_tools", "response_schema", "reasoning", "system", "prompt_caching"})


def card_of(name: str = "claude-x", **changes: object) -> ModelCard:
    card = ModelCard(
        name=name,
        provider="anthropic",
        mode="chat",
        prices=contract_schedule(input=Decimal(1), output=Decimal(5)),
        context_window=200_000,
        max_output_tokens=64_000,
        capabilities=CAPABLE,
        refuses=frozenset(),
        thinking_always_on=False,
        prompt_cache_min_tokens=None,
        deprecation_date=None,
    )
    return replace(card, **changes)


def model_of(
    name: str,
    *,
    input_usd: str = "1",
    output_usd: str = "5",
    provider_model: str | None = None,
    vendor: str = "anthropic",
    tier: str = "standard",
    wire: str = "anthropic",
    **card_changes: object,
) -> PolicyModel:
    prices = contract_schedule(input=Decimal(input_usd), output=Decimal(output_usd))
    return PolicyModel(
        id=name,
        provider_model=provider_model or f"anthropic/{name}",
        vendor=vendor,
        tier=tier,
        wire=wire,
        card=card_of(name, prices=prices, **card_changes),
        prices=prices,
    )


def policy_of(*models: PolicyModel, premium: str | None = None, **changes: object) -> Policy:
    policy = Policy(
        revision="policy-revision",
        name="test",
        price_revision="price-revision",
        models={model.id: model for model in models},
        premium=premium or models[0].id,
        quality_tiers={"premium": 0.0, "high": 0.02, "balanced": 0.05, "economy": 0.15},
        default_tier="balanced",
    )
    return replace(policy, **changes)


def request_of(text: str = "What is the capital of France?", model: str = "auto", **changes: object) -> Request:
    request = Request(
        surface="openai_chat",
        model=model,
        messages=(Message("user", (Text(text),)),),
        body={"model": model, "messages": [{"role": "user", "content": text}]},
        body_bytes=len(text.encode()) + 60,
    )
    return replace(request, **changes)


def candidate_of(model: str, *, loss: float | None = 0.0, cost: int = 100, **changes: object) -> Candidate:
    candidate = Candidate(
        model=model,
        is_eligible=True,
        why_not=(),
        quality=None if loss is None else 0.8 - loss,
        quality_width=0.01,
        predicted_loss=loss,
        input_tokens=10,
        output_tokens=20,
        expected_cost_nanousd=cost,
        placement="own",
        output_tokens_max=1_000,
    )
    return candidate._replace(**changes)
