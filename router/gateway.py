"""The product on one screen: bytes are parsed before this file and rendered after it; everything between is here.

    Request -> decide -> guard -> hold -> call -> settle -> Answer

``decide`` is pure. Guards stop what runs away, in memory and without waiting. Each call is held in every budget that
the request falls under, and written down, before a vendor is called; both are settled on every path: answer, vendor
error, client gone, cancellation, crash (by lease).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from router.admission import Account
from router.calibration import NO_CALIBRATIONS
from router.context_bill import CONTEXT_TOKENS_MIN, ContextSeen
from router.decide import decide
from router.errors import RouterError
from router.estimate import NOTHING_SEEN, seen_in_reply
from router.job import Job
from router.ledger import Rejection
from router.receipt import receipt_of
from router.repeats import Repeats
from router.stream import AnswerStream, Background
from router.subject import refused_subject_of, subject_of
from router.trim import cut_out
from router.warmth import WarmCaches, beginnings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from router.admission import Admission
    from router.bill import Bill
    from router.calibration import Calibrations
    from router.chat import Reply, Request, Surface
    from router.clock import Clock
    from router.decision import Decision
    from router.dispatch import Dispatch
    from router.guarding import Guarding, Watch
    from router.policy import Caller, Policy, Terms
    from router.ports import Deployment
    from router.quality import QualityModel


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer and its bill."""

    reply: Reply
    bill: Bill


@dataclass(frozen=True, slots=True)
class InForce:
    """What is in force right now: a policy revision, where its models are reached, calibrations. Swapped whole."""

    policy: Policy
    deployments: Mapping[str, Deployment]
    calibrations: Calibrations = NO_CALIBRATIONS


@dataclass(frozen=True, slots=True)
class Gateway:
    """The request path."""

    in_force: Callable[[], InForce]
    quality: QualityModel
    guarding: Guarding
    admission: Admission
    dispatch: Dispatch
    clock: Clock
    background: Background
    salt: bytes
    caches: WarmCaches = field(default_factory=WarmCaches)
    repeats: Repeats = field(default_factory=Repeats)

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.in_force().policy

    async def answer(self, request: Request, caller: Caller, terms: Terms) -> Answer:
        """Decide, call, settle. Raises RequestError, AdmissionError, ProviderError or StoreError."""
        job = self._job(request, caller, terms)
        try:
            reply, hold = await self.dispatch.complete(job)
        except RouterError as error:
            error.decision_id = job.decision.decision_id
            raise
        hold.vendor_id = reply.vendor_id
        job.hears(reply)
        seen = NOTHING_SEEN if hold.accepts(reply.usage) else seen_in_reply(reply)
        hold.settle(reply.usage, "answered", finish_reason=reply.finish_reason, seen=seen)
        return Answer(reply, hold.bill())

    async def open_stream(self, request: Request, caller: Caller, terms: Terms) -> AnswerStream:
        """The same for a stream, which settles when it ends, breaks, or its client leaves."""
        job = self._job(request, caller, terms)
        try:
            stream, hold = await self.dispatch.open_stream(job)
        except RouterError as error:
            error.decision_id = job.decision.decision_id
            raise
        return AnswerStream(stream, hold, job, background=self.background)

    def route(self, request: Request, caller: Caller, terms: Terms) -> Decision:
        """The decision alone: nothing is called, held or written."""
        warm = self.caches.known(beginnings_of(request), self.clock.monotonic_s())
        decision_id = new_decision_id(self.clock)
        now = self.in_force()
        return decide(
            request,
            caller,
            terms,
            now.policy,
            self.quality,
            decision_id=decision_id,
            warm=warm,
            calibrations=now.calibrations,
        )

    def reject(self, error: RouterError, caller: Caller, terms: Terms, surface: Surface) -> str:
        """Write down a request that was refused before it could be decided; returns its decision id."""
        decision_id = new_decision_id(self.clock)
        subject = refused_subject_of(decision_id, surface, caller, terms, self.policy, self.quality.revision)
        self.admission.reject(Rejection(subject, self.clock.now_ms(), error.code))
        return decision_id

    def _job(self, request: Request, caller: Caller, terms: Terms) -> Job:
        started_s = self.clock.monotonic_s()
        now = self.in_force()
        decision_id = new_decision_id(self.clock)
        beginnings = beginnings_of(request)
        warm = self.caches.known(beginnings, started_s)
        try:
            decision = decide(
                request,
                caller,
                terms,
                now.policy,
                self.quality,
                decision_id=decision_id,
                warm=warm,
                calibrations=now.calibrations,
            )
        except RouterError as error:
            error.decision_id = self.reject(error, caller, terms, request.surface)
            raise
        decision, watch = self._guarded(request, caller, terms, decision, now.policy)
        subject = subject_of(request, caller, terms, decision, self.salt, watch.lineage_id)
        if decision.trim is not None:
            request = cut_out(request, decision.trim.cuts)
            beginnings = beginnings_of(request)
        learn = partial(self.caches.learned, beginnings)
        account = Account(
            subject,
            started_s,
            learn,
            promise=decision.promise,
            purse=self.admission.treasury.purse_of(now.policy, caller, subject),
            watch=watch,
            context=decision.context_warning,
            seen=self._seen(request, caller, decision),
            is_premium_able=decision.is_premium_able,
        )
        return Job(request, decision, account, now.policy, now.deployments)

    def _seen(self, request: Request, caller: Caller, decision: Decision) -> ContextSeen | None:
        """What a long input is made of, and what of it was sent before; None of a short one."""
        if sum(decision.context.values()) < CONTEXT_TOKENS_MIN:
            return None
        return ContextSeen(decision.context, self.repeats.look(request, caller.key_id))

    def _guarded(
        self, request: Request, caller: Caller, terms: Terms, decision: Decision, policy: Policy
    ) -> tuple[Decision, Watch]:
        """What guards leave of the decision; one that they refuse is written down."""
        try:
            return self.guarding.admit(request, caller, terms, decision, policy)
        except RouterError as error:
            error.decision_id = decision.decision_id
            subject = subject_of(request, caller, terms, decision, self.salt)
            self.admission.reject(Rejection(subject, self.clock.now_ms(), error.code, receipt_of(decision)))
            raise


def new_decision_id(clock: Clock) -> str:
    """An id that sorts by time: 12 hex digits of milliseconds, 16 of chance."""
    return f"dec_{clock.now_ms():012x}{next(CHANCE)}"


def _chance() -> Iterator[str]:
    """Sixteen hex digits at a time; the system is asked for many at once, since each asking costs as much as a hash."""
    while True:
        pool = secrets.token_hex(CHANCE_BYTES * CHANCES)
        yield from (pool[start : start + 2 * CHANCE_BYTES] for start in range(0, len(pool), 2 * CHANCE_BYTES))


CHANCE_BYTES, CHANCES = 8, 256
CHANCE = _chance()
