"""The keeper of the gate: asked before a vendor is called, told afterwards. Pure, in memory, never waiting.

    keeper.admit(request, caller, terms, decision, bounds, now_ms) -> Verdict, or raises what refuses the request
    keeper.observe(verdict.mark, ...)                               when the request has ended

What it saw waits in ``outbox`` for whoever carries it to other gateways; ``fold`` takes in what they saw.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from router.errors import BudgetStoreUnavailableError
from router.guards.book import Book
from router.guards.events import Asked, Done, Event, Ruled
from router.guards.fingerprints import digest, simhash, words_of
from router.guards.kinship import place_of
from router.guards.ladder import RUNGS, TOUCH_EVERY_MS, Action, gate_of, next_quiet_ms, rung_of
from router.guards.outcomes import progress_in
from router.guards.reading import answer_pieces, chars_of, reading_of, said_digest
from router.guards.rules import SAME_SAID_CHARS, findings
from router.guards.state import Case, scope_id_of
from router.guards.trips import Actor, trip_of
from router.guards.verdicts import Mark, Verdict, refusal_of, stopped_again
from router.lineage import Ticket, opened, seal
from router.policy import Guards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from router.chat import Part, Request
    from router.guards.reading import Reading, Systems
    from router.guards.rules import Finding
    from router.guards.verdicts import Decided
    from router.ledger import GuardTrip
    from router.policy import Caller, Terms

OUTBOX_MAX = 50_000
BATCH_TAG = "batch"
YES = frozenset({"true", "1", "yes"})
FALLBACK = Guards()
# Keys and teams are the installation's own: few, and looked up at every request.
CALLERS_KEPT = 4_096


@dataclass(slots=True)
class Keeper:
    """One for each process. ``report`` is handed every trip: it must neither block nor raise.

    ``is_away`` is set while what other gateways saw cannot be read.
    """

    salt: bytes
    report: Callable[[GuardTrip], None]
    book: Book = field(default_factory=Book)
    outbox: list[Event] = field(default_factory=list)
    is_away: bool = False
    systems: Systems = field(default_factory=dict)
    bounds: Guards = FALLBACK
    latest_ms: int = 0

    def admit(
        self, request: Request, caller: Caller, terms: Terms, decision: Decided, bounds: Guards, now_ms: int
    ) -> Verdict:
        """Let the request through, or raise.

        Raises LoopDetectedError and FanoutExceededError (stopped), RateLimitedError (throttled, with
        ``data["retry_after_s"]``), BudgetStoreUnavailableError where the guards' state is away and the policy says so.
        """
        self.bounds = bounds
        now_ms = self.latest_ms = max(now_ms, self.latest_ms)
        event, key = self._event(request, caller, terms, decision, now_ms)
        ticket = self._ticket(event, caller)
        lineage_id = scope_id_of("lineage", event.root)
        if not bounds.is_on:
            return Verdict("allow", None, {}, ticket, lineage_id, None)
        if self.is_away and bounds.rejects_without_state:
            message = (
                "what other gateways saw cannot be read, and the policy says `guards.when_state_unavailable: reject`"
            )
            raise BudgetStoreUnavailableError(message)
        owner = Actor(caller.team, caller.project, caller.key_id, decision.decision_id)
        verdict = self._ruled(event, owner, decision, terms, caller, bounds)
        event = verdict[2]
        self._tell(event)
        action, finding, _, guard_id = verdict
        evidence = {} if finding is None else finding.evidence
        guard = None if finding is None else finding.guard
        return Verdict(action, guard, evidence, ticket, lineage_id, Mark(event, key), guard_id)

    def observe(
        self,
        mark: Mark | None,
        *,
        now_ms: int,
        outcome: str,
        cost_nanousd: int,
        parts: Iterable[Part] = (),
    ) -> None:
        """The request has ended: what it cost in all, and what was answered, of which only digests are kept.

        ``outcome`` is a settlement's. Never raises on any answer; may be called once.
        """
        if mark is None:
            return
        asked, parts = mark.asked, tuple(parts)
        chars = chars_of(parts)
        said = said_digest(mark.key, parts) if parts else 0
        self.latest_ms = max(now_ms, self.latest_ms)
        self._tell(
            Done(
                time_ms=self.latest_ms,
                owner=asked.owner,
                team=asked.team,
                session=asked.session,
                root=asked.root,
                node=asked.whole,
                pattern=asked.pattern,
                bare=asked.bare if chars >= SAME_SAID_CHARS else 0,
                is_over=asked.is_over,
                expected_nanousd=asked.expected_nanousd,
                cost_nanousd=cost_nanousd,
                is_answered=outcome == "answered",
                said=said,
                said_chars=chars,
                pieces=answer_pieces(mark.key, parts),
            )
        )

    def release(self, scope_id: str, now_ms: int, by: Actor | None = None) -> Case | None:
        """End a stop or throttle at once; None where nothing is known of the scope."""
        return self._operator("release", scope_id, now_ms, 0, by)

    def exempt(self, scope_id: str, now_ms: int, until_ms: int, by: Actor | None = None) -> Case | None:
        """Let everything of the scope through until then; a scope that nothing is known of is exempt all the same."""
        if self.book.cases.get(scope_id) is None:
            scope = scope_id.partition("-")[0]
            self.book.cases.put(scope_id, Case("operator", _guard_id(self.salt, scope_id, now_ms), scope, 0, now_ms))
        return self._operator("exempt", scope_id, now_ms, until_ms, by)

    def fold(self, events: Iterable[Event]) -> None:
        """Take in what other gateways saw, or what this one saw before a restart."""
        for event in events:
            self.latest_ms = max(self.latest_ms, event.time_ms)
            self.book.fold(event, self.bounds)

    def cases(self, now_ms: int) -> list[tuple[str, Case]]:
        """Every scope that is on the ladder or exempt, the newest first."""
        live = [
            (scope_id, case)
            for scope_id, case in self.book.cases.items()
            if case.is_stopped or case.exempt_until_ms > now_ms or now_ms - case.asked_ms <= self.bounds.window_ms
        ]
        return sorted(live, key=lambda each: -each[1].asked_ms)

    def _tell(self, event: Event) -> None:
        self.fold((event,))
        self.outbox.append(event)
        if len(self.outbox) > OUTBOX_MAX:
            del self.outbox[: OUTBOX_MAX // 2]

    def _operator(self, what: str, scope_id: str, now_ms: int, until_ms: int, by: Actor | None) -> Case | None:
        case = self.book.cases.get(scope_id)
        if case is None:
            return None
        now_ms = self.latest_ms = max(now_ms, self.latest_ms)
        owner = by or Actor(case.team, case.project, case.key_id, None)
        self.report(
            trip_of(
                case, scope_id, what, owner, now_ms, evidence={"refused": case.refused}, until_ms=until_ms or None,
                by="operator",
            )
        )  # fmt: skip
        self._rule(what, scope_id, case, now_ms, owner, until_ms=until_ms)
        return case

    def _event(
        self, request: Request, caller: Caller, terms: Terms, decision: Decided, now_ms: int
    ) -> tuple[Asked, bytes]:
        who = caller.key_id or ""
        key, owner = owner_of(self.salt, who)
        reading = reading_of(request, key, self.systems, now_ms / 1000)
        cost_nanousd = max(decision.candidate(decision.order[0]).expected_cost_nanousd or 0, 0)
        ticket = _opened(terms, caller, self.salt, now_ms)
        place = place_of(self.book, reading, request, key, ticket, now_ms, cost_nanousd)
        pattern = self.book.patterns.peek(reading.pattern)
        event = Asked(
            time_ms=now_ms,
            owner=owner,
            team=team_of(self.salt, caller.team) if caller.team else 0,
            session=digest(self.salt, "session", who, terms.session_id) if terms.session_id else 0,
            root=place.root,
            parent=place.parent,
            depth=place.depth,
            is_agent=place.is_agent,
            is_fast=place.is_fast,
            is_over=False,
            is_retry=pattern is not None and pattern.failed > 0,
            expected_nanousd=cost_nanousd,
            whole=reading.whole,
            pattern=reading.pattern,
            bare=reading.bare,
            turn=reading.turn,
            call=reading.call,
            kind=reading.kind,
            # What opens a conversation is near to nothing yet.
            near=_near(key, reading) if place.parent else 0,
            head=reading.head,
            turn_chars=place.new_chars,
            said_chars=reading.said_chars,
            is_error=reading.is_error,
            stamps=reading.stamps,
            outline=reading.outline,
        )
        return event, key

    def _ticket(self, event: Asked, caller: Caller) -> str:
        return seal(Ticket(event.root, event.whole, event.depth, event.time_ms // 1000), _holder(caller), self.salt)

    def _ruled(
        self, event: Asked, owner: Actor, decision: Decided, terms: Terms, caller: Caller, bounds: Guards
    ) -> tuple[Action, Finding | None, Asked, str | None]:
        if self._is_exempt(event, owner):
            return "allow", None, event, None
        is_probe = self._pass_gates(event, owner, bounds)
        tags = {**caller.tags, **terms.tags}
        is_declared = terms.idempotency_key is not None or tags.get(BATCH_TAG, "").lower() in YES
        node = self.book.next_node(event)
        best: tuple[Action, Finding | None, str | None] = ("tag" if is_probe else "allow", None, None)
        for finding in () if is_probe else findings(self.book, event, node, bounds, is_declared=is_declared):
            case = self.book.cases.get(finding.scope_id)
            action = rung_of(finding, case, is_declared_fixed=decision.is_pinned)
            guard_id = self._trip(event, finding, action, owner, bounds)
            if finding.counts_as_over:
                event = event._replace(is_over=True)
            if RUNGS.index(action) > RUNGS.index(best[0]):
                best = (action, finding, guard_id)
        action, found, tripped = best
        if action in ("throttle", "stop") and found is not None:
            raise refusal_of(action, found, tripped or "", bounds)
        return action, found, event, tripped

    def _is_exempt(self, event: Asked, owner: Actor) -> bool:
        is_exempt = False
        for scope_id in self._scopes(event):
            case = self.book.cases.peek(scope_id)
            if case is None or not case.exempt_until_ms:
                continue
            if case.exempt_until_ms > event.time_ms:
                is_exempt = True
            else:  # what passed meanwhile counts no more
                self._rule("close", scope_id, case, event.time_ms, owner)
        return is_exempt

    def _scopes(self, event: Asked) -> Iterable[str]:
        """The scopes that may be on the ladder: none while nothing is."""
        return _scopes(event) if len(self.book.cases) else ()

    def _pass_gates(self, event: Asked, owner: Actor, bounds: Guards) -> bool:
        """Whether this call is a probe; raises where a stop holds."""
        is_probe = False
        for scope_id in self._scopes(event):
            case = self.book.cases.peek(scope_id)
            gate = gate_of(case, event.time_ms, bounds.window_ms)
            if case is None or gate == "open":
                continue
            if gate == "served":
                self._rule("close", scope_id, case, event.time_ms, owner)
            elif gate == "probe":
                self._rule("probe", scope_id, case, event.time_ms, owner)
                self.report(trip_of(case, scope_id, "probe", owner, event.time_ms, evidence={"refused": case.refused}))
                is_probe = True
            elif gate == "shut" or case.scope == "pattern":
                self._shut(case, scope_id, event, owner, bounds, is_relapse=gate == "probation")
        return is_probe

    def _shut(self, case: Case, scope_id: str, event: Asked, owner: Actor, bounds: Guards, *, is_relapse: bool) -> None:
        """Refuse a call of a stopped scope; the silence that ends the stop begins anew."""
        case.refused += 1
        case.asked_ms = event.time_ms
        evidence = {"refused": case.refused}
        if is_relapse:
            self._rule("stop", scope_id, case, event.time_ms, owner, quiet_ms=next_quiet_ms(case, bounds.window_ms))
            self.report(trip_of(case, scope_id, "stop", owner, event.time_ms, evidence=evidence))
        elif event.time_ms - case.touched_ms >= TOUCH_EVERY_MS:
            case.touched_ms = event.time_ms
            self._rule("touch", scope_id, case, event.time_ms, owner)
        raise stopped_again(case, scope_id)

    def _trip(self, event: Asked, finding: Finding, action: Action, owner: Actor, bounds: Guards) -> str:
        """Write down that a scope went up the ladder: once for each rung; returns the trip's id."""
        now_ms, scope_id = event.time_ms, finding.scope_id
        case = self.book.cases.get(scope_id)
        window_ms = max(bounds.window_ms, finding.quiet_ms)
        if case is None or (not case.is_stopped and now_ms - case.asked_ms > window_ms):
            guard_id = _guard_id(self.salt, scope_id, now_ms)
            case = self.book.cases.put(
                scope_id, Case(finding.guard, guard_id, finding.scope, window_ms, now_ms, opened_ms=now_ms)
            )
        case.asked_ms, rank = now_ms, RUNGS.index(action)
        case.spent_nanousd = max(case.spent_nanousd, finding.leaked_nanousd)
        case.team, case.project, case.key_id = owner.team, owner.project, owner.key_id
        if action in ("throttle", "stop"):
            case.refused += 1
        if rank > case.told or action == "stop":
            case.told = rank
            until = now_ms + next_quiet_ms(case, window_ms) if action == "stop" else None
            leaked = max(finding.leaked_nanousd - (event.expected_nanousd if action in ("throttle", "stop") else 0), 0)
            self.report(
                trip_of(
                    case, scope_id, action, owner, now_ms,
                    evidence=finding.evidence, leaked_nanousd=leaked, until_ms=until, guard=finding.guard,
                )
            )  # fmt: skip
        if action == "stop":
            case.guard = finding.guard
            self._rule("stop", scope_id, case, now_ms, owner, quiet_ms=next_quiet_ms(case, window_ms))
        elif action == "throttle" and finding.most == "stop":
            self._rule("strike", scope_id, case, now_ms, owner)
        return case.guard_id

    def _rule(
        self, what: str, scope_id: str, case: Case, now_ms: int, owner: Actor, *, quiet_ms: int = 0, until_ms: int = 0
    ) -> None:
        self._tell(
            Ruled(
                now_ms, what, scope_id, case.scope, case.guard, case.guard_id, quiet_ms, until_ms,
                owner.team, owner.project, owner.key_id,
            )
        )  # fmt: skip


