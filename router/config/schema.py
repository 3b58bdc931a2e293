"""The policy file as pydantic sees it: strict types, unknown keys refused. Meaning is checked in ``load``."""

from __future__ import annotations

from datetime import date  # noqa: TC003  # pydantic reads the annotation at run time
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from router.config.budgets import BudgetBlock, BudgetStoreBlock
from router.config.fields import (
    Address,
    Capability,
    ModelTierName,
    Name,
    Seconds,
    Share,
    Strict,
    Text,
    Tokens,
    Usd,
    VariableName,
)
from router.config.guards import ContextBlock, GuardsBlock


class PriceTierBlock(Strict):
    """Prices of a whole request whose input is above ``input_tokens``; what is not given stays as below."""

    input_tokens: Tokens = Field(description="the tier prices requests with more input than this, cached or not")
    input: Usd | None = Field(default=None, description="USD per million tokens of plain input")
    output: Usd | None = Field(default=None, description="USD per million output tokens")
    cache_read: Usd | None = Field(default=None, description="USD per million tokens read from the vendor's cache")
    cache_write_5m: Usd | None = Field(
        default=None, description="USD per million tokens written to its five-minute cache"
    )
    cache_write_1h: Usd | None = Field(default=None, description="USD per million tokens written to its one-hour cache")
    reasoning: Usd | None = Field(default=None, description="USD per million reasoning tokens")


class PriceBlock(Strict):
    """A contract's prices in USD per million tokens, exact to nine decimals."""

    input: Usd = Field(description="plain input; 0 only where it is really free, such as a model of your own")
    output: Usd = Field(description="output")
    cache_read: Usd | None = Field(
        default=None, description="read from the vendor's prompt cache; plain input if not given"
    )
    cache_write_5m: Usd | None = Field(
        default=None, description="written to its five-minute cache; plain input if not given"
    )
    cache_write_1h: Usd | None = Field(
        default=None, description="written to its one-hour cache; the five-minute price if not given"
    )
    reasoning: Usd | None = Field(default=None, description="reasoning tokens; output if not given")
    above: Annotated[list[PriceTierBlock], Field(min_length=1, max_length=16)] | None = Field(
        default=None, description="context tiers, rising: a request with more input is priced by its tier as a whole"
    )


class ModelBlock(Strict):
    """One model that the policy may route to."""

    provider_model: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+/[^\s]+$", max_length=256)] = Field(
        description="`provider/model` as in the catalogue, such as anthropic/claude-opus-5-5"
    )
    vendor: Name = Field(description="who makes the model; rules allow and forbid by it")
    tier: ModelTierName = Field(description="how strong it is; rules ask for it by `tier_min`")
    price_usd_per_mtok: PriceBlock | None = Field(default=None, description="your contract; wins over the catalogue")
    api_base: Address | None = Field(
        default=None, description="its own address, as the vendor's SDK calls its base URL"
    )
    api_key_env: VariableName | None = Field(default=None, description="the variable that holds its key, never the key")
    context_window: Tokens | None = Field(
        default=None, description="tokens of input and output; the catalogue's if not given"
    )
    output_tokens_max: Tokens | None = Field(default=None, description="output limit; the catalogue's if not given")
    capabilities: list[Capability] | None = Field(
        default=None, description="replaces what the catalogue says it can do"
    )
    bills_after_disconnect: bool = Field(
        default=True, description="`false` only for a model that stops billing once its connection closes"
    )


class RoutingBlock(Strict):
    """What is kept, and against what it is measured."""

    premium: Name = Field(description="the model that every loss and every saving is measured against")
    quality_tiers: Annotated[dict[Name, Share], Field(min_length=1, max_length=32)] = Field(
        description="tier name: its tolerance, the mean quality loss against premium that its requests may have, 0..1"
    )
    default_tier: Name = Field(description="the tier of a request that names none")
    drop: list[Literal["sampling_params", "forced_tool_use", "output_limit", "reasoning_effort"]] = Field(
        default_factory=list,
        description="settings left out, and named in X-Router-Dropped, for a model that refuses them",
    )
    promise_min: Literal["calibrated"] | None = Field(
        default=None, description="`calibrated` sends what no calibration of your own covers to premium"
    )


Texts = Annotated[list[Text], Field(min_length=1, max_length=1_000)]
Names = Annotated[list[Name], Field(min_length=1, max_length=1_000)]


