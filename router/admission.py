"""The hold: every attempt at a vendor is written down before it is made, and settled on every path.

The intent survives the death of this process before the vendor hears of the attempt, so no call that reached a vendor
can be missing from the ledger. Each attempt (retry, fallback) holds for itself, at its worst case.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from router.bill import Bill
from router.catalog import cost_nanousd, hold_nanousd
from router.decision import receipt_of
from router.errors import LedgerUnavailableError
from router.estimate import NOTHING_SEEN, Expected, estimate_of
from router.ledger import Intent, Rejection, Settlement
from router.savings import premium_cost_of
from router.token_priors import hold_tokens_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.calibration import Promise
    from router.chat import FinishReason, Request
    from router.clock import Clock
    from router.decision import Candidate, CostRange, Decision
    from router.errors import RouterError
    from router.estimate import Seen
    from router.ledger import Outcome, Subject, UsageSource
    from router.policy import Policy
    from router.ports import Ledger, Observer
    from router.tokens import TokenUsage, Usage


@dataclass(slots=True)
class Account:
    """What one request has cost so far, over all of its attempts.

    ``learn`` is told the model, the tokens that its vendor reported, and the time in monotonic seconds. ``cascade``
    says how the checks on the answers went, None where there were none.
    """

    subject: Subject
    started_s: float
    learn: Callable[[str, TokenUsage, float], None] | None = None
    attempts: int = 0
    cost_nanousd: int = 0
    premium_cost: CostRange | None = None
    usage_source: UsageSource = "none"
    last: tuple[Intent, Settlement] | None = None
    is_finished: bool = False
    cascade: str | None = None
    promise: Promise | None = None

    def finish(self, observer: Observer) -> None:
        """No attempt follows: the request has ended with its last one, which is told once."""
        if self.last is not None and not self.is_finished:
            self.is_finished = True
            observer.request_finished(*self.last, self.cost_nanousd)


@dataclass(slots=True)
class Hold:
    """One attempt that is written down. ``settle``, ``fail`` and ``abandon`` count once; later calls do nothing.

    ``place`` is where its intent stands in the ledger.
    """

    account: Account
    intent: Intent
    request: Request
    candidate: Candidate
    policy: Policy
    ledger: Ledger
    observer: Observer
    clock: Clock
    place: int
    first_byte_ms: int | None = None
    vendor_id: str | None = None
    settlement: Settlement | None = field(default=None, init=False)

    @property
    def is_settled(self) -> bool:
        """Whether the attempt has been charged."""
        return self.settlement is not None

    def elapsed_ms(self) -> int:
        """Milliseconds since the request arrived."""
        return round((self.clock.monotonic_s() - self.account.started_s) * 1000)

    def mark_first_byte(self) -> None:
        """The vendor's first event is here."""
        if self.first_byte_ms is None:
            self.first_byte_ms = self.elapsed_ms()

    def settle(
        self,
        usage: Usage | None,
        outcome: Outcome,
        *,
        seen: Seen = NOTHING_SEEN,
        finish_reason: FinishReason | None = None,
        error: RouterError | None = None,
    ) -> None:
        """Charge what the vendor reported, or the estimate from what was seen, and end the request."""
        if self.is_settled:
            return
        tokens, source = self._spent(usage, seen)
        model = self.policy.models[self.intent.model]
        premium = premium_cost_of(tokens, model, self.policy.premium_model)
        self._close(tokens, source, premium, outcome, finish_reason=finish_reason, error=error)
        if source == "reported" and self.account.learn is not None:
            self.account.learn(self.intent.model, tokens, self.clock.monotonic_s())
        self.account.finish(self.observer)

    def fail(
        self, error: RouterError, *, is_billed: bool, usage: Usage | None = None, seen: Seen = NOTHING_SEEN
    ) -> None:
        """Charge nothing where the vendor certainly did not bill, else the usage or the estimate.

        Another attempt may follow.
        """
        if is_billed:
            tokens, source = self._spent(usage, seen)
            self._close(tokens, source, None, "failed", error=error)
        else:
            self._close(None, "none", None, "failed", error=error)

    def escalate(self, usage: Usage | None, check: str, finish_reason: FinishReason, seen: Seen) -> None:
        """Charge an answer that failed the check and goes to nobody, since a better model has answered.

        Its latency ends with its own answer. The attempt that answered ends the request.
        """
        tokens, source = self._spent(usage, seen)
        self._close(
            tokens,
            source,
            None,
            "escalated",
            finish_reason=finish_reason,
            error_code=f"check_failed:{check}",
            latency_ms=self.first_byte_ms,
        )
        if source == "reported" and self.account.learn is not None:
            self.account.learn(self.intent.model, tokens, self.clock.monotonic_s())

    def abandon(self, usage: Usage | None = None, seen: Seen = NOTHING_SEEN) -> None:
        """Charge the usage or the estimate: cut off from our side while the vendor may have been working."""
        tokens, source = self._spent(usage, seen)
        self._close(tokens, source, None, "client_left")

    def _spent(self, usage: Usage | None, seen: Seen) -> tuple[TokenUsage, UsageSource]:
        if usage is not None:
            return usage.tokens, usage.source
        return estimate_of(self.policy.models[self.intent.model], self._expected(), seen), "estimated"

    def _expected(self) -> Expected:
        return Expected(
            input_tokens=self.candidate.input_tokens,
            cached_tokens=self.candidate.cached_tokens,
            output_tokens=self.candidate.output_tokens,
            input_tokens_max=_input_tokens_max(self.request),
            output_tokens_max=self.candidate.output_tokens_max,
            may_write_cache=self.request.asks_for_caching,
            reasoning_effort=self.request.reasoning_effort,
        )

    def _close(
        self,
        tokens: TokenUsage | None,
        source: UsageSource,
        premium: CostRange | None,
        outcome: Outcome,
        *,
        finish_reason: FinishReason | None = None,
        error: RouterError | None = None,
        error_code: str | None = None,
        latency_ms: int | None = None,
    ) -> None:
        if self.settlement is not None:
            return
        prices = self.policy.models[self.intent.model].prices
        settlement = Settlement(
            decision_id=self.intent.subject.decision_id,
            attempt=self.intent.attempt,
            time_ms=self.clock.now_ms(),
            outcome=outcome,
            tokens=tokens,
            usage_source=source,
            cost_nanousd=cost_nanousd(prices, tokens) if tokens is not None else 0,
            premium_cost=premium,
            latency_ms=self.elapsed_ms() if latency_ms is None else latency_ms,
            first_byte_ms=self.first_byte_ms,
            error_code=error.code if error is not None else error_code,
            vendor_id=self.vendor_id,
            finish_reason=finish_reason,
        )
        self.settlement = settlement
        account = self.account
        account.cost_nanousd += settlement.cost_nanousd
        account.premium_cost = premium
        account.usage_source = source
        account.last = (self.intent, settlement)
        self.ledger.append_later(settlement)
        self.observer.attempt_settled(self.intent, settlement)

    def bill(self) -> Bill:
        """What the caller is told of the request, once this hold is settled."""
        subject, account = self.intent.subject, self.account
        return Bill(
            decision_id=subject.decision_id,
            model=self.intent.model,
            reason=subject.reason,
            complexity=subject.complexity,
            expected_loss=self.candidate.predicted_loss,
            cost_nanousd=account.cost_nanousd,
            premium_cost=account.premium_cost,
            dropped=self.candidate.dropped,
            attempts=account.attempts,
            usage_source=account.usage_source,
            cascade=account.cascade,
            promise=account.promise,
        )


