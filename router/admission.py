"""The hold: every attempt at a vendor is written down before it is made, and settled on every path.

The intent survives the death of this process before the vendor hears of the attempt, so no call that reached a vendor
can be missing from the ledger. Each attempt (retry, fallback) holds for itself, at its worst case: first in the
budgets that the request falls under, then in the ledger. Where the budgets leave less than the worst case, the output
limit that is written upstream is cut to what they leave.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from router.bill import Bill
from router.budgets import Denial
from router.catalog import cost_nanousd, hold_nanousd
from router.context_bill import context_use_of
from router.cover import input_tokens_max_of, sought_for
from router.errors import BudgetStoreUnavailableError, LedgerUnavailableError
from router.estimate import NOTHING_SEEN, Expected, estimate_of, most_nanousd_of
from router.ledger import Intent, Rejection, Settlement
from router.receipt import receipt_of
from router.reported import is_possible, tell_impossible
from router.savings import premium_cost_of
from router.tokens import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.calibration import Promise
    from router.chat import FinishReason, Request
    from router.clock import Clock
    from router.context_bill import ContextSeen
    from router.cover import Cover, Floor, Sought
    from router.decision import Candidate, CostRange, Decision
    from router.errors import RouterError
    from router.estimate import Seen
    from router.guarding import Watch
    from router.ledger import Outcome, Subject, UsageSource
    from router.policy import Policy, PolicyModel
    from router.ports import Ledger, Observer
    from router.tokens import TokenUsage
    from router.treasury import Purse, Treasury


@dataclass(slots=True)
class Account:
    """What one request has cost so far, over all of its attempts.

    ``learn`` is told the model, the tokens that its vendor reported, and the time in monotonic seconds. ``cascade``
    says how the checks on the answers went, None where there were none. ``purse`` is None where no budget limits it,
    ``watch`` where no guard looks, ``seen`` where the input is too short to have a context bill. ``is_premium_able``:
    whether premium could have done what is asked.
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
    purse: Purse | None = None
    watch: Watch | None = None
    context: str | None = None
    seen: ContextSeen | None = None
    is_premium_able: bool = True

    def finish(self, observer: Observer) -> None:
        """No attempt follows: the request has ended with its last one, if there was any, which is told once."""
        if self.is_finished:
            return
        self.is_finished = True
        if self.last is not None:
            observer.request_finished(*self.last, self.cost_nanousd)
        if self.watch is not None:
            self.watch.end("rejected" if self.last is None else self.last[1].outcome, self.cost_nanousd)