class WhenBlock(Strict):
    """When a rule applies; all that is given must match, nothing given matches every request."""

    team: Texts | None = Field(default=None, description="the key's team is one of these")
    project: Texts | None = Field(default=None, description="the key's project is one of these")
    key: Texts | None = Field(default=None, description="the key's id is one of these")
    quality_tier: Names | None = Field(default=None, description="the request's tier is one of these")
    tags: Annotated[dict[Text, Texts], Field(min_length=1)] | None = Field(
        default=None, description="tag name: the values that match; all names must match"
    )
    has_images: bool | None = Field(default=None, description="whether the request carries images")
    has_tools: bool | None = Field(default=None, description="whether the request offers tools")
    has_response_schema: bool | None = Field(default=None, description="whether it asks for an answer in a JSON schema")
    input_tokens_min: Tokens | None = Field(
        default=None, description="at least so many input tokens, as premium counts them"
    )
    input_tokens_max: Tokens | None = Field(
        default=None, description="at most so many input tokens, as premium counts them"
    )
    support_max: Share | None = Field(
        default=None, description="at most so much of the prompt is known to the quality model's data, 0..1"
    )


class RequireBlock(Strict):
    """How a rule narrows the choice; at least one of these."""

    tier_min: ModelTierName | None = Field(default=None, description="only models of this tier or above")
    capabilities: Annotated[list[Capability], Field(min_length=1)] | None = Field(
        default=None, description="only models that can do all of these"
    )
    vendors: Names | None = Field(default=None, description="only models of these vendors")
    models: Names | None = Field(default=None, description="only these models")
    tolerance_max: Share | None = Field(
        default=None, description="no larger tolerance than this, whatever is asked for"
    )


class RuleBlock(Strict):
    """All rules that match apply; each can only narrow, so that their order means nothing."""

    name: Name = Field(description="stands in receipts as `rule:NAME`; unique")
    when: WhenBlock = Field(default_factory=WhenBlock, description="when it applies; always, if not given")
    require: RequireBlock = Field(default_factory=RequireBlock, description="what it requires of models")
    context: ContextBlock | None = Field(default=None, description="how much input such a request may have")


class CascadeBlock(Strict):
    """Checks on the answer of a cheap model, and a better model where one fails."""

    verify: Annotated[
        list[
            Literal[
                "refusal", "truncation", "schema", "tool_call", "empty", "looping", "logprobs", "verifier", "agreement"
            ]
        ],
        Field(min_length=1),
    ] = Field(description="what an answer is checked for, in this order")
    max_attempts: Annotated[int, Field(ge=2, le=5)] = Field(
        default=2, description="answers that one request may be given up to; retries at a vendor aside"
    )
    tiers: Annotated[list[Name], Field(min_length=1, max_length=32)] | None = Field(
        default=None, description="the quality tiers whose requests are cascaded; every request, if not given"
    )
    streams: Literal["buffer"] | None = Field(
        default=None, description="`buffer` holds a stream back until its checks are done; else streams are not checked"
    )
    catch_rate: Annotated[dict[Name, Share], Field(min_length=1, max_length=1_000)] | None = Field(
        default=None,
        description="model: share of its bad answers that these checks catch, as you measured it; 0 for all others",
    )
    confidence_min: Share | None = Field(
        default=None, description="for `logprobs`: the least geometric mean of the probabilities of an answer's tokens"
    )
    verifier_min: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = Field(
        default=None, description="for `verifier`: the least chance of being good that labels must leave an answer"
    )


class UpstreamBlock(Strict):
    """How long vendors are waited for, and how often they are asked."""

    connect_timeout_s: Seconds = Field(default=5.0, description="until the connection stands")
    first_byte_timeout_s: Seconds = Field(default=60.0, description="until the vendor's first event")
    between_bytes_timeout_s: Seconds = Field(default=30.0, description="between two events")
    deadline_s: Seconds = Field(default=120.0, description="up to the first byte, retries and fallbacks included")
    retries_max: Annotated[int, Field(ge=0, le=10)] = Field(
        default=2, description="tries after the first, for each model"
    )
    cooldown_failures: Annotated[int, Field(ge=1, le=1_000)] = Field(
        default=3, description="failures in a row after which a model rests"
    )
    cooldown_s: Seconds = Field(default=30.0, description="how long it rests")
    drain_s: Seconds = Field(
        default=60.0, description="how long an answer is read on after the client left, for its usage"
    )
    drain_bytes_max: Annotated[int, Field(ge=0, le=1_000_000_000)] = Field(
        default=4_000_000, description="how much of it is read"
    )