@lru_cache(maxsize=CALLERS_KEPT)
def owner_of(salt: bytes, key_id: str) -> tuple[bytes, int]:
    """The key that an owner's digests are made with, and the owner's own."""
    return digest(salt, "owner", key_id).to_bytes(8, "big") + salt[:24], digest(salt, "key", key_id)


@lru_cache(maxsize=CALLERS_KEPT)
def team_of(salt: bytes, team: str) -> int:
    """A team's digest."""
    return digest(salt, "team", team)


def _scopes(event: Asked) -> Iterable[str]:
    yield scope_id_of("pattern", event.pattern)
    if event.bare:
        yield scope_id_of("pattern", event.bare)
    yield scope_id_of("lineage", event.root)
    yield scope_id_of("key", event.owner)
    if event.session:
        yield scope_id_of("session", event.session)


def _near(key: bytes, reading: Reading) -> int:
    """The newest turn's fingerprint; a tool's is another one with every step of what it counts."""
    near = simhash(words_of(key, reading.plain))
    marks = progress_in(reading.plain) if near and reading.kind == "tool" else None
    return near ^ digest(key, *marks) if marks else near


def _holder(caller: Caller) -> str:
    return f"team:{caller.team}" if caller.team else f"key:{caller.key_id or ''}"


def _opened(terms: Terms, caller: Caller, salt: bytes, now_ms: int) -> Ticket | None:
    return opened(terms.lineage, _holder(caller), salt, now_ms)


def _guard_id(salt: bytes, scope_id: str, now_ms: int) -> str:
    return f"grd_{now_ms:012x}{digest(salt, 'guard', scope_id, now_ms) >> 32:08x}"
