"""From a decision to an answer: attempts, retries with jitter, fallbacks, cooldown, all within one deadline.

An attempt that timed out after it was sent is never repeated at the same vendor, which may be billing it: the next
candidate is asked instead. Every attempt is written down and settled for itself.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from router.answer_checks import failed_check
from router.cascade import checks_for
from router.chat import Reply
from router.errors import ProviderError, ProviderRejectedError, ProviderUnavailableError, RouterError
from router.estimate import Seen, seen_in_reply
from router.ledger import Rejection
from router.ports import Call
from router.replay import ReplyEvents

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from router.admission import Account, Admission, Hold
    from router.chat import Request, Wire
    from router.clock import Clock
    from router.cooldown import Cooldowns
    from router.decision import Decision
    from router.policy import Policy, Upstream
    from router.ports import Deployment, Ledger, Provider, ReplyStream

Answered = TypeVar("Answered")

BACKOFF_FIRST_S = 0.25
BACKOFF_MAX_S = 4.0
# With another candidate at hand, a vendor that asks for a longer pause than this is not waited for.
PATIENCE_S = 1.0
# An attempt that the deadline has nearly reached is still given this long.
ATTEMPT_MIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Job:
    """One request on its way, with the revision of everything that it was decided under."""

    request: Request
    decision: Decision
    account: Account
    policy: Policy
    deployments: Mapping[str, Deployment]

    @property
    def is_cascaded(self) -> bool:
        """Whether answers are checked, and a better model asked where a check fails."""
        plan = self.decision.cascade
        return plan is not None and bool(plan.models)


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
        return await self._told_of(job, self._checked(job) if job.is_cascaded else self._first_answer(job, _whole))

    async def open_stream(self, job: Job) -> tuple[ReplyStream, Hold]:
        """A stream that has begun, and the hold to settle. Raises the last ProviderError when none began."""
        if not job.is_cascaded:
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
        return await self._asked_in_turn(job, self._awake(job), ask, self._deadline_s(job))

    def _deadline_s(self, job: Job) -> float:
        return self.clock.monotonic_s() + job.policy.upstream.deadline_s

    async def _checked(self, job: Job) -> tuple[Reply, Hold]:
        """The first answer that passes the cascade's checks, else the last one; those before it are charged."""
        plan, account = job.decision.cascade, job.account
        assert plan is not None
        deadline_s, checks = self._deadline_s(job), checks_for(plan.verify, job.request)
        reply, hold = await self._asked_in_turn(job, self._awake(job), _whole, deadline_s)
        said: list[str] = []
        while (check := failed_check(reply, job.request, checks)) is not None:
            is_last = len(said) + 1 >= plan.max_attempts
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

    async def _better_answer(self, job: Job, reply: Reply, hold: Hold, deadline_s: float) -> tuple[Reply, Hold] | None:
        """The answer of a better model; None where there is none, or none answers: then the one in hand is given."""
        now_s = self.clock.monotonic_s()
        models = job.decision.better_than(hold.intent.model)
        awake = [model for model in models if self.cooldowns.rest_s(model, now_s) <= 0]
        if not awake or now_s >= deadline_s:
            return None
        try:
            return await self._asked_in_turn(job, awake, _whole, deadline_s)
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
    ) -> tuple[Answered, Hold]:
        last: ProviderError | None = None
        for position, model in enumerate(models):
            has_other = position + 1 < len(models)
            for retry in range(job.policy.upstream.retries_max + 1):
                answer, hold = await self._attempt(job, model, ask, deadline_s)
                if not isinstance(answer, ProviderError):
                    return answer, hold
                last = answer
                pause_s = self._pause_s(last, retry, has_other=has_other)
                is_over = retry == job.policy.upstream.retries_max or pause_s is None
                if is_over or self.clock.monotonic_s() + (pause_s or 0.0) >= deadline_s:
                    break
                await asyncio.sleep(pause_s or 0.0)
            if isinstance(last, ProviderRejectedError) or self.clock.monotonic_s() >= deadline_s:
                break
        assert last is not None
        raise last

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

    async def _attempt(
        self, job: Job, model: str, ask: Callable[[Provider, Call], Awaitable[Answered]], deadline_s: float
    ) -> tuple[Answered | ProviderError, Hold]:
        hold = await self.admission.hold(job.account, job.request, job.decision, model, job.policy)
        provider = self.providers[job.policy.models[model].wire]
        answer: Answered | None = None
        try:
            answer = await ask(provider, self._call(job, hold, deadline_s))
            # The disk has been at it while the vendor worked: a power-safe copy is due before the first byte goes back.
            await self.ledger.sync(hold.place)
        except ProviderError as error:
            self.cooldowns_after(model, error)
            hold.fail(error, is_billed=error.is_billed, seen=Seen(text_bytes=error.seen_bytes))
            return error, hold
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
        return answer, hold

    def _call(self, job: Job, hold: Hold, deadline_s: float) -> Call:
        return Call(
            request=job.request,
            deployment=job.deployments[hold.intent.model],
            attempt_id=f"{job.decision.decision_id}-{hold.intent.attempt}",
            output_tokens_max=hold.candidate.output_tokens_max,
            upstream=within(job.policy.upstream, deadline_s - self.clock.monotonic_s()),
            dropped=frozenset(hold.candidate.dropped),
            raw_surface=job.request.surface,
        )

    def cooldowns_after(self, model: str, error: ProviderError) -> None:
        """Count what speaks of the deployment's health, not what speaks of the request."""
        if not isinstance(error, ProviderRejectedError):
            self.cooldowns.failed(model, self.clock.monotonic_s(), retry_after_s=error.retry_after_s)

    def _pause_s(self, error: ProviderError, retry: int, *, has_other: bool) -> float | None:
        """Seconds until the same vendor may be asked again; None when it must not be."""
        if not isinstance(error, ProviderUnavailableError):
            return None
        backoff_s = self.jitter.uniform(0, min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2**retry))
        pause_s = max(backoff_s, error.retry_after_s or 0.0)
        return None if has_other and pause_s > PATIENCE_S else pause_s


def within(upstream: Upstream, left_s: float) -> Upstream:
    """The same waits, cut so that connecting and the first byte together end within ``left_s`` seconds."""
    left_s = max(left_s, ATTEMPT_MIN_S)
    if upstream.connect_timeout_s + upstream.first_byte_timeout_s <= left_s:
        return upstream
    connect_s = min(upstream.connect_timeout_s, left_s / 2)
    first_byte_s = min(upstream.first_byte_timeout_s, left_s - connect_s)
    return replace(upstream, connect_timeout_s=connect_s, first_byte_timeout_s=first_byte_s)


def _seen_in(answer: object) -> Seen:
    """What is known of an answer that will go to nobody: a whole one, a stream that has begun, or none."""
    if isinstance(answer, Reply):
        return seen_in_reply(answer)
    return Seen(counted=getattr(answer, "usage_so_far", None))


async def _whole(provider: Provider, call: Call) -> Reply:
    return await provider.complete(call)


async def _let_go(answer: object) -> None:
    """Close what nobody will read: a stream that is left open holds its connection, and its vendor writes on."""
    close = getattr(answer, "aclose", None)
    if close is not None:
        await close()