class LimitsBlock(Strict):
    """What one request may ask of the gateway itself."""

    body_bytes_max: Annotated[int, Field(ge=1_024, le=1_000_000_000)] = Field(
        default=32_000_000, description="a larger body is answered 413"
    )
    body_timeout_s: Seconds = Field(default=30.0, description="a client that sends slower is answered 408")
    output_tokens_default: Tokens = Field(
        default=4_096,
        description="output limit of a request that names none; four times that where a model always thinks",
    )
    output_tokens_least: Tokens = Field(
        default=64, description="where money is short, output limits are cut to what fits, but not below this"
    )
    lease_s: Seconds = Field(default=900.0, description="after a crash: when an open call is closed at its worst case")


class PricesBlock(Strict):
    """A statement of the day that the prices were looked at; the pinned revision is what counts."""

    as_of: date = Field(description="the day, such as 2026-11-01")


class KeysBlock(Strict):
    """Where the hashed keys are."""

    file: Annotated[str, StringConstraints(min_length=1, max_length=4_096)] = Field(
        description="relative to the policy's folder; made by `tollgate keys create`"
    )


class PolicyFile(Strict):
    """The whole file."""

    version: Literal[1] = Field(description="the format's version: 1")
    name: Name = Field(description="stands in banner, log and report")
    prices: PricesBlock | None = Field(default=None, description="a statement, checked by nobody")
    models: Annotated[dict[Name, ModelBlock], Field(min_length=1, max_length=1_000)] = Field(
        description="the models that may answer, by the name that callers pin them by"
    )
    routing: RoutingBlock = Field(description="what is kept, and against what it is measured")
    rules: Annotated[list[RuleBlock], Field(max_length=1_000)] = Field(
        default_factory=list, description="what narrows the choice for some requests, or for all"
    )
    budgets: Annotated[list[BudgetBlock], Field(max_length=100)] = Field(
        default_factory=list, description="what may be spent, by whom, in which window"
    )
    budget_store: BudgetStoreBlock = Field(
        default_factory=BudgetStoreBlock, description="what holds while the store of budgets is away"
    )
    guards: GuardsBlock = Field(default_factory=GuardsBlock, description="what stops a runaway")
    upstream: UpstreamBlock = Field(default_factory=UpstreamBlock, description="timeouts, retries, cooldown")
    cascade: CascadeBlock | None = Field(
        default=None, description="checks on answers, and a better model where one fails"
    )
    limits: LimitsBlock = Field(default_factory=LimitsBlock, description="bounds of one request")
    keys: KeysBlock | None = Field(default=None, description="`keys.yaml` in TOLLGATE_HOME, if not given")


# Fields of the contract whose machinery is still to come: refused by name, never accepted and ignored. `*` is any item.
LATER_FIELDS = (
    ("feedback",),
    ("routing", "holdout"),
    ("rules", "*", "guards"),
    ("rules", "*", "budgets"),
)


def _without_null(node: Any) -> Any:  # noqa: ANN401  # a JSON document
    """The schema without null as a value: a key without a value is a mistake in a policy."""
    if isinstance(node, list):
        return [_without_null(each) for each in node]
    if not isinstance(node, dict):
        return node
    found = {key: _without_null(value) for key, value in node.items() if not (key == "default" and value is None)}
    options = found.pop("anyOf", None)
    if options is None:
        return found
    kept = [each for each in options if each != {"type": "null"}]
    return {**found, **kept[0]} if len(kept) == 1 else {**found, "anyOf": kept}


def policy_schema() -> dict[str, object]:
    """The JSON Schema (draft 2020-12) of a policy file, for editors; what needs the catalogue is `tollgate check`'s."""
    made = _without_null(PolicyFile.model_json_schema())
    assert isinstance(made, dict)
    for name in ("PolicyFile", "RoutingBlock", "CascadeBlock"):
        block = made if name == "PolicyFile" else made["$defs"][name]
        for field in block["properties"].values():
            if "patternProperties" in field:
                field["additionalProperties"] = False
    made["$defs"]["RequireBlock"]["minProperties"] = 1
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "Tollgate policy"}
