"""The policy file as pydantic sees it: strict types, unknown keys refused. Meaning is checked in ``load``."""

from __future__ import annotations

from datetime import date  # noqa: TC003  # pydantic reads the annotation at run time
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Tokens = Annotated[int, Field(ge=1, le=100_000_000)]
ModelTierName = Literal["economy", "standard", "premium"]


def _exact(value: object) -> object:
    """YAML's numbers arrive as text, so that a price is exact; quoted ones were refused before."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return value
    return Decimal(str(value))


Usd = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0, le=1_000_000, decimal_places=9, allow_inf_nan=False)]


class Strict(BaseModel):
    """Every block of the file: no unknown key, no coercion."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PriceBlock(Strict):
    """A contract's prices in USD per million tokens; what is not given is billed as plain input or output."""

    input: Usd
    output: Usd
    cache_read: Usd | None = None
    cache_write_5m: Usd | None = None
    cache_write_1h: Usd | None = None
    reasoning: Usd | None = None


class ModelBlock(Strict):
    """One model that the policy may route to."""

    provider_model: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+/[^\s]+$")]
    vendor: Name
    tier: ModelTierName
    price_usd_per_mtok: PriceBlock | None = None
    api_base: HttpUrl | None = None
    api_key_env: VariableName | None = None
    context_window: Tokens | None = None
    output_tokens_max: Tokens | None = None
    capabilities: list[Name] | None = Field(None, description="replaces what the catalogue says")


class RoutingBlock(Strict):
    """What is kept and against what it is measured."""

    premium: Name
    quality_tiers: Annotated[dict[Name, Share], Field(min_length=1, max_length=32)]
    default_tier: Name
    drop: list[Literal["sampling_params", "forced_tool_use", "output_limit", "reasoning_effort"]] = Field(
        default_factory=list, description="settings that may be left out for a model that refuses them"
    )


class WhenBlock(Strict):
    """When a rule applies; all that is given must match."""

    team: list[str] = Field(default_factory=list)
    project: list[str] = Field(default_factory=list)
    key: list[str] = Field(default_factory=list)
    quality_tier: list[Name] = Field(default_factory=list)
    tags: dict[str, list[str]] = Field(default_factory=dict)
    has_images: bool | None = None
    has_tools: bool | None = None
    has_response_schema: bool | None = None
    input_tokens_min: Tokens | None = None
    input_tokens_max: Tokens | None = None
    support_max: Share | None = None


class RequireBlock(Strict):
    """How a rule narrows the choice."""

    tier_min: ModelTierName | None = None
    capabilities: list[Name] = Field(default_factory=list)
    vendors: list[Name] = Field(default_factory=list)
    models: list[Name] = Field(default_factory=list)
    tolerance_max: Share | None = None


class RuleBlock(Strict):
    """All rules that match apply."""

    name: Name
    when: WhenBlock = Field(default_factory=WhenBlock)
    require: RequireBlock


class UpstreamBlock(Strict):
    """How long vendors are waited for, and how often they are asked."""

    connect_timeout_s: Seconds = 5.0
    first_byte_timeout_s: Seconds = 60.0
    between_bytes_timeout_s: Seconds = 30.0
    deadline_s: Seconds = 120.0
    retries_max: Annotated[int, Field(ge=0, le=10)] = 2
    cooldown_failures: Annotated[int, Field(ge=1, le=1_000)] = 3
    cooldown_s: Seconds = 30.0
    drain_s: Seconds = 60.0
    drain_bytes_max: Annotated[int, Field(ge=0)] = 4_000_000


class LimitsBlock(Strict):
    """What one request may ask of the gateway itself."""

    body_bytes_max: Annotated[int, Field(ge=1_024, le=1_000_000_000)] = 32_000_000
    body_timeout_s: Seconds = 30.0
    output_tokens_default: Tokens = 4_096
    lease_s: Seconds = 900.0


class PricesBlock(Strict):
    """A statement of the day that the prices were looked at; the pinned revision is what counts."""

    as_of: date


class KeysBlock(Strict):
    """Where the hashed keys are; relative to the policy file."""

    file: Annotated[str, StringConstraints(min_length=1, max_length=4_096)]


class PolicyFile(Strict):
    """The whole file."""

    version: Literal[1]
    name: Name
    prices: PricesBlock | None = None
    models: Annotated[dict[Name, ModelBlock], Field(min_length=1, max_length=1_000)]
    routing: RoutingBlock
    rules: Annotated[list[RuleBlock], Field(max_length=1_000)] = Field(default_factory=list)
    upstream: UpstreamBlock = Field(default_factory=UpstreamBlock)
    limits: LimitsBlock = Field(default_factory=LimitsBlock)
    keys: KeysBlock | None = None


# Fields of the contract whose machinery is still to come: refused by name, never accepted and ignored.
LATER_FIELDS = {"budgets", "guards", "routing.holdout", "routing.cascade", "cascade", "feedback"}


def policy_schema() -> dict[str, object]:
    """The JSON Schema of a policy file, for editors."""
    schema = PolicyFile.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Tollgate policy"
    return schema
