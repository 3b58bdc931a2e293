"""What a request does when money is short: a cut answer, a cheaper model, a place in the line, or a refusal.

The models that were decided on are tried in their order. Where none of them fits and the budget in the way says
``downgrade``, the others that may serve follow, the best predicted quality first. What still does not fit waits in
line: for money that calls under way hold, and with ``queue`` for the next window too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from router.budgets import Denial
from router.decision import downgraded
from router.ledger import Rejection
from router.receipt import receipt_of
from router.treasury import exhausted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from router.admission import Admission, Hold
    from router.cover import Floor
    from router.errors import BudgetExhaustedError
    from router.job import Job
    from router.policy import Upstream
    from router.turns import Ticket


@dataclass(frozen=True, slots=True)
class Affording:
    """One request's way to its first hold; ``is_awake`` says which models are not cooling down."""

    admission: Admission
    job: Job
    models: Sequence[str]
    is_awake: Callable[[str], bool]

    async def first_hold(self, deadline_s: float) -> tuple[list[str], Hold]:
        """The models to ask in order, and the hold on the first of them; the job's decision where it was downgraded.

        Raises BudgetExhaustedError, written down.
        """
        found = await self._tried()
        if isinstance(found, Denial):
            self.admission.treasury.tell_denied(found)
            found = await self._in_line(found, deadline_s)
        if isinstance(found, Denial):
            raise self._refused(found)
        return self._order_from(found), found

    def _order_from(self, hold: Hold) -> list[str]:
        """The held model, then those behind it: what stands before it was denied."""
        order = [model for model in self.job.decision.order if model == hold.intent.model or self.is_awake(model)]
        models = order if self.job.decision.denied else list(self.models)
        return models[models.index(hold.intent.model) :]

    async def _tried(self, ticket: Ticket | None = None) -> Hold | Denial:
        """A hold on the best that fits now, with room for the whole answer that is expected if there is such a model.

        Where no budget would downgrade, the first that fits with a shorter answer is as good.
        """
        floors: tuple[Floor, ...] = ("expected", "least") if self._may_downgrade() else ("least",)
        found: Hold | Denial | None = None
        for floor in floors:
            found = await self._decided(floor, ticket)
            if isinstance(found, Denial) and self._is_to_downgrade(found):
                found = await self._others(found, floor, ticket)
            if not isinstance(found, Denial):
                return found
        assert found is not None
        return found

    def _may_downgrade(self) -> bool:
        """A caller who named the model wants no other, and what a rule lets lose no more than so much keeps to that."""
        job, purse = self.job, self.job.account.purse
        if purse is None or not purse.may_downgrade or job.decision.is_pinned:
            return False
        rules = frozenset(job.decision.rules)
        return all(rule.name not in rules or rule.require.tolerance_max is None for rule in job.policy.rules)

    def _is_to_downgrade(self, denial: Denial) -> bool:
        purse = self.job.account.purse
        budget = purse.budget(denial) if purse is not None else None
        return budget is not None and budget.when_exhausted == "downgrade" and self._may_downgrade()

    async def _held(self, model: str, floor: Floor, ticket: Ticket | None) -> Hold | Denial:
        job = self.job
        return await self.admission.hold(
            job.account,
            job.request,
            job.decision,
            model,
            job.policy,
            may_slice=job.may_slice,
            floor=floor,
            is_first_in_line=ticket is not None,
        )

    async def _decided(self, floor: Floor, ticket: Ticket | None) -> Hold | Denial:
        """The first of the decided models that fits, else the denial that waiting may still help against."""
        denial: Denial | None = None
        for model in self.models:
            found = await self._held(model, floor, ticket)
            if not isinstance(found, Denial):
                return found
            denial = found if denial is None or denial.is_settled else denial
        assert denial is not None
        return denial

    async def _others(self, denial: Denial, floor: Floor, ticket: Ticket | None) -> Hold | Denial:
        """The best of the other models that fits; the decision is then for it."""
        job, before = self.job, (self.job.decision, self.job.account.subject, self.job.account.promise)
        denied = set(self.models)
        while (decision := downgraded(before[0], denied)) is not None:
            model = next((each for each in decision.order if self.is_awake(each)), None)
            if model is None:
                break
            job.decision = decision
            job.account.promise = decision.promise
            job.account.subject = replace(
                before[1], reason=decision.reason, expected_loss=decision.expected_loss, promise=decision.promise
            )
            found = await self._held(model, floor, ticket)
            if not isinstance(found, Denial):
                self.admission.treasury.tell_denied(denial)
                return found
            denied.add(model)
        job.decision, job.account.subject, job.account.promise = before
        return denial

    async def _in_line(self, denial: Denial, deadline_s: float) -> Hold | Denial:
        clock, turns = self.admission.clock, self.admission.treasury.turns
        until_s = self._until_s(denial, clock.monotonic_s(), deadline_s)
        if clock.monotonic_s() >= until_s:
            return denial
        ticket = turns.join(denial)
        try:
            while (left_s := until_s - clock.monotonic_s()) > 0:
                if not await turns.wait(ticket, left_s):
                    continue
                found = await self._tried(ticket)
                if not isinstance(found, Denial):
                    return found
                turns.stay(ticket, found)
                until_s = min(until_s, self._until_s(found, clock.monotonic_s(), deadline_s))
            return ticket.denial
        finally:
            turns.leave(ticket)

    def _until_s(self, denial: Denial, now_s: float, deadline_s: float) -> float:
        """Until when it may wait; now where waiting cannot help."""
        purse = self.job.account.purse
        budget = purse.budget(denial) if purse is not None else None
        if budget is None or (denial.is_settled and budget.when_exhausted != "queue"):
            return now_s
        return min(now_s + budget.queue_s, deadline_s - _kept_for_the_call_s(self.job.policy.upstream))

    def _refused(self, denial: Denial) -> BudgetExhaustedError:
        account, purse = self.job.account, self.job.account.purse
        error = exhausted(denial, purse.budget(denial) if purse is not None else None)
        receipt = receipt_of(self.job.decision)
        self.admission.reject(Rejection(account.subject, self.admission.clock.now_ms(), error.code, receipt))
        return error


def _kept_for_the_call_s(upstream: Upstream) -> float:
    """What of the deadline is no time to wait in line: a call that is given less is paid for and seldom answered."""
    return min(upstream.connect_timeout_s + upstream.first_byte_timeout_s, upstream.deadline_s / 2)
