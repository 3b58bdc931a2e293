"""A policy as the core sees it: loaded, checked, resolved against the catalogue, immutable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.budgets import Budget
    from router.catalog import ModelCard, PriceSchedule
    from router.chat import Wire

ModelTier: TypeAlias = Literal["economy", "standard", "premium"]
Check: TypeAlias = Literal[
    "refusal", "truncation", "schema", "tool_call", "empty", "looping", "logprobs", "verifier", "agreement"
]
CHECK_NAMES: tuple[Check, ...] = ("refusal", "truncation", "schema", "tool_call", "empty", "looping")
MODEL_TIERS: tuple[ModelTier, ...] = ("economy", "standard", "premium")
PREMIUM_TIER_TOLERANCE = 0.0


@dataclass(frozen=True, slots=True)
class PolicyModel:
    """One model that the policy may route to.

    ``card`` is the catalogue's entry with the policy's overrides applied; ``prices`` is the contract's schedule or the
    catalogue's. ``api_base`` is what the vendor's own SDK calls its base URL; ``api_key_env`` names a variable.
    ``is_reachable`` is False where this process has no key for it. ``bills_after_disconnect`` is False for a model that
    stops billing once its connection closes: its streams are held in slices.
    """

    id: str
    provider_model: str
    vendor: str
    tier: ModelTier
    wire: Wire
    card: ModelCard
    prices: PriceSchedule
    api_base: str | None = None
    api_key_env: str | None = None
    has_contract_price: bool = False
    is_reachable: bool = True
    bills_after_disconnect: bool = True

    @property
    def vendor_model(self) -> str:
        """The vendor's own id: ``provider_model`` without litellm's provider prefix."""
        return self.provider_model.split("/", 1)[1] if "/" in self.provider_model else self.provider_model


@dataclass(frozen=True, slots=True)
class Condition:
    """When a rule applies; None or empty matches everything, and all that are given must match.

    ``tags`` maps a tag's name to the values that match. Tokens are the estimate of the input. ``support_max`` matches
    prompts whose support (how near they lie to the calibration's data, 0..1) is at most this.
    """

    team: tuple[str, ...] = ()
    project: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    quality_tier: tuple[str, ...] = ()
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    has_images: bool | None = None
    has_tools: bool | None = None
    has_response_schema: bool | None = None
    input_tokens_min: int | None = None
    input_tokens_max: int | None = None
    support_max: float | None = None


@dataclass(frozen=True, slots=True)
class Requirement:
    """How a rule narrows the choice; empty fields narrow nothing."""

    tier_min: ModelTier | None = None
    capabilities: frozenset[str] = frozenset()
    vendors: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    tolerance_max: float | None = None


@dataclass(frozen=True, slots=True)
class ContextBound:
    """What input a request may have, in tokens as premium counts them; ``of`` says whose bound it is."""

    input_tokens_max: int
    when_exceeded: Literal["reject", "trim", "warn"] = "reject"
    of: str = "the policy"


@dataclass(frozen=True, slots=True)
class Rule:
    """All rules that match apply; each can only narrow, so their order means nothing."""

    name: str
    when: Condition
    require: Requirement
    context: ContextBound | None = None


@dataclass(frozen=True, slots=True)
class Upstream:
    """How long vendors are waited for and how often they are asked.

    ``deadline_s`` bounds the whole request up to its first byte, retries and fallbacks included. ``cooldown_s`` is how
    long a deployment rests after ``cooldown_failures`` failures in a row. ``drain_s`` and ``drain_bytes_max`` bound
    how long a call is read to its usage after the client has left.
    """

    connect_timeout_s: float = 5.0
    first_byte_timeout_s: float = 60.0
    between_bytes_timeout_s: float = 30.0
    deadline_s: float = 120.0
    retries_max: int = 2
    cooldown_failures: int = 3
    cooldown_s: float = 30.0
    drain_s: float = 60.0
    drain_bytes_max: int = 4_000_000


@dataclass(frozen=True, slots=True)
class Cascade:
    """Checks on a cheap model's answer, and a better model where one fails.

    ``max_attempts`` counts answers, not retries. ``tiers`` names the quality tiers whose requests are cascaded, all
    where empty. ``catch_rate`` is by model the measured share of its bad answers that the checks catch; a model that
    is not named counts as 0: its checks let nothing serve that may not serve without them. ``confidence_min`` is what
    ``logprobs`` wants of an answer: the geometric mean of its tokens' probabilities, ``verifier_min`` what ``verifier``
    does: the chance of being good that labels leave it.
    """

    verify: tuple[Check, ...]
    max_attempts: int = 2
    tiers: frozenset[str] = frozenset()
    buffers_streams: bool = False
    catch_rate: Mapping[str, float] = field(default_factory=dict)
    confidence_min: float = 0.0
    verifier_min: float = 0.0

    @property
    def has_verifier(self) -> bool:
        """Whether labels may teach it what a bad answer looks like: then answers that are taken whole leave marks."""
        return "verifier" in self.verify


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask of the gateway itself.

    ``output_tokens_least`` is how far an output limit may be cut to fit what money is left.
    """

    body_bytes_max: int = 32_000_000
    body_timeout_s: float = 30.0
    output_tokens_default: int = 4_096
    output_tokens_least: int = 64
    lease_s: float = 900.0


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where guard trips are told: ``secret_env`` names the variable with the secret that signs them."""

    url: str
    secret_env: str


@dataclass(frozen=True, slots=True)
class Guards:
    """What stops a runaway; the defaults hold where a policy says nothing.

    ``repeats_max`` equal calls pass within ``window_ms``. ``descendants_max`` counts the agents of a lineage,
    ``depth_max`` how deep they call each other. ``nanousd_per_hour_max`` bounds each lineage and each session, None
    bounds none. ``rejects_without_state`` refuses requests while what other gateways saw cannot be read.
    """

    is_on: bool = True
    window_ms: int = 600_000
    repeats_max: int = 5
    depth_max: int = 8
    descendants_max: int = 200
    nanousd_per_hour_max: int | None = None
    rejects_without_state: bool = False
    webhook: Webhook | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """One revision of the rules; ``revision`` is the sha256 of the file's bytes and the price revision.

    ``droppable`` names the settings that may be dropped, and named in `X-Router-Dropped`, for a model that refuses
    them; one that is not named there makes the model ineligible. With ``promise_min`` a workload without a calibration
    of its own gets premium. ``budget_allowance_nanousd`` may be spent while the store of budgets is away, None where
    requests are refused then; ``budget_lease_share`` of what is left a gateway may hold ahead.
    """

    revision: str
    name: str
    price_revision: str
    models: Mapping[str, PolicyModel]
    premium: str
    quality_tiers: Mapping[str, float]
    default_tier: str
    rules: tuple[Rule, ...] = ()
    droppable: frozenset[str] = frozenset()
    promise_min: Literal["calibrated"] | None = None
    upstream: Upstream = field(default_factory=Upstream)
    limits: Limits = field(default_factory=Limits)
    cascade: Cascade | None = None
    budgets: tuple[Budget, ...] = ()
    budget_allowance_nanousd: int | None = None
    budget_lease_share: float = 0.0
    guards: Guards = field(default_factory=Guards)
    context: ContextBound | None = None
    keys_file: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def premium_model(self) -> PolicyModel:
        """The counterfactual that every saving is measured against."""
        return self.models[self.premium]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: what a virtual key says. Empty ``allowed_*`` allow everything.

    ``key_id`` is the key's public id, never the secret; it is None where no key is needed (loopback, no keys file).
    ``limits`` are budgets of the key's own, beside the policy's; no two of both have the same name.
    """

    key_id: str | None = None
    team: str | None = None
    project: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    allowed_tiers: frozenset[str] = frozenset()
    allowed_models: frozenset[str] = frozenset()
    limits: tuple[Budget, ...] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """What a caller asks of the routing, apart from the content.

    ``quality_tier`` and ``tolerance`` are None when not given; the tolerance wins. ``tags`` are the request's own
    merged over the key's. ``idempotency_key`` is a keyed hash, never the caller's text. ``lineage`` is the ticket as it
    came, which nothing vouches for yet.
    """

    quality_tier: str | None = None
    tolerance: float | None = None
    session_id: str | None = None
    parent_session_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    idempotency_key: str | None = None
    lineage: str | None = None