@dataclass(slots=True)
class Hold:
    """One attempt that is written down. ``settle``, ``fail`` and ``abandon`` count once; later calls do nothing.

    ``place`` is where its intent stands in the ledger; ``cover`` is what budgets hold for it, None without any.
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
    cover: Cover | None = None
    first_byte_ms: int | None = None
    vendor_id: str | None = None
    marks: tuple[float, ...] | None = None
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
        error_code: str | None = None,
    ) -> None:
        """Charge what the vendor reported where it can be, or the estimate from what was seen, and end the request."""
        if self.is_settled:
            return
        tokens, source = self._spent(usage, seen)
        model = self.policy.models[self.intent.model]
        premium = premium_cost_of(tokens, model, self.policy, self.request, is_able=self.account.is_premium_able)
        self._close(
            tokens, source, premium, outcome, seen, finish_reason=finish_reason, error=error, error_code=error_code
        )
        if source == "reported" and self.account.learn is not None:
            self.account.learn(self.intent.model, tokens, self.clock.monotonic_s())
        if self.account.seen is not None:
            self.ledger.append_later(context_use_of(self.intent, self.account.seen, tokens, model))
        self.account.finish(self.observer)

    def estimated_usage(self) -> Usage | None:
        """What was charged of an attempt whose vendor reported nothing."""
        tokens = None if self.settlement is None else self.settlement.tokens
        return None if tokens is None else Usage(tokens, "estimated")

    def fail(
        self, error: RouterError, *, is_billed: bool, usage: Usage | None = None, seen: Seen = NOTHING_SEEN
    ) -> None:
        """Charge nothing where the vendor certainly did not bill, else the usage or the estimate.

        Another attempt may follow.
        """
        if is_billed:
            tokens, source = self._spent(usage, seen)
            self._close(tokens, source, None, "failed", seen, error=error)
        else:
            self._close(None, "none", None, "failed", error=error)

    def escalate(self, usage: Usage | None, check: str, finish_reason: FinishReason, seen: Seen) -> None:
        """Charge an answer that failed the check and goes to nobody, since a better model has answered."""
        self._pass_over("escalated", usage, finish_reason, seen, f"check_failed:{check}")

    def sample(self, usage: Usage | None, finish_reason: FinishReason, seen: Seen) -> None:
        """Charge an answer that another one was only compared with."""
        self._pass_over("sampled", usage, finish_reason, seen, None)

    def _pass_over(
        self, outcome: Outcome, usage: Usage | None, finish_reason: FinishReason, seen: Seen, error_code: str | None
    ) -> None:
        """Charge an answer that goes to nobody; its latency ends with it, and another attempt ends the request."""
        tokens, source = self._spent(usage, seen)
        self._close(
            tokens,
            source,
            None,
            outcome,
            seen,
            finish_reason=finish_reason,
            error_code=error_code,
            latency_ms=self.first_byte_ms,
        )
        if source == "reported" and self.account.learn is not None:
            self.account.learn(self.intent.model, tokens, self.clock.monotonic_s())

    def abandon(self, usage: Usage | None = None, seen: Seen = NOTHING_SEEN) -> None:
        """Charge the usage or the estimate: cut off from our side while the vendor may have been working."""
        self._close(*self._spent(usage, seen), None, "client_left", seen)

    def accepts(self, usage: Usage | None, seen: Seen = NOTHING_SEEN) -> bool:
        """Whether there is a count of the vendor's that can be; else the estimate is charged."""
        model, limit = self.policy.models[self.intent.model], self.candidate.output_tokens_max
        return usage is not None and is_possible(usage.tokens, model, self.request, limit, seen)

    def _spent(self, usage: Usage | None, seen: Seen) -> tuple[TokenUsage, UsageSource]:
        model = self.policy.models[self.intent.model]
        if usage is not None:
            if self.accepts(usage, seen):
                return usage.tokens, usage.source
            tell_impossible(usage.tokens, model, self.request, self.candidate.output_tokens_max)
        return estimate_of(model, self._expected(), seen), "estimated"

    def _expected(self) -> Expected:
        return Expected(
            input_tokens=self.candidate.input_tokens,
            cached_tokens=self.candidate.cached_tokens,
            output_tokens=self.candidate.output_tokens,
            input_tokens_max=input_tokens_max_of(self.request, self.policy.models[self.intent.model]),
            output_tokens_max=self.candidate.output_tokens_max if self.cover is None else self.cover.output_tokens,
            may_write_cache=self.request.asks_for_caching,
            reasoning_effort=self.request.reasoning_effort,
        )

    def _close(
        self,
        tokens: TokenUsage | None,
        source: UsageSource,
        premium: CostRange | None,
        outcome: Outcome,
        seen: Seen = NOTHING_SEEN,
        *,
        finish_reason: FinishReason | None = None,
        error: RouterError | None = None,
        error_code: str | None = None,
        latency_ms: int | None = None,
    ) -> None:
        if self.settlement is not None:
            return
        model = self.policy.models[self.intent.model]
        is_bounded = self.cover is not None and source == "estimated"
        settlement = Settlement(
            decision_id=self.intent.subject.decision_id,
            attempt=self.intent.attempt,
            time_ms=self.clock.now_ms(),
            outcome=outcome,
            tokens=tokens,
            usage_source=source,
            cost_nanousd=cost_nanousd(model.prices, tokens) if tokens is not None else 0,
            premium_cost=premium,
            latency_ms=self.elapsed_ms() if latency_ms is None else latency_ms,
            first_byte_ms=self.first_byte_ms,
            error_code=error.code if error is not None else error_code,
            vendor_id=self.vendor_id,
            finish_reason=finish_reason,
            budget_nanousd=most_nanousd_of(model, self._expected(), seen) if is_bounded else None,
            marks=self.marks,
        )
        self.settlement = settlement
        account = self.account
        account.cost_nanousd += settlement.cost_nanousd
        account.premium_cost = premium
        account.usage_source = "estimated" if account.usage_source == "estimated" else source
        account.last = (self.intent, settlement)
        self.ledger.append_later(settlement)
        if self.cover is not None:
            self.cover.close(None if tokens is None else settlement.charged_nanousd)
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
            budget_remaining_nanousd=None if self.cover is None else self.cover.grant.headroom_nanousd,
            lineage=None if account.watch is None else account.watch.ticket,
            guard=None if account.watch is None else account.watch.said,
            context=account.context,
        )


