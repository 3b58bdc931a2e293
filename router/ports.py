"""What the application needs of the world. Protocols, not base classes: an adapter is whatever fits."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from router.budgets import Balance, Claim, Denial, Expired, Grant, OpenHold
    from router.chat import Reply, Request, StreamEvent, Surface
    from router.guards import Event
    from router.ledger import (
        ContextUse,
        GuardTrip,
        Intent,
        Line,
        Rejection,
        RequestQuery,
        RequestRow,
        RequestTotals,
        Settlement,
        Spend,
        Standing,
        TripQuery,
    )
    from router.policy import PolicyModel, Upstream
    from router.tokens import TokenUsage


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where a model is reached: its base URL as the vendor's own SDK takes it, and the key, which never prints."""

    model: PolicyModel
    api_base: str
    api_key: str = field(repr=False)

    @property
    def name(self) -> str:
        """Who is asked for which model, as errors say it: the host, which need not be the model's maker."""
        return f"{self.model.provider_model.partition('/')[0]} ({self.model.id})"


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt at one deployment.

    ``output_tokens_max`` is always written upstream. ``dropped`` names settings to leave out because the model
    refuses them. ``raw_surface`` says that the caller speaks this wire too and frames may pass as they are.
    ``wants_logprobs`` asks for the probabilities of the answer's tokens, for a check on it. ``is_sliced`` where more
    money is held as the answer comes: then what frames carry is never counted below what it is.
    ``lasts_max_s`` is when the whole of it must be over, its answer read to the end, in seconds from now.
    """

    request: Request
    deployment: Deployment
    attempt_id: str
    output_tokens_max: int
    upstream: Upstream
    dropped: frozenset[str] = frozenset()
    raw_surface: Surface | None = None
    wants_logprobs: bool = False
    is_sliced: bool = False
    lasts_max_s: float = inf


class ReplyStream(Protocol):
    """An open stream: iterate its events once, and close it on every path.

    ``usage_so_far`` is what the vendor has counted before the end, None where it says nothing until then: the input as
    it bills it, and the output up to here, 0 where it does not count that yet.
    """

    @property
    def usage_so_far(self) -> TokenUsage | None:
        """What the vendor has counted up to here."""
        ...

    def __aiter__(self) -> AsyncIterator[StreamEvent]:
        """The events, in order; raises ProviderError when the stream breaks."""
        ...

    def pass_over(self) -> bool:
        """After a ProviderError: whether only one event could not be read, so that the iteration may go on behind it.

        What comes then is no whole answer, but its end may still tell the usage.
        """
        ...

    async def aclose(self) -> None:
        """Let go of the connection."""
        ...


class Provider(Protocol):
    """One vendor's wire. One call is one attempt: it neither retries nor falls back.

    Both raise ProviderError subclasses only (ProviderRejectedError, ProviderUnavailableError, ProviderTimeoutError).
    """

    async def complete(self, call: Call) -> Reply:
        """Ask and wait for the whole answer."""
        ...

    async def open_stream(self, call: Call) -> ReplyStream:
        """Ask for a stream; returns when the vendor's first event has arrived, so a failure before it can fall back."""
        ...


