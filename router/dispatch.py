"""From a decision to an answer: attempts, retries with jitter, fallbacks, cooldown, all within one deadline.

An attempt that timed out after it was sent is never repeated at the same vendor, which may be billing it: the next
candidate is asked instead. Every attempt is written down and settled for itself, and held for itself in the budgets:
a fallback or a better model that they have no room for is not asked.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from router.affording import Affording
from router.agreement import agree
from router.answer_checks import failed_check
from router.answer_marks import marks_of
from router.budgets import Denial
from router.cascade import checks_for
from router.chat import Reply
from router.cooldown import NO_PROBE
from router.errors import (
    ProviderError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RouterError,
)
from router.estimate import Seen, seen_in_reply
from router.ledger import Rejection
from router.ports import Call
from router.replay import ReplyEvents
from router.treasury import exhausted
from router.unforeseen import unforeseen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from router.admission import Admission, Hold
    from router.cascade import Plan
    from router.chat import Wire
    from router.clock import Clock
    from router.cooldown import Cooldowns
    from router.job import Job
    from router.policy import Check, Upstream
    from router.ports import Ledger, Provider, ReplyStream

Answered = TypeVar("Answered")

BACKOFF_FIRST_S = 0.25
BACKOFF_MAX_S = 4.0
# With another candidate at hand, a vendor that asks for a longer pause than this is not waited for.
PATIENCE_S = 1.0
# How long a retry waits for the hold of the attempt before it to go back.
CATCH_UP_S = 1.0
# An attempt that the deadline has nearly reached is still given this long.
ATTEMPT_MIN_S = 0.5
# No other candidate is asked with less of the deadline left: it would be paid for and seldom answer.
FALLBACK_SHARE_MIN = 0.05
# A timeout says nothing of a deployment that was waited for less than so much of what the policy gives it.
FAIR_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Asks the models of a decision, in order, until one answers."""

    providers: Mapping[Wire, Provider]
    admission: Admission
    ledger: Ledger
    clock: Clock
    cooldowns: Cooldowns
    jitter: random.Random = field(default_factory=random.Random)

    async def complete(self, job: Job) -> tuple[Reply, Hold]:
        """The whole answer, and the hold to settle. Raises the last ProviderError when nobody answered."""
        return await self._told_of(
            job, self._checked(job) if job.decision.is_cascaded else self._first_answer(job, _whole)
        )

    async def open_stream(self, job: Job) -> tuple[ReplyStream, Hold]:
        """A stream that has begun, and the hold to settle. Raises the last ProviderError when none began."""
        if not job.decision.is_cascaded:
            return await self._told_of(job, self._first_answer(job, lambda provider, call: provider.open_stream(call)))
        reply, hold = await self._told_of(job, self._checked(job))
        return ReplyEvents(reply), hold

    async def _told_of(self, job: Job, work: Awaitable[Answered]) -> Answered:
        """The work's result; where it fails, the request's end is told."""
        try:
            return await work
        except BaseException:
            job.account.finish(self.admission.observer)
            raise

    async def _first_answer(
        self, job: Job, ask: Callable[[Provider, Call], Awaitable[Answered]]
    ) -> tuple[Answered, Hold]:
        deadline_s, models = self._deadline_s(job), self._awake(job)
        if job.account.purse is None:
            return await self._asked_in_turn(job, models, ask, deadline_s)
        models, hold = await self._afforded(job, models, deadline_s)
        return await self._asked_in_turn(job, models, ask, deadline_s, hold)

    async def _afforded(self, job: Job, models: list[str], deadline_s: float) -> tuple[list[str], Hold]:
        now_s = self.clock.monotonic_s()
        awake = partial(self._is_awake, now_s)
        return await Affording(self.admission, job, models, awake).first_hold(deadline_s)

    def _is_awake(self, now_s: float, model: str) -> bool:
        return self.cooldowns.rest_s(model, now_s) <= 0

    def _deadline_s(self, job: Job) -> float:
        return self.clock.monotonic_s() + job.policy.upstream.deadline_s

    async def _checked(self, job: Job) -> tuple[Reply, Hold]:
        """The first answer that passes the cascade's checks, else the last one; those before it are charged."""
        plan, account = job.decision.cascade, job.account
        assert plan is not None
        job.is_whole = True
        deadline_s, checks = self._deadline_s(job), checks_for(plan.verify, job.request, plan.verifier)
        confidence_min = 0.0 if job.policy.cascade is None else job.policy.cascade.confidence_min
        models, first = self._awake(job), None
        if account.purse is not None:
            models, first = await self._afforded(job, models, deadline_s)
        reply, hold = await self._asked_in_turn(job, models, _whole, deadline_s, first)
        if job.decision.cascade is None:
            return reply, hold  # downgraded: there is no money for a better one
        said: list[str] = []
        while True:
            is_last = len(said) + 1 >= plan.max_attempts
            check = failed_check(reply, job.request, checks, confidence_min, is_doubted=_is_doubted(plan, hold))
            if check is None and "agreement" in checks and not is_last:
                check = await self._disagreement(job, reply, hold, deadline_s)
            if check is None:
                break
            better = None if is_last else await self._better_answer(job, reply, hold, deadline_s)
            if better is None:
                said.append(f"failed:{check}")
                break
            hold.vendor_id = reply.vendor_id
            hold.escalate(reply.usage, check, reply.finish_reason, seen_in_reply(reply))
            said.append(f"escalated:{check}")
            reply, hold = better
        account.cascade = ", ".join(said) or "passed"
        return reply, hold

    async def _disagreement(self, job: Job, reply: Reply, hold: Hold, deadline_s: float) -> Check | None:
        """``agreement`` where a second answer of the model says something else; asked where a better one can be."""
        if not self._better_than(job, hold, deadline_s):
            return None
        second = await self._while_in_hand(job, [hold.intent.model], reply, hold, deadline_s)
        if second is None:
            return None
        other, spent = second
        spent.vendor_id = other.vendor_id
        spent.sample(other.usage, other.finish_reason, seen_in_reply(other))
        return None if agree(reply, other) else "agreement"

    async def _better_answer(self, job: Job, reply: Reply, hold: Hold, deadline_s: float) -> tuple[Reply, Hold] | None:
        """The answer of a better model; None where there is none, or none answers: then the one in hand is given."""
        models = self._better_than(job, hold, deadline_s)
        return await self._while_in_hand(job, models, reply, hold, deadline_s) if models else None

    def _better_than(self, job: Job, hold: Hold, deadline_s: float) -> list[str]:
        """The better models that may be asked now."""
        now_s = self.clock.monotonic_s()
        if now_s >= deadline_s:
            return []
        return [model for model in job.decision.better_than(hold.intent.model) if self._is_awake(now_s, model)]

    async def _while_in_hand(
        self, job: Job, models: Sequence[str], reply: Reply, hold: Hold, deadline_s: float
    ) -> tuple[Reply, Hold] | None:
        """Another answer while one is in hand; None where none comes."""
        try:
            return await self._asked_in_turn(job, models, _whole, deadline_s)
        except RouterError:
            return None
        except BaseException:
            # Cancelled: the answer in hand is paid for, and nobody will hear it.
            hold.vendor_id = reply.vendor_id
            hold.abandon(reply.usage, seen_in_reply(reply))
            raise

    async def _asked_in_turn(
        self,
        job: Job,
        models: Sequence[str],
        ask: Callable[[Provider, Call], Awaitable[Answered]],
        deadline_s: float,
        first: Hold | None = None,
    ) -> tuple[Answered, Hold]:
        """The first answer; ``first`` is the hold on the first model's first attempt where it is there already."""
        last: RouterError | None = None
        held = first
        for position, model in enumerate(models):
            has_other = position + 1 < len(models)
            for retry in range(job.policy.upstream.retries_max + 1):
                probe = NO_PROBE if retry else self._probe(job, model, deadline_s)
                if probe is None:
                    rests, held = self._rests(model, held), None
                    last = last or rests
                    break
                try:
                    hold, held = held or await self._hold(job, model), None
                    if isinstance(hold, Denial):
                        last = last or self._denied(job, hold)
                        break
                    answer = await self._attempt(job, hold, ask, deadline_s)
                finally:
                    self.cooldowns.end(model, probe)
                if not isinstance(answer, ProviderError):
                    return answer, hold
                last = answer
                pause_s = self._pause_s(answer, retry, has_other=has_other)
                is_over = retry == job.policy.upstream.retries_max or pause_s is None
                if is_over or self.clock.monotonic_s() + (pause_s or 0.0) >= deadline_s:
                    break
                await asyncio.sleep(pause_s or 0.0)
            left_s = deadline_s - self.clock.monotonic_s()
            if isinstance(last, ProviderRejectedError) or left_s < FALLBACK_SHARE_MIN * job.policy.upstream.deadline_s:
                break
        assert last is not None
        raise last

    async def _hold(self, job: Job, model: str) -> Hold | Denial:
        """The hold of an attempt that follows others, whose own holds may still be on their way back."""
        ask = partial(
            self.admission.hold,
            job.account,
            job.request,
            job.decision,
            model,
            job.policy,
            may_slice=job.may_slice,
        )
        hold = await ask()
        if isinstance(hold, Denial) and not hold.is_settled:
            await self.admission.treasury.catch_up(CATCH_UP_S)
            hold = await ask()
        return hold

    def _denied(self, job: Job, denial: Denial) -> RouterError:
        """What stands against an attempt that follows others; only the first attempt waits or is downgraded."""
        self.admission.treasury.tell_denied(denial)
        purse = job.account.purse
        return exhausted(denial, purse.budget(denial) if purse is not None else None)

    def _awake(self, job: Job) -> list[str]:
        """The models that do not rest, in order. Raises ProviderUnavailableError when all do."""
        now_s = self.clock.monotonic_s()
        rests = {model: self.cooldowns.rest_s(model, now_s) for model in job.decision.order}
        awake = [model for model in job.decision.order if rests[model] <= 0]
        if not awake:
            error = ProviderUnavailableError(
                f"every model that keeps the tolerance is cooling down after failures: {', '.join(rests)}",
                retry_after_s=min(rests.values()),
            )
            self.admission.reject(Rejection(job.account.subject, self.clock.now_ms(), error.code))
            raise error
        return awake

    def _probe(self, job: Job, model: str, deadline_s: float) -> int | None:
        """The probe that a first attempt is; None where others found the model unwell since it was chosen."""
        now_s = self.clock.monotonic_s()
        given = within(job.policy.upstream, deadline_s - now_s)
        return self.cooldowns.begin(model, now_s, given.connect_timeout_s + given.first_byte_timeout_s)

    def _rests(self, model: str, held: Hold | None) -> ProviderError:
        """What stands against a model that rests by now; where it is held for already, that goes back."""
        rest_s = self.cooldowns.rest_s(model, self.clock.monotonic_s())
        error = ProviderUnavailableError(f"{model} cools down after failures", retry_after_s=rest_s)
        if held is not None:
            held.fail(error, is_billed=False)
        return error

    async def _attempt(
        self, job: Job, hold: Hold, ask: Callable[[Provider, Call], Awaitable[Answered]], deadline_s: float
    ) -> Answered | ProviderError:
        model = hold.intent.model
        provider = self.providers[job.policy.models[model].wire]
        answer: Answered | None = None
        call = self._call(job, hold, deadline_s)
        try:
            answer = await _understood(ask, provider, call)
            # The disk has been at it while the vendor worked: a power-safe copy is due before the first byte goes back.
            await self.ledger.sync(hold.place)
        except ProviderError as error:
            self.cooldowns_after(model, error, is_fair=is_fair(call.upstream, job.policy.upstream))
            hold.fail(error, is_billed=error.is_billed, seen=Seen(text_bytes=error.seen_bytes))
            return error
        except RouterError as error:
            # The ledger lost its disk: the vendor is paid, and what it answered goes to nobody.
            hold.fail(error, is_billed=True, usage=getattr(answer, "usage", None), seen=_seen_in(answer))
            await _let_go(answer)
            raise
        except BaseException:
            # Cancelled: the vendor may be billing, and nobody will hear the answer.
            hold.abandon(getattr(answer, "usage", None), _seen_in(answer))
            await _let_go(answer)
            raise
        self.cooldowns.succeeded(model)
        hold.mark_first_byte()
        if isinstance(answer, Reply) and job.leaves_marks:
            hold.marks = marks_of(answer, job.request, hold.candidate.output_tokens)
        return answer

    def _call(self, job: Job, hold: Hold, deadline_s: float) -> Call:
        return Call(
            request=job.request,
            deployment=job.deployments[hold.intent.model],
            attempt_id=f"{job.decision.decision_id}-{hold.intent.attempt}",
            output_tokens_max=hold.candidate.output_tokens_max,
            upstream=within(job.policy.upstream, deadline_s - self.clock.monotonic_s()),
            lasts_max_s=self._lasts_max_s(job, hold),
            dropped=frozenset(hold.candidate.dropped),
            raw_surface=job.request.surface,
            wants_logprobs=job.checks_logprobs and "logprobs" in job.policy.models[hold.intent.model].card.capabilities,
            is_sliced=hold.cover is not None and hold.cover.is_sliced,
        )

    def _lasts_max_s(self, job: Job, hold: Hold) -> float:
        """How long an attempt may last: one pause less than its lease, which would close it at its worst case.

        At least half of the lease, where somebody leases for less than two pauses.
        """
        lease_s = (hold.intent.lease_expires_ms - self.clock.now_ms()) / 1000
        return max(lease_s - job.policy.upstream.between_bytes_timeout_s, lease_s / 2)

    def cooldowns_after(self, model: str, error: ProviderError, *, is_fair: bool) -> None:
        """Count what speaks of the deployment's health, not what speaks of the request or of the time it was given."""
        is_cut_short = isinstance(error, ProviderTimeoutError) and not is_fair
        if not isinstance(error, ProviderRejectedError) and not is_cut_short:
            self.cooldowns.failed(model, self.clock.monotonic_s(), retry_after_s=error.retry_after_s)

    def _pause_s(self, error: ProviderError, retry: int, *, has_other: bool) -> float | None:
        """Seconds until the same vendor may be asked again; None when it must not be."""
        if not isinstance(error, ProviderUnavailableError):
            return None
        backoff_s = self.jitter.uniform(0, min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2**retry))
        pause_s = max(backoff_s, error.retry_after_s or 0.0)
        return None if has_other and pause_s > PATIENCE_S else pause_s


