"""What the lines of one request add up to.

There is one such function, used by every store as lines arrive, by ``verify`` and by ``migrate --rebuild``: a
projection can differ from its lines only if somebody changed one of them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from router.decision import CostRange
from router.ledger.lines import (
    ContextUse,
    Correction,
    Feedback,
    GuardTrip,
    Intent,
    Rejection,
    RequestRow,
    Settlement,
    Subject,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from router.ledger.lines import Line

Kind: TypeAlias = Literal["intent", "settlement", "rejection", "correction", "feedback", "guard", "context"]
LATE_WHY = "settled after its lease had expired"
OPEN = "open"
REJECTED = "rejected"


def kind_of(line: Line) -> Kind:
    """The line's name in the ledger."""
    if isinstance(line, Intent):
        return "intent"
    if isinstance(line, Settlement):
        return "settlement"
    if isinstance(line, Rejection):
        return "rejection"
    if isinstance(line, GuardTrip):
        return "guard"
    if isinstance(line, ContextUse):
        return "context"
    return "correction" if isinstance(line, Correction) else "feedback"


def decision_id_of(line: Line) -> str:
    """The request that the line belongs to; a guard's trip stands for itself."""
    if isinstance(line, GuardTrip):
        return line.guard_id
    return line.subject.decision_id if isinstance(line, Intent | Rejection) else line.decision_id


def attempt_of(line: Line) -> int:
    """The attempt that the line belongs to; 0 where it speaks of the whole request."""
    return 0 if isinstance(line, Rejection | Feedback | GuardTrip | ContextUse) else line.attempt


def line_key_of(line: Line) -> str:
    """The line's identity within its request: a second line with the same key is the same line told twice.

    An attempt has one intent and one settlement, whatever they say. Corrections and labels may be many: they are the
    same only if everything in them is.
    """
    if isinstance(line, Intent):
        return f"i{line.attempt}"
    if isinstance(line, Settlement):
        return f"s{line.attempt}"
    if isinstance(line, Rejection):
        return "r"
    if isinstance(line, ContextUse):
        return "x"
    if isinstance(line, GuardTrip):  # one case goes up and down its ladder, maybe within a millisecond
        rung: tuple[object, ...] = (line.time_ms, line.guard, line.action, line.by, line.decision_id)
        return "g-" + hashlib.sha256(repr(rung).encode(errors="replace")).hexdigest()[:16]
    if isinstance(line, Feedback):
        content: tuple[object, ...] = (line.time_ms, line.score, line.source, line.key_id)
        return "f-" + hashlib.sha256(repr(content).encode(errors="replace")).hexdigest()[:16]
    if line.late is not None:
        return f"l{line.attempt}"
    delta = line.premium_delta
    amounts = (delta.low_nanousd, delta.point_nanousd, delta.high_nanousd) if delta is not None else None
    content = (line.attempt, line.time_ms, line.cost_delta_nanousd, amounts, line.why)
    return "c-" + hashlib.sha256(repr(content).encode(errors="replace")).hexdigest()[:16]


def sum_of(first: CostRange | None, second: CostRange | None) -> CostRange | None:
    """Two amounts with their uncertainty, added end by end; None adds nothing."""
    if first is None or second is None:
        return first or second
    return CostRange(
        first.low_nanousd + second.low_nanousd,
        first.point_nanousd + second.point_nanousd,
        first.high_nanousd + second.high_nanousd,
    )


@dataclass(slots=True)
class Attempt:
    """One call at one vendor as its lines stand: the settlement in force, and what corrections made of its cost.

    ``charged_nanousd`` is what its budgets' accounts are charged, which is its cost but for estimates.
    """

    number: int
    model: str | None = None
    vendor: str | None = None
    hold_nanousd: int = 0
    lease_expires_ms: int | None = None
    accounts: tuple[str, ...] = ()
    settlement: Settlement | None = None
    cost_nanousd: int = 0
    charged_nanousd: int = 0
    premium_cost: CostRange | None = None

    @property
    def is_open(self) -> bool:
        """Whether an intent still waits for its settlement."""
        return self.lease_expires_ms is not None and self.settlement is None

    @property
    def has_answered(self) -> bool:
        """Whether the attempt stands for the answer: it was given, or went far enough for premium to be modelled."""
        settled = self.settlement
        return (settled is not None and settled.outcome == "answered") or self.premium_cost is not None


