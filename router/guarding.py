"""Guards on the request path: asked before money is held, told once how the request ended."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.decision import curbed
from router.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.chat import Part, Request
    from router.clock import Clock
    from router.decision import Decision
    from router.guards import Event, Keeper, Verdict
    from router.policy import Caller, Policy, Terms
    from router.ports import GuardStore

log = logging.getLogger("tollgate")

AWAY_S = 5.0
BATCH_MAX = 500


@dataclass(slots=True)
class Watch:
    """One request that guards let through. ``parts`` is what was answered, of which they keep digests only."""

    keeper: Keeper
    clock: Clock
    verdict: Verdict
    parts: tuple[Part, ...] = ()

    @property
    def ticket(self) -> str:
        """The response's `X-Router-Lineage`."""
        return self.verdict.ticket

    @property
    def lineage_id(self) -> str:
        """The ledger's name of the lineage."""
        return self.verdict.lineage_id

    @property
    def said(self) -> str | None:
        """The response's `X-Router-Guard`: the guard and how far up the ladder; None where nothing was noticed."""
        found = self.verdict
        return None if found.guard is None else f"{found.guard}; {found.action}"

    @property
    def receipt(self) -> Mapping[str, object] | None:
        """What the receipt says of it; None where nothing was noticed."""
        found = self.verdict
        if found.guard is None:
            return None
        return {
            "guard": found.guard,
            "action": found.action,
            "guard_id": found.guard_id,
            "evidence": dict(found.evidence),
        }

    def end(self, outcome: str, cost_nanousd: int) -> None:
        """The request is over, with the outcome of its last attempt and the cost of all."""
        self.keeper.observe(
            self.verdict.mark,
            now_ms=self.clock.now_ms(),
            outcome=outcome,
            cost_nanousd=cost_nanousd,
            parts=self.parts,
        )


async def share(keeper: Keeper, store: GuardStore) -> None:
    """Tell other gateways what this one saw and take in what they saw, for ever, beside the requests.

    A store that does not answer for ``AWAY_S`` makes the keeper act as the policy says; what is to be told waits, the
    oldest dropped beyond what the keeper holds.
    """
    answered_s = asyncio.get_running_loop().time()
    while True:
        why_not = await _share_once(keeper, store)
        now_s = asyncio.get_running_loop().time()
        if why_not is None:
            answered_s = now_s
            if keeper.is_away:
                log.warning("guards shared again", extra={"fields": {}})
            keeper.is_away = False
        elif not keeper.is_away and now_s - answered_s > AWAY_S:
            log.warning("guards not shared", extra={"fields": {"reason": why_not}})
            keeper.is_away = True
        await asyncio.sleep(store.every_s)


async def _share_once(keeper: Keeper, store: GuardStore) -> str | None:
    """Tell and take in what there is; returns why that failed, None where it did not.

    What a bug of ours makes unreadable is dropped and named in the log by its kind: it must not end the sharing.
    """
    batch: list[Event] = []
    try:
        while keeper.outbox:
            batch = keeper.outbox[:BATCH_MAX]
            await store.publish(batch)
            del keeper.outbox[: len(batch)]
        batch = []
        keeper.fold(await store.read())
    except StoreError as error:
        return error.message
    except Exception as error:  # noqa: BLE001  # the outermost handler of a task that lives as long as the process
        del keeper.outbox[: len(batch)]
        reason = f"a bug: {type(error).__name__}"
        log.warning("guards dropped what they could not share", extra={"fields": {"reason": reason, "n": len(batch)}})
        return reason
    return None


@dataclass(frozen=True, slots=True)
class Guarding:
    """Shows requests to the keeper."""

    keeper: Keeper
    clock: Clock

    def admit(
        self, request: Request, caller: Caller, terms: Terms, decision: Decision, policy: Policy
    ) -> tuple[Decision, Watch]:
        """The decision, a cheaper one where a guard says so, and the watch over the request.

        Raises LoopDetectedError, FanoutExceededError, RateLimitedError and BudgetStoreUnavailableError.
        """
        verdict = self.keeper.admit(request, caller, terms, decision, policy.guards, self.clock.now_ms())
        watch = Watch(self.keeper, self.clock, verdict)
        return (curbed(decision) if verdict.action == "downgrade" else decision), watch