@dataclass(frozen=True, slots=True)
class Admission:
    """Writes intents and hands out holds."""

    ledger: Ledger
    observer: Observer
    clock: Clock

    def reject(self, rejection: Rejection) -> None:
        """Write down a request that no vendor will see."""
        self.ledger.append_later(rejection)
        self.observer.request_rejected(rejection)

    async def hold(self, account: Account, request: Request, decision: Decision, model: str, policy: Policy) -> Hold:
        """Write the attempt down at its worst case. Raises LedgerUnavailableError: then no vendor may be called."""
        account.attempts += 1
        candidate = decision.candidate(model)
        if decision.reason == "cascade":
            candidate = candidate._replace(predicted_loss=decision.loss_of(model))
        chosen = policy.models[model]
        now_ms = self.clock.now_ms()
        input_tokens_max = _input_tokens_max(request)
        intent = Intent(
            subject=account.subject,
            attempt=account.attempts,
            time_ms=now_ms,
            model=model,
            vendor=chosen.vendor,
            hold_nanousd=hold_nanousd(
                chosen.prices, input_tokens_max, candidate.output_tokens_max, may_write_cache=request.asks_for_caching
            ),
            lease_expires_ms=now_ms + round(policy.limits.lease_s * 1000),
            receipt=receipt_of(decision) if account.attempts == 1 else None,
        )
        try:
            place = await self.ledger.append(intent)
        except LedgerUnavailableError as error:
            if account.attempts == 1:
                self.observer.request_rejected(Rejection(account.subject, now_ms, error.code))
            raise
        return Hold(account, intent, request, candidate, policy, self.ledger, self.observer, self.clock, place)


def _input_tokens_max(request: Request) -> int:
    return hold_tokens_of(body_bytes=request.body_bytes, messages=len(request.messages), images=len(request.images))
