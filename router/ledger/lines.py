"""What is written down: append-only lines, and the view of a request that they add up to.

Every attempt at a vendor has an ``Intent`` before its first byte leaves and exactly one ``Settlement`` after; an
intent that a crash left open is closed by its lease at its hold. What is learned later is a ``Correction`` that
carries differences, so that the sum over all lines is always what was really charged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.budgets import OpenHold
    from router.decision import CostRange
    from router.tokens import TokenUsage

NO_TAGS: Mapping[str, str] = MappingProxyType({})
Arm: TypeAlias = Literal["routed", "pinned"]
UsageSource: TypeAlias = Literal["reported", "estimated", "none"]
Outcome: TypeAlias = Literal[
    "answered",  # the client has the whole answer
    "failed",  # the vendor failed; cost may still be above zero
    "client_left",  # the client went away; the call was drained or estimated
    "broken",  # the stream broke after its first byte
    "escalated",  # the answer failed a check and went to nobody: a better model was asked
    "sampled",  # a second answer of the same model, for the first to be compared with: it went to nobody
    "expired",  # closed by lease after a crash, charged at the hold
]


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose request it is and what was decided: the part that is the same for every attempt of a request."""

    decision_id: str
    surface: str
    is_streamed: bool
    team: str | None
    project: str | None
    key_id: str | None
    session_id: str | None
    tags: Mapping[str, str]
    idempotency_key: str | None
    quality_tier: str | None
    tolerance: float | None
    arm: Arm
    reason: str
    premium: str
    complexity: float | None
    expected_loss: float | None
    policy_revision: str
    price_revision: str
    quality_revision: str
    prompt_hash: str
    lineage_id: str | None = None
    promise: str = "none"


@dataclass(frozen=True, slots=True)
class Intent:
    """One attempt is about to reach a vendor. ``hold_nanousd`` is its worst case; ``receipt`` rides on attempt 1.

    ``accounts`` are the budgets' accounts that the attempt is held under, so that a store of budgets that lost its
    memory can be told what was spent.
    """

    subject: Subject
    attempt: int
    time_ms: int
    model: str
    vendor: str
    hold_nanousd: int
    lease_expires_ms: int
    receipt: Mapping[str, object] | None = None
    accounts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settlement:
    """How one attempt ended. ``premium_cost`` is given once a request, on the attempt that answered.

    ``budget_nanousd`` is what budgets are charged where usage never arrived and the cost is an estimate: the most that
    it can have been, so that no budget is passed by what nobody counted. None where budgets are charged the cost.
    ``marks`` are numbers of the answer (`router.answer_marks`), where the policy's cascade learns from them and the
    answer was taken whole.
    """

    decision_id: str
    attempt: int
    time_ms: int
    outcome: Outcome
    tokens: TokenUsage | None
    usage_source: UsageSource
    cost_nanousd: int
    premium_cost: CostRange | None
    latency_ms: int
    first_byte_ms: int | None = None
    error_code: str | None = None
    vendor_id: str | None = None
    finish_reason: str | None = None
    budget_nanousd: int | None = None
    marks: tuple[float, ...] | None = None

    @property
    def charged_nanousd(self) -> int:
        """What budgets are charged."""
        return self.cost_nanousd if self.budget_nanousd is None else self.budget_nanousd


@dataclass(frozen=True, slots=True)
class Rejection:
    """A request that Tollgate refused before any vendor saw it."""

    subject: Subject
    time_ms: int
    error_code: str
    receipt: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Correction:
    """Differences to what an attempt was charged, learned after its settlement.

    ``late`` is the true settlement of an attempt that its lease had closed at the hold: the differences are its own,
    and what it says of outcome, tokens and latencies stands from then on.
    """

    decision_id: str
    attempt: int
    time_ms: int
    cost_delta_nanousd: int
    premium_delta: CostRange | None
    why: str
    late: Settlement | None = None


@dataclass(frozen=True, slots=True)
class Feedback:
    """A label: how good the answer was, 0..1, and who says so."""

    decision_id: str
    time_ms: int
    score: float
    source: str
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class GuardTrip:
    """A guard that tripped, or what an operator did about one: an entry of its own, which no request needs to follow.

    ``scope_id`` names the lineage, session, key or team by id or salted hash. ``evidence`` holds the counts that the
    rule looked at; ``leaked_nanousd`` what the scope had spent since it left what legitimate traffic looks like, as the
    guard reckons it. ``until_ms`` is when a stop, throttle or exemption ends by itself. ``by`` is ``guard`` or
    ``operator``.
    """

    guard_id: str
    time_ms: int
    guard: str
    action: str
    scope: str
    scope_id: str
    team: str | None = None
    project: str | None = None
    key_id: str | None = None
    decision_id: str | None = None
    leaked_nanousd: int = 0
    evidence: Mapping[str, object] = field(default_factory=dict)
    until_ms: int | None = None
    by: str = "guard"