class Ledger(Protocol):
    """The append-only book. All raise LedgerUnavailableError when the store cannot be reached or written."""

    async def append(self, *lines: Line) -> int:
        """Write the lines in one transaction; they survive the death of this process when it returns.

        Forcing them to the disk has begun by then; the place that is returned is what ``sync`` waits for.
        """
        ...

    def append_later(self, line: Line) -> None:
        """Hand a settlement to the writer without waiting; it is written in order, before `aclose` returns."""
        ...

    async def sync(self, place: int | None = None) -> None:
        """Return when what was appended at ``place``, or all so far, survives the death of the machine."""
        ...

    async def request(self, decision_id: str) -> tuple[RequestRow, tuple[Line, ...]] | None:
        """One request and its lines, oldest first; None when there is none."""
        ...

    def requests(
        self, query: RequestQuery, *, limit: int | None = None, newest_first: bool = False
    ) -> AsyncIterator[RequestRow]:
        """The requests in the query, by time."""
        ...

    async def totals(
        self, query: RequestQuery, group_by: Sequence[str], *, most: int | None = None
    ) -> tuple[RequestTotals, ...]:
        """Sums by team, project, key, model, tier, day, hour, minute or ``tag:<name>``; one group without names.

        With ``most`` the dearest groups only, the one without any value first among them, and one more for the rest.
        """
        ...

    async def standing(self, reserved: Sequence[str] = ()) -> Standing:
        """What every budget account was charged, and every attempt that is held under one and still open; one moment.

        It is what a store of budgets that lost its memory is told, with those of what it has ``reserved`` that have
        been settled.
        """
        ...

    async def spenders(self, prefix: str, *, most: int) -> Mapping[str, Spend]:
        """The same for the accounts whose id begins so, those with the most money only."""
        ...

    async def spend(self, accounts: Sequence[str] | None = None) -> Mapping[str, Spend]:
        """What each budget account was charged and still has open, by the attempts held under it; all without names."""
        ...

    def trips(self, query: TripQuery, *, limit: int | None = None) -> AsyncIterator[GuardTrip]:
        """Guard trips and what operators did about them, newest first."""
        ...

    def contexts(self, query: RequestQuery) -> AsyncIterator[ContextUse]:
        """The context bills of the requests in the query, newest first."""
        ...

    def labelled(self, from_ms: int, to_ms: int, *, limit: int) -> AsyncIterator[tuple[RequestRow, tuple[Line, ...]]]:
        """The requests that were judged in this time, with their lines, the newest judged first, at most ``limit``.

        Judged are those with a label given then, and those of then with more attempts than one, among which are the
        answers that failed a check.
        """
        ...

    async def rules_matched(self, decision_ids: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """The policy's rules that each of these requests matched, by its receipt; none of the others."""
        ...

    async def find_idempotent(self, idempotency_key: str, key_id: str | None) -> str | None:
        """The decision id that this key was used for, if any."""
        ...

    async def close_expired(self, now_ms: int) -> int:
        """Close every intent whose lease has run out, at its hold; returns how many."""
        ...

    async def check(self) -> None:
        """Raise unless the store can be read and written right now."""
        ...

    async def aclose(self) -> None:
        """Write what is queued and let go."""
        ...


class BudgetStore(Protocol):
    """Holds and balances of accounts: every transition is one atomic step over all claims of a call, and idempotent.

    A reservation lives under its id (`decision_id-attempt`): ``reserve`` -> ``extend`` * -> ``settle`` | ``void`` |
    ``expire``. All raise BudgetStoreUnavailableError when the store cannot be reached; the caller then does what the
    policy says, never as if it had been granted. What was reserved belongs to the windows it was reserved in.
    """

    async def reserve(
        self, reservation_id: str, claims: Sequence[Claim], *, least_nanousd: int, most_nanousd: int, lease_ms: int
    ) -> Grant | Denial:
        """Hold as much as fits in every hard claim, at least ``least`` and at most ``most``; a denial writes nothing.

        The same id again returns the same grant. The lease runs on the store's clock.
        """
        ...

    async def extend(self, reservation_id: str, extra_nanousd: int, *, lease_ms: int) -> Grant | Denial:
        """Hold so much more under the same claims, all or nothing, and renew the lease.

        A reservation that is closed or unknown is denied.
        """
        ...

    async def settle(self, reservation_id: str, actual_nanousd: int) -> None:
        """Charge what it cost and give back the rest of the hold. Counts once.

        After ``expire`` it corrects the charge to ``actual``; after ``settle`` or ``void`` it changes nothing.
        """
        ...

    async def void(self, reservation_id: str) -> None:
        """Give all of it back: the vendor certainly did not bill. Counts once; never undoes a settlement."""
        ...

    async def expire(self) -> tuple[Expired, ...]:
        """Charge every hold whose lease has run out in full; returns which, and what that charged."""
        ...

    async def balances(self, claims: Sequence[Claim]) -> tuple[Balance, ...]:
        """The claims' accounts in the window that is now, in the claims' order."""
        ...

    async def rebuild(self, balances: Sequence[Balance], holds: Sequence[OpenHold], closed: Sequence[str] = ()) -> None:
        """Bring accounts up to what the ledger says, after the store lost its memory and before it grants again.

        Safe to repeat and from several gateways at once, since it never lowers what is there: settled money becomes at
        least the balance's, and a hold that the store does not know is held, once, under its own id and lease, so that
        settle, void and expire end it. A balance's ``held_nanousd`` is not read: it is the sum of its holds. What the
        balances hold of ``closed`` reservations is not charged again: one that is open here goes back, and whatever is
        told of any of them later changes nothing.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections; leases that are held locally go back first."""
        ...


class GuardStore(Protocol):
    """How gateways tell each other what their guards saw. Raise StoreError subclasses where it does not answer."""

    @property
    def every_s(self) -> float:
        """How often to ask."""
        ...

    async def publish(self, events: Sequence[Event]) -> None:
        """Tell the others; they may hear of some of it twice where this raises."""
        ...

    def noted(self, trip: GuardTrip) -> None:
        """A trip of this gateway's own, which it knows already."""
        ...

    async def read(self) -> list[Event]:
        """What others saw since the last time; at first what may still matter, so that a restart forgets nothing."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...


class Observer(Protocol):
    """Told how each attempt and each request ended: logs, metrics, spans. Must neither block nor raise."""

    def attempt_settled(self, intent: Intent, settlement: Settlement) -> None:
        """One attempt has ended."""
        ...

    def request_finished(self, intent: Intent, settlement: Settlement, cost_nanousd: int) -> None:
        """The request's last attempt has ended; ``cost_nanousd`` is what all of its attempts cost."""
        ...

    def request_rejected(self, rejection: Rejection) -> None:
        """Tollgate refused a request before any vendor saw it."""
        ...
