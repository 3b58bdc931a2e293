"""Random interleavings of everything that happens to budgets, against the naive model."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from router.budgets import Balance, Claim, Denial, OpenHold
from router.budgets.transitions import CLOSED_KEPT_MS, EXPIRED_KEPT_MS
from tests.conformance.budgets.model import Held, Ledger, accounts_at
from tests.conformance.budgets.stands import DAY_MS, ENDLESS, HOUR_MS, STANDS, Stand, windows_of
from tests.lines import StillClock

if TYPE_CHECKING:
    from pathlib import Path

    from router.ports import BudgetStore

AMOUNTS = st.integers(0, 60) | st.sampled_from([0, 1, 10**12])
LEASES = st.sampled_from([1000, HOUR_MS // 2, 2 * HOUR_MS])
STEPS = st.sampled_from([1, 999, HOUR_MS // 3, HOUR_MS, DAY_MS, 2 * DAY_MS])
GATEWAYS = st.integers(0, 1)


class BudgetMachine(RuleBasedStateMachine):
    """Two gateways on one state. ``high_ms`` is the latest time that there was: a store's time lies between it and the
    clock's, since no store need follow a clock that steps back, and none may follow it behind what it has forgotten.
    """

    stand: Stand

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.token = secrets.token_hex(6)
        self.clock = self.stand.clock
        self.started_ms = self.clock.time_ms
        self.high_ms = self.clock.time_ms
        self.moments: set[int] = set()
        self.model = Ledger()
        self.limits = {"hour": 100, "day": 160, "total": 400, "watch": 40}
        self.stores: list[BudgetStore] = [self.runner.run(self.stand.open())]
        self.stores.append(self.runner.run(self.stand.open()) if self.stand.keeps else self.stores[0])

    # --- what a caller says -----------------------------------------------------------------------------------------

    def claims(self, kinds: frozenset[str], owner: str) -> tuple[Claim, ...]:
        """Windows by the caller's clock, which may be behind the store's by less than a window."""
        lengths = {"hour": HOUR_MS, "day": DAY_MS, "watch": HOUR_MS}
        return tuple(
            Claim(
                f"{kind}-{self.token}",
                owner,
                self.limits[kind],
                kind != "watch",
                windows_of(lengths[kind], self.high_ms) if kind in lengths else (ENDLESS,),
            )
            for kind in sorted(kinds)
        )

    @property
    def times(self) -> list[int]:
        """What the store's time may be."""
        return sorted({self.clock.time_ms, self.high_ms, *(m for m in self.moments if m >= self.clock.time_ms)})

    def is_remembered(self, name: str) -> bool:
        """Whether every store must still know a closed reservation."""
        each = self.model.held[name]
        kept_ms = EXPIRED_KEPT_MS if each.state == "expired" else CLOSED_KEPT_MS
        return each.state == "open" or self.high_ms < each.closed_ms + kept_ms

    def some(self, data: st.DataObject) -> str | None:
        known = [name for name in self.model.held if self.is_remembered(name)]
        return data.draw(st.sampled_from(known)) if known else None

    # --- the transitions --------------------------------------------------------------------------------------------

    @rule(
        kinds=st.frozensets(st.sampled_from(["hour", "day", "total", "watch"])),
        owner=st.sampled_from(["", "a"]),
        amounts=st.tuples(AMOUNTS, AMOUNTS),
        lease_ms=LEASES,
        which=GATEWAYS,
        is_lost=st.booleans(),
    )
    def reserve(
        self, kinds: frozenset[str], owner: str, amounts: tuple[int, int], lease_ms: int, which: int, is_lost: bool
    ) -> None:
        name = f"{self.token}-{len(self.model.held)}"
        claims = self.claims(kinds, owner)
        least, most = sorted(amounts)

        def ask(gateway: int) -> object:
            store = self.stores[gateway]
            return self.runner.run(
                store.reserve(name, claims, least_nanousd=least, most_nanousd=most, lease_ms=lease_ms)
            )

        answer = ask(which)
        if is_lost:
            assert ask(1 - which) == answer
        expected = []
        for now_ms in self.times:
            accounts = accounts_at(claims, now_ms)
            room = self.model.headroom(claims, accounts)
            held = most if room is None else min(most, room)
            expected.append((accounts, held if held >= least else None))
        if isinstance(answer, Denial):
            assert None in {held for _, held in expected}
            self.check_denial(answer, claims, least, {accounts for accounts, _ in expected})
            return
        assert (answer.accounts, answer.held_nanousd) in expected
        self.model.held[name] = Held(
            answer, claims, answer.held_nanousd, self.clock.time_ms + lease_ms, self.high_ms + lease_ms
        )
        assert answer.headroom_nanousd == self.model.headroom(claims, answer.accounts)
        assert answer.over == self.model.over(claims, answer.accounts)
        self.check_limits(name, answer.held_nanousd)

    @precondition(lambda self: self.model.held)
    @rule(data=st.data(), which=GATEWAYS)
    def reserve_again(self, data: st.DataObject, which: int) -> None:
        name = self.some(data)
        if name is not None:
            again = self.stores[which].reserve(
                name, self.claims(frozenset({"hour"}), "b"), least_nanousd=0, most_nanousd=9, lease_ms=1000
            )
            each = self.model.held[name]
            grant = self.runner.run(again)
            if each.is_rebuilt:
                grant = grant._replace(headroom_nanousd=each.grant.headroom_nanousd, over=each.grant.over)
            assert grant == each.grant

    @precondition(lambda self: self.model.held)
    @rule(data=st.data(), extra=AMOUNTS, lease_ms=LEASES, which=GATEWAYS)
    def extend(self, data: st.DataObject, extra: int, lease_ms: int, which: int) -> None:
        name = self.some(data)
        if name is None:
            return
        each = self.model.held[name]
        answer = self.runner.run(self.stores[which].extend(name, extra, lease_ms=lease_ms))
        room = self.model.headroom(each.claims, each.grant.accounts)
        if each.state != "open" or (each.is_rebuilt and each.grant.accounts):
            assert answer == Denial("", "", 0, 0, 0, extra, None)
            return
        if room is not None and extra > room:
            assert isinstance(answer, Denial)
            self.check_denial(answer, each.claims, extra, {each.grant.accounts})
            return
        each.amount += extra
        each.lease_from_ms = max(each.lease_from_ms, self.clock.time_ms + lease_ms)
        each.lease_until_ms = max(each.lease_until_ms, self.high_ms + lease_ms)
        assert answer.held_nanousd == each.amount
        assert answer.headroom_nanousd == self.model.headroom(each.claims, each.grant.accounts)
        self.check_limits(name, extra)

    @precondition(lambda self: self.model.held)
    @rule(data=st.data(), actual=AMOUNTS, which=GATEWAYS, is_lost=st.booleans())
    def settle(self, data: st.DataObject, actual: int, which: int, is_lost: bool) -> None:
        name = self.some(data)
        if name is not None:
            self.runner.run(self.stores[which].settle(name, actual))
            if is_lost:
                self.runner.run(self.stores[1 - which].settle(name, actual))
            self.model.close(name, "settled", actual, self.clock.time_ms)

    @precondition(lambda self: self.model.held)
    @rule(data=st.data(), which=GATEWAYS, is_lost=st.booleans())
    def void(self, data: st.DataObject, which: int, is_lost: bool) -> None:
        name = self.some(data)
        if name is not None:
            self.runner.run(self.stores[which].void(name))
            if is_lost:
                self.runner.run(self.stores[1 - which].void(name))
            self.model.close(name, "voided", 0, self.clock.time_ms)

    @rule(which=GATEWAYS)
    def expire(self, which: int) -> None:
        expired = self.runner.run(self.stores[which].expire())
        found = {name: charged for name, charged in expired if name.startswith(self.token)}
        opened = {name: each for name, each in self.model.held.items() if each.state == "open"}
        assert found.keys() >= {name for name, each in opened.items() if each.lease_until_ms <= self.clock.time_ms}
        assert found.keys() <= {name for name, each in opened.items() if each.lease_from_ms <= self.high_ms}
        for name, charged in found.items():
            assert charged == opened[name].amount
            self.model.close(name, "expired", opened[name].amount, self.clock.time_ms)
        self.moments.add(self.clock.time_ms)

    # --- the world --------------------------------------------------------------------------------------------------

    @rule(step_ms=STEPS)
    def time_passes(self, step_ms: int) -> None:
        self.clock.time_ms += step_ms
        self.high_ms = max(self.high_ms, self.clock.time_ms)

    @rule(step_ms=st.sampled_from([1, HOUR_MS // 3, HOUR_MS - 1]))
    def clock_steps_back(self, step_ms: int) -> None:
        self.clock.time_ms = max(self.clock.time_ms - step_ms, self.high_ms - HOUR_MS + 1)

    @rule(kind=st.sampled_from(["hour", "day", "total", "watch"]), limit=st.integers(0, 200))
    def policy_changes(self, kind: str, limit: int) -> None:
        self.limits[kind] = limit

    @rule(which=GATEWAYS)
    def gateway_crashes(self, which: int) -> None:
        """It is gone without a word; what dies with it, the ledger gives the next one."""
        lost = self.stores[which]
        self.stores[which] = self.runner.run(self.stand.open())
        if self.stand.keeps:
            self.runner.run(lost.aclose())
            return
        self.stores[1 - which] = self.stores[which]
        self.high_ms = self.clock.time_ms
        self.moments.clear()
        self.runner.run(self.stores[which].rebuild(*self.told_by_ledger()))
        for each in self.model.held.values():
            if each.state == "open":
                # Its limits are lost, and its hold is what the ledger knows of its grant.
                each.is_rebuilt = True
                each.grant = each.grant._replace(held_nanousd=each.amount)
                each.lease_until_ms = each.lease_from_ms
            else:
                each.closed_ms = -EXPIRED_KEPT_MS

    @rule(which=GATEWAYS)
    def rebuilt_without_need(self, which: int) -> None:
        self.runner.run(self.stores[which].rebuild(*self.told_by_ledger()))

    def told_by_ledger(self) -> tuple[list[Balance], list[OpenHold]]:
        accounts = {account for each in self.model.held.values() for account in each.grant.accounts}
        balances = [Balance(each, self.model.settled_in(each), self.model.held_in(each)) for each in sorted(accounts)]
        holds = [
            OpenHold(name, each.amount, each.grant.accounts, each.lease_from_ms)
            for name, each in self.model.held.items()
            if each.state == "open"
        ]
        return balances, holds

    # --- what always holds ------------------------------------------------------------------------------------------

    def check_limits(self, name: str, granted: int) -> None:
        """Whatever was granted fitted: no hard account is past its limit with it."""
        each = self.model.held[name]
        for claim, account in zip(each.claims, each.grant.accounts, strict=True):
            if claim.is_hard and granted:
                assert self.model.settled_in(account) + self.model.held_in(account) <= claim.limit_nanousd

    def check_denial(
        self, denial: Denial, claims: tuple[Claim, ...], wanted: int, accounts: set[tuple[str, ...]]
    ) -> None:
        (claim,) = (each for each in claims if (each.budget, each.owner) == (denial.budget, denial.owner))
        assert claim.is_hard
        assert (denial.limit_nanousd, denial.wanted_nanousd) == (claim.limit_nanousd, wanted)
        assert denial.headroom_nanousd < wanted
        assert denial.headroom_nanousd in {self.model.headroom(claims, each) for each in accounts}

    @invariant()
    def balances_are_the_sums(self) -> None:
        claims = self.claims(frozenset(self.limits), "") + self.claims(frozenset(self.limits), "a")
        singles = [claim._replace(windows=(window,)) for claim in claims for window in claim.windows]
        for each in self.runner.run(self.stores[0].balances(singles)):
            assert each == Balance(each.account, self.model.settled_in(each.account), self.model.held_in(each.account))

    def teardown(self) -> None:
        try:
            for number, (name, each) in enumerate(self.model.held.items()):
                if each.state == "open":
                    self.runner.run(self.stores[number % 2].settle(name, number))
                    self.model.close(name, "settled", number, self.clock.time_ms)
            self.balances_are_the_sums()
            claims = self.claims(frozenset(self.limits), "") + self.claims(frozenset(self.limits), "a")
            assert {each.held_nanousd for each in self.runner.run(self.stores[1].balances(claims))} == {0}
        finally:
            # Time goes on for the next one on the same state, which begins at the same hour of a later day: hypothesis
            # plays an example again and must meet the same windows.
            self.clock.time_ms = self.started_ms + ((self.high_ms - self.started_ms) // DAY_MS + 1) * DAY_MS
            for store in self.stores:
                self.runner.run(store.aclose())
            self.runner.close()


EXAMPLES = {"memory": 150}


@pytest.mark.parametrize("name", STANDS)
def test_any_interleaving_is_what_the_model_says(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    stand = STANDS[name](request, tmp_path, StillClock())
    run_state_machine_as_test(
        type("Machine", (BudgetMachine,), {"stand": stand}),
        settings=settings(
            max_examples=EXAMPLES.get(name, 25),
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