def _is_doubted(plan: Plan, hold: Hold) -> bool:
    """Whether labels leave the answer too small a chance of being good."""
    if plan.verifier is None or hold.marks is None:
        return False
    return plan.verifier.doubts(hold.candidate.quality, hold.marks)


def within(upstream: Upstream, left_s: float) -> Upstream:
    """The same waits, cut so that connecting and the first byte together end within ``left_s`` seconds."""
    left_s = max(left_s, ATTEMPT_MIN_S)
    if upstream.connect_timeout_s + upstream.first_byte_timeout_s <= left_s:
        return upstream
    connect_s = min(upstream.connect_timeout_s, left_s / 2)
    first_byte_s = min(upstream.first_byte_timeout_s, left_s - connect_s)
    return replace(upstream, connect_timeout_s=connect_s, first_byte_timeout_s=first_byte_s)


def is_fair(given: Upstream, policy: Upstream) -> bool:
    """Whether an attempt was given about as long as the policy gives one that begins at once."""
    full = within(policy, policy.deadline_s)
    most_s = full.connect_timeout_s + full.first_byte_timeout_s
    return given.connect_timeout_s + given.first_byte_timeout_s >= FAIR_SHARE * most_s


def _seen_in(answer: object) -> Seen:
    """What is known of an answer that will go to nobody: a whole one, a stream that has begun, or none."""
    if isinstance(answer, Reply):
        return seen_in_reply(answer)
    return Seen(counted=getattr(answer, "usage_so_far", None))


async def _understood(ask: Callable[[Provider, Call], Awaitable[Answered]], provider: Provider, call: Call) -> Answered:
    """What the vendor answered. An answer that breaks the code which reads it is the vendor's failure, and billed."""
    try:
        return await ask(provider, call)
    except RouterError:
        raise
    except Exception as error:  # noqa: BLE001  # what a vendor sends has no bounds, and its attempt needs an end
        raise unforeseen(call.deployment.name, error) from None


async def _whole(provider: Provider, call: Call) -> Reply:
    return await provider.complete(call)


async def _let_go(answer: object) -> None:
    """Close what nobody will read: a stream that is left open holds its connection, and its vendor writes on."""
    close = getattr(answer, "aclose", None)
    if close is not None:
        await close()