@dataclass(frozen=True, slots=True)
class Admission:
    """Writes intents and hands out holds."""

    ledger: Ledger
    observer: Observer
    clock: Clock
    treasury: Treasury

    def reject(self, rejection: Rejection) -> None:
        """Write down a request that no vendor will see."""
        self.ledger.append_later(rejection)
        self.observer.request_rejected(rejection)

    async def hold(
        self,
        account: Account,
        request: Request,
        decision: Decision,
        model: str,
        policy: Policy,
        *,
        may_slice: bool = False,
        floor: Floor = "least",
        is_first_in_line: bool = False,
    ) -> Hold | Denial:
        """Hold the attempt's worst case, or what the budgets leave of it, and write it down.

        ``may_slice`` where the answer is forwarded as it comes, so that it can be ended when money ends. A denial
        writes nothing. Raises LedgerUnavailableError and BudgetStoreUnavailableError: then no vendor may be called.
        """
        candidate = decision.candidate(model)
        if decision.reason == "cascade":
            candidate = candidate._replace(predicted_loss=decision.loss_of(model))
        chosen = policy.models[model]
        worst_nanousd = hold_nanousd(
            chosen.prices,
            input_tokens_max_of(request, chosen),
            candidate.output_tokens_max,
            may_write_cache=request.asks_for_caching,
        )
        cover: Cover | None = None
        if account.purse is not None and worst_nanousd > 0:
            sought = sought_for(candidate, chosen, policy, request, floor, may_slice=may_slice)
            found = await self._covered(account, decision, sought, policy, is_first_in_line=is_first_in_line)
            if isinstance(found, Denial):
                return found
            cover = found
            candidate = candidate._replace(output_tokens_max=cover.limit_tokens)
        account.attempts += 1
        now_ms = self.clock.now_ms()
        intent = Intent(
            subject=account.subject,
            attempt=account.attempts,
            time_ms=now_ms,
            model=model,
            vendor=chosen.vendor,
            hold_nanousd=worst_nanousd if cover is None or cover.is_sliced else cover.held_nanousd,
            lease_expires_ms=now_ms + _lease_ms(policy),
            receipt=_receipt_of(decision, candidate, cover, account, chosen) if account.attempts == 1 else None,
            accounts=() if cover is None else cover.grant.accounts,
        )
        try:
            place = await self.ledger.append(intent)
        except BaseException as error:
            if cover is not None:
                cover.close(None)  # no vendor will be called
            if isinstance(error, LedgerUnavailableError) and account.attempts == 1:
                self.observer.request_rejected(Rejection(account.subject, now_ms, error.code))
            raise
        return Hold(account, intent, request, candidate, policy, self.ledger, self.observer, self.clock, place, cover)

    async def _covered(
        self, account: Account, decision: Decision, sought: Sought, policy: Policy, *, is_first_in_line: bool
    ) -> Cover | Denial:
        assert account.purse is not None
        lease_ms = _lease_ms(policy)
        try:
            found = await self.treasury.reserve(
                account.purse,
                f"{decision.decision_id}-{account.attempts + 1}",
                least_nanousd=sought.least_nanousd,
                most_nanousd=sought.most_nanousd,
                lease_ms=lease_ms,
                is_first_in_line=is_first_in_line,
            )
        except BudgetStoreUnavailableError as error:
            if account.attempts == 0:
                self.reject(Rejection(account.subject, self.clock.now_ms(), error.code, receipt_of(decision)))
            raise
        return found if isinstance(found, Denial) else sought.cover_of(self.treasury, account.purse, found, lease_ms)


def _lease_ms(policy: Policy) -> int:
    return round(policy.limits.lease_s * 1000)


def _receipt_of(
    decision: Decision, candidate: Candidate, cover: Cover | None, account: Account, model: PolicyModel
) -> dict[str, object]:
    """The decision's receipt with what budgets hold, what a guard noticed, and what of a long input was sent before."""
    receipt = receipt_of(decision)
    watch = account.watch
    if watch is not None and (noticed := watch.receipt) is not None:
        receipt["guard"] = noticed
    if account.seen is not None:
        receipt["repeats"] = account.seen.receipt(model)
    if cover is not None:
        receipt["budget"] = {
            "held_nanousd": cover.held_nanousd,
            "remaining_nanousd": cover.grant.headroom_nanousd,
            "output_tokens_max": candidate.output_tokens_max,
            "is_cut": cover.is_cut,
        }
    return receipt