@dataclass(slots=True)
class Folio:
    """The page of one request: all of its lines so far, folded as they come, in the order they were written."""

    subject: Subject | None = None
    rejection: Rejection | None = None
    time_ms: int = 0
    lines: int = 0
    keys: set[str] = field(default_factory=set)
    attempts: dict[int, Attempt] = field(default_factory=dict)

    def admitted(self, line: Line) -> Line | None:
        """The line to write: itself, None where it is written already, a correction where a lease was faster."""
        if line_key_of(line) not in self.keys:
            return line
        if not isinstance(line, Settlement):
            return None
        attempt = self.attempts[line.attempt]
        charged = attempt.settlement
        if charged is None or charged.outcome != "expired" or line.outcome == "expired":
            return None
        if f"l{line.attempt}" in self.keys:
            return None
        return Correction(
            decision_id=line.decision_id,
            attempt=line.attempt,
            time_ms=line.time_ms,
            cost_delta_nanousd=line.cost_nanousd - charged.cost_nanousd,
            premium_delta=line.premium_cost,
            why=LATE_WHY,
            late=line,
        )

    def add(self, line: Line) -> None:
        """Fold one more line that is, or is about to be, written. Raises nothing: ``admitted`` has judged it."""
        self.lines += 1
        self.keys.add(line_key_of(line))
        if isinstance(line, Intent):
            self._add_intent(line)
        elif isinstance(line, Settlement):
            attempt = self._attempt(line.attempt)
            attempt.settlement = line
            attempt.cost_nanousd += line.cost_nanousd
            attempt.charged_nanousd += line.charged_nanousd
            attempt.premium_cost = sum_of(attempt.premium_cost, line.premium_cost)
        elif isinstance(line, Correction):
            attempt = self._attempt(line.attempt)
            if line.late is not None and attempt.settlement is not None:
                attempt.charged_nanousd += line.late.charged_nanousd - attempt.settlement.charged_nanousd
            else:
                attempt.charged_nanousd += line.cost_delta_nanousd
            attempt.settlement = line.late or attempt.settlement
            attempt.cost_nanousd += line.cost_delta_nanousd
            attempt.premium_cost = sum_of(attempt.premium_cost, line.premium_delta)
        elif isinstance(line, Rejection):
            self.rejection = line
            if self.subject is None:
                self.subject, self.time_ms = line.subject, line.time_ms

    def _add_intent(self, line: Intent) -> None:
        if self.subject is None:
            self.subject, self.time_ms = line.subject, line.time_ms
        attempt = self._attempt(line.attempt)
        attempt.model, attempt.vendor = line.model, line.vendor
        attempt.hold_nanousd, attempt.lease_expires_ms = line.hold_nanousd, line.lease_expires_ms
        attempt.accounts = tuple(line.accounts)

    def _attempt(self, number: int) -> Attempt:
        found = self.attempts.get(number)
        if found is None:
            found = self.attempts[number] = Attempt(number)
        return found

    def open_attempts(self) -> list[Attempt]:
        """The attempts that still wait for their settlement."""
        return [each for each in self.attempts.values() if each.is_open]

    def expired(self, attempt: Attempt, now_ms: int) -> Settlement:
        """The settlement of an attempt whose lease ran out at ``now_ms``: charged at its hold."""
        return Settlement(
            decision_id=self.subject.decision_id if self.subject is not None else "",
            attempt=attempt.number,
            time_ms=now_ms,
            outcome="expired",
            tokens=None,
            usage_source="estimated",
            cost_nanousd=attempt.hold_nanousd,
            premium_cost=None,
            latency_ms=max(0, now_ms - self.time_ms),
            error_code="lease_expired",
        )

    def row(self) -> RequestRow | None:
        """The request as its lines add up; None before any line says whose request it is."""
        if self.subject is None:
            return None
        shown = self._shown()
        settled = shown.settlement if shown is not None else None
        sums = _sums_of(self.attempts.values())
        premium = sums.premium
        subject = self.subject
        return RequestRow(
            decision_id=subject.decision_id,
            time_ms=self.time_ms,
            surface=subject.surface,
            is_streamed=subject.is_streamed,
            team=subject.team,
            project=subject.project,
            key_id=subject.key_id,
            session_id=subject.session_id,
            quality_tier=subject.quality_tier,
            tolerance=subject.tolerance,
            arm=subject.arm,
            reason=subject.reason,
            model=shown.model if shown is not None else None,
            vendor=shown.vendor if shown is not None else None,
            premium=subject.premium,
            outcome=_outcome_of(shown),
            error_code=self._error_code(settled, is_tried=shown is not None),
            attempts=sums.tried,
            input_tokens=sums.input_tokens,
            output_tokens=sums.output_tokens,
            cache_read_tokens=sums.cache_read_tokens,
            cost_nanousd=sums.cost_nanousd,
            failed_cost_nanousd=sums.failed_cost_nanousd,
            premium_low_nanousd=premium.low_nanousd if premium is not None else 0,
            premium_point_nanousd=premium.point_nanousd if premium is not None else 0,
            premium_high_nanousd=premium.high_nanousd if premium is not None else 0,
            is_modelled=premium is not None,
            usage_source=sums.usage_source,
            complexity=subject.complexity,
            expected_loss=subject.expected_loss,
            latency_ms=settled.latency_ms if settled is not None else None,
            first_byte_ms=settled.first_byte_ms if settled is not None else None,
            policy_revision=subject.policy_revision,
            price_revision=subject.price_revision,
            quality_revision=subject.quality_revision,
            tags=subject.tags,
            idempotency_key=subject.idempotency_key,
            lineage_id=subject.lineage_id,
            promise=subject.promise,
        )

    def _shown(self) -> Attempt | None:
        """The attempt that answered, else the last one tried."""
        answered = (
            each
            for each in self.attempts.values()
            if each.settlement is not None and each.settlement.outcome == "answered"
        )
        return next(answered, None) or (self.attempts[max(self.attempts)] if self.attempts else None)

    def _error_code(self, settled: Settlement | None, *, is_tried: bool) -> str | None:
        if is_tried or self.rejection is None:
            return settled.error_code if settled is not None else None
        return self.rejection.error_code