@dataclass(frozen=True, slots=True)
class ContextUse:
    """What the input of one request was made of, written beside its settlement where the input is worth explaining.

    ``parts`` are tokens and sum to ``input_tokens``. ``prefix_tokens`` begin an earlier request of the same owner too,
    ``again_tokens`` were sent before but stand behind something that differs, ``twice_tokens`` stand in this request
    already. ``break_*`` tell of a time or a number for whose sake no cache could serve ``lost_tokens``. Costs are of
    the input alone, at the price of the model that answered.
    """

    decision_id: str
    time_ms: int
    model: str
    team: str | None
    project: str | None
    key_id: str | None
    tags: Mapping[str, str]
    input_tokens: int
    input_cost_nanousd: int
    parts: Mapping[str, int]
    prefix_tokens: int = 0
    again_tokens: int = 0
    twice_tokens: int = 0
    again_nanousd: int = 0
    twice_nanousd: int = 0
    break_part: str | None = None
    break_why: str | None = None
    break_at_char: int | None = None
    lost_tokens: int = 0
    lost_nanousd: int = 0


Line: TypeAlias = Intent | Settlement | Rejection | Correction | Feedback | GuardTrip | ContextUse


class RequestRow(NamedTuple):
    """One request as its lines add up: what reports, receipts and the dashboard read; a tuple, as databases take it.

    ``cost_nanousd`` is everything that the request cost; ``failed_cost_nanousd`` the part on attempts that did not
    answer: failed, expired, or cut off before premium could be modelled. ``premium_*`` are zero where nothing was
    answered. ``model`` is the one that answered, else the last tried; latencies and ``error_code`` are that attempt's.
    ``outcome`` is a settlement's, ``open`` while the last attempt runs, or ``rejected``. ``attempts`` counts intents.
    Tokens are sums over all attempts; ``usage_source`` is ``estimated`` as soon as one of them is.
    """

    decision_id: str
    time_ms: int
    surface: str
    is_streamed: bool
    team: str | None
    project: str | None
    key_id: str | None
    session_id: str | None
    quality_tier: str | None
    tolerance: float | None
    arm: str
    reason: str
    model: str | None
    vendor: str | None
    premium: str
    outcome: str
    error_code: str | None
    attempts: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cost_nanousd: int
    failed_cost_nanousd: int
    premium_low_nanousd: int
    premium_point_nanousd: int
    premium_high_nanousd: int
    is_modelled: bool
    usage_source: str
    complexity: float | None
    expected_loss: float | None
    latency_ms: int | None
    first_byte_ms: int | None
    policy_revision: str
    price_revision: str
    quality_revision: str
    tags: Mapping[str, str] = NO_TAGS
    idempotency_key: str | None = None
    lineage_id: str | None = None
    promise: str = "none"


class Spend(NamedTuple):
    """What the ledger says of one budget account: charged, and held by attempts that are still open."""

    settled_nanousd: int
    open_nanousd: int


class Standing(NamedTuple):
    """What the ledger says of all budget accounts at one moment, and of the reservations that it was asked about.

    ``settled`` are the ids of those that the sums hold at their cost; one that the ledger does not know is not among
    them.
    """

    spends: Mapping[str, Spend]
    holds: tuple[OpenHold, ...]
    settled: frozenset[str]


@dataclass(frozen=True, slots=True)
class TripQuery:
    """Which guard trips: half-open time range in milliseconds, and equal-to filters (None filters nothing)."""

    from_ms: int = 0
    to_ms: int = 2**62
    team: str | None = None
    scope_id: str | None = None

    def holds(self, trip: GuardTrip) -> bool:
        """Whether the trip is asked for."""
        return (
            self.from_ms <= trip.time_ms < self.to_ms
            and self.team in (None, trip.team)
            and self.scope_id in (None, trip.scope_id)
        )


@dataclass(frozen=True, slots=True)
class RequestQuery:
    """Which requests: half-open time range in milliseconds, and equal-to filters (None filters nothing)."""

    from_ms: int = 0
    to_ms: int = 2**62
    team: str | None = None
    project: str | None = None
    key_id: str | None = None
    model: str | None = None

    def holds(self, row: RequestRow | ContextUse) -> bool:
        """Whether the request is asked for."""
        return (
            self.from_ms <= row.time_ms < self.to_ms
            and self.team in (None, row.team)
            and self.project in (None, row.project)
            and self.key_id in (None, row.key_id)
            and self.model in (None, row.model)
        )


@dataclass(frozen=True, slots=True)
class RequestTotals:
    """Sums over a group of requests; ``group`` holds the group's values in the order of the group-by names.

    ``failed`` counts what was tried and not wholly answered (failed, broken, expired, client left); an open request
    counts in ``requests`` alone. ``attempts`` counts intents. ``pinned_savings_nanousd`` is what premium would have
    cost beyond the answers of models that callers named. ``groups`` is above 1 only for the rest behind as many groups
    as were asked for; its own ``group`` is empty.
    """

    group: tuple[str | None, ...]
    requests: int
    answered: int
    rejected: int
    failed: int
    modelled: int
    estimated: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cost_nanousd: int
    failed_cost_nanousd: int
    premium_low_nanousd: int
    premium_point_nanousd: int
    premium_high_nanousd: int
    attempts: int = 0
    pinned_savings_nanousd: int = 0
    groups: int = 1