@dataclass(slots=True)
class _Sums:
    """What all attempts of a request add up to."""

    tried: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cost_nanousd: int = 0
    failed_cost_nanousd: int = 0
    premium: CostRange | None = None
    usage_source: str = "none"


def _sums_of(attempts: Iterable[Attempt]) -> _Sums:
    sums = _Sums()
    sources = set()
    for each in attempts:
        sums.tried += each.lease_expires_ms is not None
        sums.cost_nanousd += each.cost_nanousd
        sums.failed_cost_nanousd += 0 if each.has_answered else each.cost_nanousd
        sums.premium = sum_of(sums.premium, each.premium_cost)
        if each.settlement is None:
            continue
        sources.add(each.settlement.usage_source)
        tokens = each.settlement.tokens
        if tokens is not None:
            sums.input_tokens += tokens.input_tokens
            sums.output_tokens += tokens.output_tokens
            sums.cache_read_tokens += tokens.cache_read
    sums.usage_source = "estimated" if "estimated" in sources else "reported" if "reported" in sources else "none"
    return sums


def _outcome_of(shown: Attempt | None) -> str:
    if shown is None:
        return REJECTED
    return shown.settlement.outcome if shown.settlement is not None else OPEN


def fold_lines(lines: Iterable[Line]) -> RequestRow | None:
    """One request from its lines, oldest first; None where no line says whose request it is."""
    folio = Folio()
    for line in lines:
        folio.add(line)
    return folio.row()
